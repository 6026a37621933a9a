/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages of rtnetlink, as one answer of the kernel's holds them. */
#include <stdlib.h>

#include "collect/kernel/link_stats.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct link_stats *ls = link_stats_new();

	/* the answer to no question: its number is 0 */
	for (int i = 0; i < 2; i++)
		if (link_stats_parse(ls, data, size) > 1)
			abort();
	(void)link_stats_find(ls, 1);
	link_stats_free(ls);
	return 0;
}

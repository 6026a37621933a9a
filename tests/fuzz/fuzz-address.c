/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where somebody listens, as the command line has it: what is read is written the same. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "keeper/address.h"
#include "util/cleanup.h"
#include "util/mem.h"
#include "util/strbuf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = xstrndup((const char *)data, size);
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT, again = STRBUF_INIT;
	struct address a, b;

	if (address_parse(text, &a, &why) < 0) {
		if (!why.len)
			abort();
		return 0;
	}
	address_print(&a, &again);
	if (why.len || address_parse(strbuf_str(&again), &b, &why) < 0 ||
		!address_equal(&a, &b) || a.len != b.len ||
		address_is_local(&a) != address_is_local(&b) ||
		(a.any.sa_family == AF_UNIX && strcmp(strbuf_str(&again), text) != 0))
		abort();
	return 0;
}

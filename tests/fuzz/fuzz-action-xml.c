/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What an action of type xml prints: metrics of this VM, or a reason. */
#include <stdlib.h>

#include "collect/actions/output_xml.h"
#include "fuzz.h"
#include "util/cleanup.h"
#include "util/strbuf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	struct output_metric *metrics = NULL;
	size_t n = 0;
	int r = output_metrics_parse((const char *)data, size, "vm",
		"6be3fdb8-bef5-6fec-b1b7-e61bbceab708", &metrics, &n, &why);

	if (r < 0 ? !why.len || metrics : !n)
		abort();
	output_metrics_free(metrics, n);
	return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The configuration file: accepted or refused with a reason, never anything else. */
#include <stdlib.h>

#include "conf/conf.h"
#include "fuzz.h"
#include "util/cleanup.h"
#include "util/strbuf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	_cleanup_strbuf_ struct strbuf about = STRBUF_INIT;
	struct conf_report report = { .text = &text };
	struct conf *conf = NULL;
	int r = conf_parse((const char *)data, size, "fuzz", &report, &conf);

	if ((r < 0) != !conf || (r < 0 && (!report.errors || !text.len)))
		abort();
	if (conf)
		conf_describe(conf, &about);
	conf_unref(conf);
	return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A value's text as every type; what is accepted can be written and read again. */
#include <stdlib.h>
#include <string.h>

#include "core/fname.h"
#include "core/prom_name.h"
#include "core/render_xml.h"
#include "core/value.h"
#include "fuzz.h"
#include "util/cleanup.h"
#include "util/mem.h"
#include "util/strbuf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_strbuf_ struct strbuf xml = STRBUF_INIT;
	_cleanup_strbuf_ struct strbuf name = STRBUF_INIT;
	_cleanup_strbuf_ struct strbuf prom = STRBUF_INIT;
	_cleanup_free_ char *raw = xstrndup((const char *)data, size);

	for (int type = 0; type < METRIC_TYPE_COUNT; type++) {
		_cleanup_free_ char *text = xstrdup(raw);
		_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
		struct value v, again;

		if (value_parse((enum metric_type)type, text, NULL, &v) < 0)
			continue;
		value_format(&v, &out);
		strbuf_reserve(&out, 1);
		if (value_parse((enum metric_type)type, out.data, NULL, &again) < 0)
			abort();
	}
	render_xml_escape(raw, &xml);
	for (size_t i = 0; i < xml.len; i++)
		if ((unsigned char)xml.data[i] >= 0x7f || xml.data[i] < 0x20 ||
			xml.data[i] == '<')
			abort();
	fname_escape(raw, &name);
	if (!name.len || name.len > 255 || strchr(strbuf_str(&name), '/'))
		abort();
	prom_name_plain(raw, &prom);
	return 0;
}

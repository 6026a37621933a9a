/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/prom_label.h"

#include "util/strbuf.h"

void prom_add_escaped(const char *text, size_t len, bool quoted, struct strbuf *out)
{
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\\' || (quoted && text[i] == '"'))
			strbuf_addc(out, '\\');
		if (text[i] == '\n')
			strbuf_adds(out, "\\n");
		else
			strbuf_addc(out, text[i]);
	}
}

void prom_add_label(const char *name, const char *value, size_t len, char *separator,
	struct strbuf *out)
{
	strbuf_addc(out, *separator);
	*separator = ',';
	strbuf_adds(out, name);
	strbuf_adds(out, "=\"");
	prom_add_escaped(value, len, true, out);
	strbuf_addc(out, '"');
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/text.h"

#include <stdbool.h>

#include "util/strbuf.h"

static bool is_control(char c)
{
	return (unsigned char)c < 0x20 || c == 0x7f;
}

void text_add_printable(const char *text, struct strbuf *out)
{
	for (; *text; text++) {
		if (is_control(*text))
			strbuf_addf(out, "\\x%02x", (unsigned char)*text);
		else
			strbuf_addc(out, *text);
	}
}

void text_add_json(const char *text, struct strbuf *out)
{
	strbuf_addc(out, '"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			strbuf_addf(out, "\\%c", *text);
		else if (is_control(*text))
			strbuf_addf(out, "\\u%04x", (unsigned char)*text);
		else
			strbuf_addc(out, *text);
	}
	strbuf_addc(out, '"');
}

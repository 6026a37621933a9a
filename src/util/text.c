/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "util/parse.h"
#include "util/strbuf.h"

static bool is_control(char c)
{
	return (unsigned char)c < 0x20 || c == 0x7f;
}

/* What ends a line, or changes the direction of text. */
static bool deceives(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || c == 0x200e ||
		c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
		(c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

/* How many bytes of @s are one character that is well-formed; 0: none. */
static size_t character(const char *s, uint32_t *ret)
{
	unsigned char first = (unsigned char)*s;
	size_t n = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;

	return strnlen(s, n) < n || !utf8_valid(s, n) ? 0 : utf8_decode(s, ret);
}

void text_add_printable(const char *text, struct strbuf *out)
{
	while (*text) {
		uint32_t c = 0;
		size_t n = character(text, &c), shown = n ? n : 1;

		if (n && !deceives(c))
			strbuf_add(out, text, n);
		else
			for (size_t i = 0; i < shown; i++)
				strbuf_addf(out, "\\x%02x", (unsigned char)text[i]);
		text += shown;
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

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "xml.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "buf.h"
#include "util/cleanup.h"
#include "util/libc.h"
#include "util/parse.h"

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool starts_name(char c)
{
	return (unsigned)((c | 0x20) - 'a') < 26 || c == '_';
}

static bool is_in_name(char c)
{
	return starts_name(c) || (unsigned)(c - '0') < 10 || c == '-' || c == '.';
}

/* What a document may hold at all, as such or by number. */
static bool is_char(uint32_t c)
{
	if (c < 0x20)
		return c == '\t' || c == '\n' || c == '\r';
	return c <= 0x10ffff && (c < 0xd800 || c > 0xdfff) && c != 0xfffe && c != 0xffff;
}

/* ---- text ---- */

static void add_utf8(uint32_t c, struct buf *out)
{
	char bytes[4];
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	static const unsigned char lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };

	for (size_t i = n; i-- > 1; c >>= 6)
		bytes[i] = (char)(0x80 | (c & 0x3f));
	bytes[0] = (char)(lead[n] | c);
	buf_add(out, bytes, n);
}

/* The number of "#38" or "#x26".  Return: whether there is such a character. */
static bool number(struct slice s, uint32_t *ret)
{
	bool hex = s.len > 1 && s.at[1] == 'x';
	uint32_t base = hex ? 16 : 10, c = 0;
	size_t i = hex ? 2 : 1;

	if (i >= s.len)
		return false;
	for (; i < s.len; i++) {
		char d = s.at[i];
		uint32_t digit = d >= '0' && d <= '9' ? (uint32_t)(d - '0')
			: d >= 'a' && d <= 'f'        ? (uint32_t)(d - 'a' + 10)
			: d >= 'A' && d <= 'F'        ? (uint32_t)(d - 'A' + 10)
						      : 16;

		if (digit >= base || c > 0x10ffff)
			return false;
		c = c * base + digit;
	}
	*ret = c;
	return is_char(c);
}

/* What stands between & and ;.  Return: whether it means a character. */
static bool reference(struct slice s, uint32_t *ret)
{
	static const struct {
		const char *name;
		char c;
	} known[] = { { "amp", '&' }, { "lt", '<' }, { "gt", '>' }, { "apos", '\'' },
		{ "quot", '"' } };

	if (s.len && s.at[0] == '#')
		return number(s, ret);
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (slice_is(s, known[i].name)) {
			*ret = (unsigned char)known[i].c;
			return true;
		}
	}
	return false;
}

/*
 * Appends text with references replaced and line ends as they are to be read; in an attribute
 * white space is spaces.  @out: NULL to look only.  Return: whether all references are good.
 */
static bool decode(struct slice s, bool in_attribute, struct buf *out)
{
	const char *end = s.at + s.len;

	for (const char *p = s.at; p < end; p++) {
		const char *plain = p;
		uint32_t code = 0;

		while (p < end && *p != '&' && *p != '\r' &&
			!(in_attribute && is_space(*p)))
			p++;
		if (out)
			buf_add(out, plain, (size_t)(p - plain));
		if (p == end)
			break;
		if (*p != '&') {
			if (*p == '\r' && p + 1 < end && p[1] == '\n')
				continue;
			if (out)
				buf_addc(out, in_attribute ? ' ' : '\n');
			continue;
		}
		const char *stop = memchr(p, ';', (size_t)(end - p));

		if (!stop ||
			!reference(
				(struct slice){ p + 1, (size_t)(stop - p - 1) }, &code))
			return false;
		if (out)
			add_utf8(code, out);
		p = stop;
	}
	return true;
}

static void add_cdata(struct slice s, struct buf *out)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.at[i] != '\r')
			buf_addc(out, s.at[i]);
		else if (i + 1 == s.len || s.at[i + 1] != '\n')
			buf_addc(out, '\n');
}

/* ---- markup ---- */

/* True if there is @c in @s.  @mark: one of x->amp and the like, which only moves on. */
static bool has(const struct xml *x, const char **mark, char c, struct slice s)
{
	if (!*mark || *mark < s.at) {
		*mark = memchr(s.at, c, (size_t)(x->end - s.at));
		if (!*mark)
			*mark = x->end;
	}
	return *mark < s.at + s.len;
}

static bool at_text(const struct xml *x, const char *text)
{
	size_t n = strlen(text);

	return (size_t)(x->end - x->at) >= n && !memcmp(x->at, text, n);
}

static bool take(struct xml *x, const char *text)
{
	if (!at_text(x, text))
		return false;
	x->at += strlen(text);
	return true;
}

static bool skip_space(struct xml *x)
{
	const char *start = x->at;

	while (x->at < x->end && is_space(*x->at))
		x->at++;
	return x->at > start;
}

static bool take_name(struct xml *x, struct slice *ret)
{
	const char *start = x->at;

	if (x->at == x->end || !starts_name(*x->at))
		return false;
	while (x->at < x->end && is_in_name(*x->at))
		x->at++;
	*ret = (struct slice){ start, (size_t)(x->at - start) };
	return true;
}

/* Everything up to @stop, which is skipped. */
static bool take_until(struct xml *x, const char *stop, struct slice *ret)
{
	const char *found =
		find_bytes(x->at, (size_t)(x->end - x->at), stop, strlen(stop));

	if (!found)
		return false;
	*ret = (struct slice){ x->at, (size_t)(found - x->at) };
	x->at = found + strlen(stop);
	return true;
}

static bool take_value(struct xml *x, struct slice *ret)
{
	char quote = x->at < x->end ? *x->at : '\0';

	if (quote != '"' && quote != '\'')
		return false;
	const char *start = x->at + 1;
	const char *stop = memchr(start, quote, (size_t)(x->end - start));

	if (!stop)
		return false;
	*ret = (struct slice){ start, (size_t)(stop - start) };
	x->at = stop + 1;
	return !memchr(start, '<', ret->len) &&
		(!has(x, &x->amp, '&', *ret) || decode(*ret, true, NULL));
}

static bool take_attribute(struct xml *x, struct xml_tag *tag)
{
	struct slice name;

	if (tag->n_attributes == XML_ATTRIBUTES || !take_name(x, &name))
		return false;
	for (size_t i = 0; i < tag->n_attributes; i++)
		if (tag->attributes[i].name.len == name.len &&
			!memcmp(tag->attributes[i].name.at, name.at, name.len))
			return false;
	skip_space(x);
	if (!take(x, "="))
		return false;
	skip_space(x);
	tag->attributes[tag->n_attributes].name = name;
	return take_value(x, &tag->attributes[tag->n_attributes++].value);
}

static bool take_attributes(struct xml *x, struct xml_tag *tag)
{
	tag->n_attributes = 0;
	while (skip_space(x) && x->at < x->end && starts_name(*x->at))
		if (!take_attribute(x, tag))
			return false;
	return true;
}

/* Takes a tag whose bytes are those of one that is kept, unless it has a > inside. */
static bool take_known_tag(struct xml *x)
{
	const char *end = memchr(x->at, '>', (size_t)(x->end - x->at));
	size_t len = end ? (size_t)(end + 1 - x->at) : 0;

	for (size_t i = 0; len && i < XML_TAGS && i < x->n_tags; i++) {
		const struct slice *bytes = &x->tags[i].bytes;

		if (bytes->len != len || memcmp(bytes->at, x->at, len) != 0)
			continue;
		x->at += len;
		x->tag = i;
		return true;
	}
	return false;
}

static bool take_new_tag(struct xml *x)
{
	const char *start = x->at;
	struct xml_tag *tag = &x->tags[x->n_tags % XML_TAGS];

	tag->bytes.len = 0;
	if (!take_name(x, &tag->name) || !take_attributes(x, tag))
		return false;
	tag->is_empty = take(x, "/");
	if (!take(x, ">"))
		return false;
	tag->bytes = (struct slice){ start, (size_t)(x->at - start) };
	x->tag = x->n_tags % XML_TAGS;
	tag->number = ++x->n_tags;
	return true;
}

static bool take_start(struct xml *x)
{
	if (x->depth == XML_DEPTH || (x->depth == 0 && x->root_end) || x->at == x->end ||
		(!take_known_tag(x) && !take_new_tag(x)))
		return false;
	x->name = x->tags[x->tag].name;
	x->closes = x->tags[x->tag].is_empty;
	x->open[x->depth++] = x->name;
	return true;
}

static bool take_close(struct xml *x)
{
	if (!x->depth)
		return false;
	x->name = x->open[x->depth - 1];
	if ((size_t)(x->end - x->at) < x->name.len ||
		memcmp(x->at, x->name.at, x->name.len) != 0)
		return false;
	x->at += x->name.len;
	skip_space(x);
	return take(x, ">");
}

static bool skip_comment(struct xml *x)
{
	struct slice text;

	return take_until(x, "--", &text) && take(x, ">");
}

static bool skip_instruction(struct xml *x)
{
	struct slice name, text;
	bool space;

	if (!take_name(x, &name) || (name.len == 3 && !strncasecmp(name.at, "xml", 3)))
		return false;
	space = skip_space(x);
	return take_until(x, "?>", &text) && (space || !text.len);
}

enum { VERSION, ENCODING, STANDALONE };

/* What a document's declaration may say and be read as the rest of this file reads it. */
static bool declares(size_t what, struct slice value)
{
	switch (what) {
	case VERSION:
		return slice_is(value, "1.0");
	case ENCODING:
		return value.len == 5 && !strncasecmp(value.at, "UTF-8", 5);
	default:
		return slice_is(value, "yes") || slice_is(value, "no");
	}
}

/* <?xml version="1.0" encoding="UTF-8"?> at the very start. */
static bool skip_declaration(struct xml *x)
{
	static const char *const names[] = {
		[VERSION] = "version",
		[ENCODING] = "encoding",
		[STANDALONE] = "standalone",
	};
	struct xml_tag tag;
	size_t next = 0;

	if (!at_text(x, "<?xml") || x->end - x->at < 6 || !is_space(x->at[5]))
		return true;
	x->at += strlen("<?xml");
	if (!take_attributes(x, &tag) || !take(x, "?>") || !tag.n_attributes)
		return false;
	for (size_t i = 0; i < tag.n_attributes; i++, next++) {
		while (i && next < ARRAY_LEN(names) &&
			!slice_is(tag.attributes[i].name, names[next]))
			next++;
		if (next == ARRAY_LEN(names) ||
			!slice_is(tag.attributes[i].name, names[next]) ||
			!declares(next, tag.attributes[i].value))
			return false;
	}
	return true;
}

#define EACH_BYTE(c) (UINT64_MAX / 0xff * (c))

/* How many bytes from the start on are ASCII; *@ret_good: all of them that a document may hold. */
static size_t ascii(const char *text, size_t len, bool *ret_good)
{
	uint64_t bad = 0, word;
	size_t i = 0;

	/* no byte reaches into the next: all are below 0x80 */
	for (; len - i >= sizeof(word); i += sizeof(word)) {
		memcpy(&word, text + i, sizeof(word));
		if (word & EACH_BYTE(0x80))
			break;
		uint64_t not_control = (word & EACH_BYTE(0x60)) + EACH_BYTE(0x7f);
		uint64_t not_newline = (word ^ EACH_BYTE('\n')) + EACH_BYTE(0x7f);

		bad = ~not_control & not_newline & EACH_BYTE(0x80);
		for (size_t k = 0; bad && k < sizeof(word); k++)
			if (!is_char((unsigned char)text[i + k])) {
				*ret_good = false;
				return i;
			}
	}
	*ret_good = true;
	return i;
}

static bool has_only_chars(const char *text, size_t len)
{
	bool good;
	size_t i = ascii(text, len, &good);

	if (!good || !utf8_valid(text + i, len - i))
		return false;
	for (; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c < 0x20 && !is_char(c))
			return false;
		/* U+FFFE and U+FFFF */
		if (c == 0xef && !memcmp(text + i + 1, "\xbf", 1) &&
			(unsigned char)text[i + 2] >= 0xbe)
			return false;
	}
	return true;
}

void xml_init(struct xml *x, const char *text, size_t len)
{
	memset(x, 0, sizeof(*x));
	x->at = text;
	x->end = text + len;
	x->is_malformed = !has_only_chars(text, len);
	if (!x->is_malformed) {
		(void)take(x, "\xef\xbb\xbf"); /* a byte order mark */
		x->is_malformed = !skip_declaration(x);
	}
}

static enum xml_event take_text(struct xml *x)
{
	const char *stop = memchr(x->at, '<', (size_t)(x->end - x->at));

	if (!x->depth || !stop)
		return XML_MALFORMED;
	x->text = (struct slice){ x->at, (size_t)(stop - x->at) };
	x->is_cdata = false;
	x->at = stop;
	bool has_reference = has(x, &x->amp, '&', x->text);

	x->is_plain = !has_reference && !has(x, &x->cr, '\r', x->text);
	if ((has_reference && !decode(x->text, false, NULL)) ||
		(has(x, &x->bracket, ']', x->text) &&
			find_bytes(x->text.at, x->text.len, "]]>", 3)))
		return XML_MALFORMED;
	return XML_TEXT;
}

static enum xml_event closed(struct xml *x)
{
	x->depth--;
	x->closes = false;
	if (!x->depth)
		x->root_end = x->at;
	return XML_CLOSE;
}

/* What begins with <! or <?.  Return: XML_TEXT: it is CDATA; XML_END: it says nothing. */
static enum xml_event take_special(struct xml *x)
{
	bool good = false;

	if (take(x, "<![CDATA[")) {
		x->is_cdata = true;
		good = x->depth && take_until(x, "]]>", &x->text);
		return good ? XML_TEXT : XML_MALFORMED;
	}
	if (take(x, "<!--"))
		good = skip_comment(x);
	else if (take(x, "<?"))
		good = skip_instruction(x);
	return good ? XML_END : XML_MALFORMED;
}

static enum xml_event next(struct xml *x)
{
	for (;;) {
		if (x->closes)
			return closed(x);
		if (!x->depth)
			skip_space(x);
		if (x->at == x->end)
			return x->root_end && !x->depth ? XML_END : XML_MALFORMED;
		if (*x->at != '<')
			return take_text(x);
		char c = x->end - x->at > 1 ? x->at[1] : '\0';

		if (c == '!' || c == '?') {
			enum xml_event e = take_special(x);

			if (e != XML_END)
				return e;
		} else if (c == '/') {
			x->at += 2;
			return take_close(x) ? closed(x) : XML_MALFORMED;
		} else {
			x->at++;
			return take_start(x) ? XML_START : XML_MALFORMED;
		}
	}
}

enum xml_event xml_next(struct xml *x)
{
	enum xml_event e = x->is_malformed ? XML_MALFORMED : next(x);

	x->is_malformed = e == XML_MALFORMED;
	return e;
}

bool xml_take_form(
	struct xml *x, const struct slice *pieces, size_t n, struct slice *ret_texts)
{
	const char *at = x->at;

	if (x->is_malformed || x->closes)
		return false;
	for (size_t i = 0; i < n; i++) {
		if ((size_t)(x->end - at) < pieces[i].len ||
			memcmp(at, pieces[i].at, pieces[i].len) != 0)
			return false;
		at += pieces[i].len;
		if (i + 1 == n)
			break;
		const char *stop = memchr(at, '<', (size_t)(x->end - at));

		if (!stop)
			return false;
		ret_texts[i] = (struct slice){ at, (size_t)(stop - at) };
		at = stop;
		/* marks stay right for who reads this again: there is nothing in the pieces */
		if (has(x, &x->amp, '&', ret_texts[i]) ||
			has(x, &x->cr, '\r', ret_texts[i]) ||
			has(x, &x->bracket, ']', ret_texts[i]))
			return false;
	}
	x->at = at;
	(void)closed(x);
	return true;
}

size_t xml_plain_text(struct slice s)
{
	size_t i = 0;

	for (; i < s.len; i++) {
		unsigned char c = (unsigned char)s.at[i];

		if (c < 0x20 ? !is_char(c) || c == '\r'
			     : c >= 0x80 || c == '&' || c == '<' || c == '>')
			break;
	}
	return i;
}

void xml_add_text(const struct xml *x, struct buf *out)
{
	if (x->is_cdata)
		add_cdata(x->text, out);
	else if (x->is_plain)
		buf_add(out, x->text.at, x->text.len);
	else
		(void)decode(x->text, false, out);
}

bool xml_add_attribute(const struct xml *x, const char *name, struct buf *out)
{
	const struct xml_tag *tag = &x->tags[x->tag];

	for (size_t i = 0; i < tag->n_attributes; i++) {
		if (slice_is(tag->attributes[i].name, name)) {
			(void)decode(tag->attributes[i].value, true, out);
			return true;
		}
	}
	return false;
}

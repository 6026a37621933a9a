/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "http/negotiate.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "util/cleanup.h"

/* How exactly something was named. */
enum {
	RANK_ANY = 1, /* all there is */
	RANK_GROUP,   /* all of its type */
	RANK_NAME,
};

#define Q_MAX 1000

struct span {
	const char *at;
	size_t n;
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

static struct span trim(struct span s)
{
	while (s.n && is_space(s.at[0])) {
		s.at++;
		s.n--;
	}
	while (s.n && is_space(s.at[s.n - 1]))
		s.n--;
	return s;
}

static bool is_word(struct span s, const char *word)
{
	return s.n == strlen(word) && !strncasecmp(s.at, word, s.n);
}

/*
 * Takes what stands before the next @separator that is in no quotes, and moves behind that.
 * Return: false if there is nothing any more.
 */
static bool next_part(struct span *rest, char separator, struct span *ret)
{
	bool quoted = false;
	size_t i = 0;

	if (!rest->at)
		return false;
	for (; i < rest->n && (quoted || rest->at[i] != separator); i++) {
		if (rest->at[i] == '"')
			quoted = !quoted;
		else if (quoted && rest->at[i] == '\\' && i + 1 < rest->n)
			i++;
	}
	*ret = trim((struct span){ rest->at, i });
	*rest = i < rest->n ? (struct span){ rest->at + i + 1, rest->n - i - 1 }
			    : (struct span){ 0 };
	return true;
}

/* name=value, of which the value may be in quotes. */
static void split_parameter(
	struct span part, struct span *ret_name, struct span *ret_value)
{
	const char *equals = memchr(part.at, '=', part.n);
	size_t n = equals ? (size_t)(equals - part.at) : part.n;

	*ret_name = trim((struct span){ part.at, n });
	*ret_value = equals ? trim((struct span){ equals + 1, part.n - n - 1 })
			    : (struct span){ part.at + n, 0 };
	if (ret_value->n >= 2 && ret_value->at[0] == '"' &&
		ret_value->at[ret_value->n - 1] == '"')
		*ret_value = (struct span){ ret_value->at + 1, ret_value->n - 2 };
}

/* Return: thousandths; -1: it is no weight. */
static int parse_q(struct span s)
{
	int q = 0, digit = 100;

	if (!s.n || (s.at[0] != '0' && s.at[0] != '1') || (s.n > 1 && s.at[1] != '.') ||
		s.n > 5)
		return -1;
	q = (s.at[0] - '0') * Q_MAX;
	for (size_t i = 2; i < s.n; i++, digit /= 10) {
		if (s.at[i] < '0' || s.at[i] > '9')
			return -1;
		q += (s.at[i] - '0') * digit;
	}
	return q <= Q_MAX ? q : -1;
}

/* One element of a list: a name, and parameters behind it. */
struct element {
	struct span name, version; /* .at NULL: none is asked for */
	int q;
};

/* Return: false if nothing can be made of it. */
static bool parse_element(struct span part, struct element *ret)
{
	struct element e = { .q = Q_MAX };
	struct span parameter, name, value;

	if (!next_part(&part, ';', &e.name) || !e.name.n)
		return false;
	while (next_part(&part, ';', &parameter)) {
		split_parameter(parameter, &name, &value);
		if (is_word(name, "q"))
			e.q = parse_q(value);
		else if (is_word(name, "version"))
			e.version = value;
	}
	*ret = e;
	return e.q >= 0;
}

/* What says more of it counts; of two that say the same, the one that wants it more. */
static void want(struct http_want *w, int rank, int q)
{
	if (rank > w->rank || (rank == w->rank && q > w->q))
		*w = (struct http_want){ .q = q, .rank = rank };
}

static const struct {
	const char *name, *group, *version;
} formats[] = {
	[HTTP_TEXT] = { "text/plain", "text/*", "0.0.4" },
	[HTTP_OPENMETRICS] = { "application/openmetrics-text", "application/*", "1.0.0" },
};
_Static_assert(ARRAY_LEN(formats) == HTTP_FORMATS, "a line for each format");

void negotiate_accept(struct http_wants *wants, const char *value)
{
	struct span rest = { value, strlen(value) }, part;
	struct element e;

	while (next_part(&rest, ',', &part)) {
		if (!parse_element(part, &e))
			continue;
		for (int i = 0; i < HTTP_FORMATS; i++) {
			int rank = is_word(e.name, formats[i].name) ? RANK_NAME
				: is_word(e.name, formats[i].group) ? RANK_GROUP
				: is_word(e.name, "*/*")            ? RANK_ANY
								    : 0;

			if (rank &&
				(!e.version.at || is_word(e.version, formats[i].version)))
				want(&wants->formats[i], rank, e.q);
		}
	}
}

void negotiate_encoding(struct http_wants *wants, const char *value)
{
	struct span rest = { value, strlen(value) }, part;
	struct element e;

	while (next_part(&rest, ',', &part)) {
		if (!parse_element(part, &e))
			continue;
		if (is_word(e.name, "gzip") || is_word(e.name, "x-gzip"))
			want(&wants->gzip, RANK_NAME, e.q);
		else if (is_word(e.name, "identity"))
			want(&wants->identity, RANK_NAME, e.q);
		else if (is_word(e.name, "*"))
			want(&wants->gzip, RANK_ANY, e.q);
	}
}

enum http_format negotiate_format(const struct http_wants *wants)
{
	const struct http_want *text = &wants->formats[HTTP_TEXT],
			       *open = &wants->formats[HTTP_OPENMETRICS];

	return open->rank == RANK_NAME && open->q > 0 && open->q >= text->q
		? HTTP_OPENMETRICS
		: HTTP_TEXT;
}

bool negotiate_gzip(const struct http_wants *wants)
{
	return wants->gzip.q > 0 && wants->gzip.q >= wants->identity.q;
}

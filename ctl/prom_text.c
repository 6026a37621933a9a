/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "prom_text.h"

#include <string.h>

#include "util/parse.h"

void prom_text_begin(struct prom_text *t, char *text, size_t size)
{
	*t = (struct prom_text){ .at = text, .end = text + size };
	*t->end = '\0';
}

/* Ends a quoted text at @p in place.  Return: behind its quote; NULL: it has none. */
static char *unquote(char *p)
{
	char *to = p += strcspn(p, "\"\\"); /* most have no escape */

	for (; *p && *p != '"'; p++) {
		if (*p == '\\' && p[1]) {
			p++;
			*to++ = (char)(*p == 'n' ? '\n' : *p);
		} else {
			*to++ = *p;
		}
	}
	if (!*p)
		return NULL;
	*to = '\0';
	return p + 1;
}

/* Labels behind '{'.  Return: behind '}'; NULL: it is no such line. */
static char *read_labels(char *p, struct prom_line *line)
{
	while (*p != '}') {
		char *name = p, *end = p + strcspn(p, "=,}\"");

		if (end == name || end[0] != '=' || end[1] != '"' ||
			line->n_labels == PROM_TEXT_LABELS)
			return NULL;
		*end = '\0';
		p = unquote(end + 2);
		if (!p)
			return NULL;
		line->labels[line->n_labels++] = (struct prom_label){ name, end + 2 };
		if (*p == ',')
			p++;
		else if (*p != '}')
			return NULL;
	}
	return p + 1;
}

/* @p: one line, ended.  Return: false if it is not to be looked at. */
static bool read_line(struct prom_text *t, char *p, struct prom_line *ret)
{
	struct prom_line line = { .family = p };
	char *end = p + strcspn(p, "{ "), after = *end;

	if (end == p || *p == '#' || !after)
		return false;
	*end = '\0';
	if (t->wanted && !t->wanted(t->ctx, p))
		return false;
	p = end + 1;
	if (after == '{') {
		p = read_labels(p, &line);
		if (!p || *p++ != ' ')
			return false;
	}
	if (parse_real(p, &line.value) < 0)
		return false;
	*ret = line;
	return true;
}

bool prom_text_next(struct prom_text *t, struct prom_line *ret)
{
	while (t->at < t->end) {
		char *line = t->at;
		char *end = memchr(line, '\n', (size_t)(t->end - line));

		if (!end)
			end = t->end;
		*end = '\0';
		t->at = end + 1;
		if (read_line(t, line, ret))
			return true;
	}
	return false;
}

const char *prom_text_label(const struct prom_line *line, const char *name)
{
	for (size_t i = 0; i < line->n_labels; i++)
		if (!strcmp(line->labels[i].name, name))
			return line->labels[i].value;
	return NULL;
}

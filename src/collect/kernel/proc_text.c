/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/kernel/proc_text.h"

#include <assert.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/parse.h"

void fact_set_u64(struct fact *fact, const char *p)
{
	uint64_t v = 0;

	if (parse_u64_at(&p, &v) == 0)
		fact_set(fact, value_u64(v));
}

const char *proc_next_line(const char *p)
{
	p += strcspn(p, "\n");
	return *p ? p + 1 : p;
}

bool proc_is_whole(const char *text)
{
	size_t n = strlen(text);

	return n && text[n - 1] == '\n';
}

bool proc_line_is(const char *p, const char *word, const char **ret)
{
	size_t n = strlen(word);

	if (strncmp(p, word, n) != 0 || !(p[n] == ' ' || p[n] == ':' || p[n] == '\t'))
		return false;
	p += n;
	*ret = p + strspn(p, " \t:");
	return true;
}

bool proc_find_u64(const char *text, const char *word, uint64_t *ret)
{
	for (const char *p = text; *p; p = proc_next_line(p)) {
		const char *v = NULL;

		if (proc_line_is(p, word, &v))
			return parse_u64_at(&v, ret) == 0;
	}
	return false;
}

/* Few digits, as the kernel writes: a division of numbers that are exact rounds as strtod(). */
static bool take_short_real(const char **p, double *ret)
{
	static const double tens[] = { 1, 10, 100, 1e3, 1e4, 1e5, 1e6 };
	const char *s = *p;
	uint64_t n = 0;
	size_t digits = 0, behind = 0;
	bool point = false;

	for (; (*s >= '0' && *s <= '9') || (*s == '.' && !point && digits); s++) {
		if (*s == '.') {
			point = true;
			continue;
		}
		n = 10 * n + (uint64_t)(*s - '0');
		behind += point;
		if (++digits > 15 || behind >= ARRAY_LEN(tens))
			return false;
	}
	if (!digits || *s == '.' || (point && !behind))
		return false;
	*p = s;
	*ret = (double)n / tens[behind];
	return true;
}

bool proc_take_real(const char **p, double *ret)
{
	if (take_short_real(p, ret))
		return true;
	char word[32];
	size_t n = strspn(*p, "0123456789.");

	if (!n || n >= sizeof(word))
		return false;
	memcpy(word, *p, n);
	word[n] = '\0';
	*p += n;
	return parse_real(word, ret) == 0;
}

/* "avg10=0.00 avg60=0.00 avg300=0.00 total=0" */
static void parse_pressure_line(const char *p, struct fact *facts)
{
	static const char *const words[] = { [PRESSURE_AVG10] = "avg10=",
		[PRESSURE_AVG60] = "avg60=",
		[PRESSURE_AVG300] = "avg300=",
		[PRESSURE_TOTAL] = "total=" };
	static_assert(ARRAY_LEN(words) == PRESSURE_COUNT, "a word for each figure");

	for (int i = 0; i < PRESSURE_COUNT; i++) {
		double v = 0;

		if (strncmp(p, words[i], strlen(words[i])) != 0)
			return;
		p += strlen(words[i]);
		if (i == PRESSURE_TOTAL)
			fact_set_u64(&facts[i], p);
		else if (proc_take_real(&p, &v))
			fact_set(&facts[i], value_real(v));
		p += strspn(p, " ");
	}
}

void proc_no_pressure(struct fact *some, struct fact *full)
{
	for (int i = 0; i < PRESSURE_COUNT; i++) {
		fact_set_absent(&some[i]);
		fact_set_absent(&full[i]);
	}
}

void proc_parse_pressure(const char *text, struct fact *some, struct fact *full)
{
	for (const char *p = text; *p; p = proc_next_line(p)) {
		const char *v = NULL;

		if (proc_line_is(p, "some", &v))
			parse_pressure_line(v, some);
		else if (proc_line_is(p, "full", &v))
			parse_pressure_line(v, full);
	}
	if (proc_is_whole(text))
		proc_no_pressure(some, full);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/parse.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "util/libc.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

int parse_u64_at(const char **pos, uint64_t *ret)
{
	const char *p = *pos;
	uint64_t v = 0;
	bool overflow = false;

	if (!is_digit(*p))
		return -EINVAL;
	for (; is_digit(*p); p++)
		overflow |= __builtin_mul_overflow(v, UINT64_C(10), &v) ||
			__builtin_add_overflow(v, (uint64_t)(*p - '0'), &v);
	*pos = p;
	if (overflow)
		return -ERANGE;
	*ret = v;
	return 0;
}

int parse_u64(const char *s, uint64_t *ret)
{
	uint64_t v = 0;
	int r = parse_u64_at(&s, &v);

	if (*s)
		return -EINVAL;
	if (r < 0)
		return r;
	*ret = v;
	return 0;
}

int parse_i64(const char *s, int64_t *ret)
{
	bool negative = *s == '-';
	uint64_t v = 0;
	int r = parse_u64(s + negative, &v);

	if (r < 0)
		return r;
	if (v > (uint64_t)INT64_MAX + negative)
		return -ERANGE;
	*ret = negative ? (int64_t)(0 - v) : (int64_t)v;
	return 0;
}

/*
 * Most numbers are a few digits with a point among them.  As long as all digits are an integer that
 * a double holds, one division rounds as strtod() would, in a tenth of the time.
 */
static bool parse_plain_real(const char *s, double *ret)
{
	static const double tens[] = { 1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9,
		1e10, 1e11, 1e12, 1e13, 1e14, 1e15 };
	enum { DIGITS_MAX = 15 };
	bool negative = *s == '-';
	const char *p = s + negative;
	int64_t digits = 0;
	int n = 0, n_before = 0;

	if (FLT_EVAL_METHOD != 0)
		return false;
	for (; is_digit(*p) && n < DIGITS_MAX; p++, n++)
		digits = digits * 10 + (*p - '0');
	n_before = n;
	if (n && *p == '.')
		for (p++; is_digit(*p) && n < DIGITS_MAX; p++, n++)
			digits = digits * 10 + (*p - '0');
	if (!n || *p || p[-1] == '.')
		return false;
	double v = (double)digits / tens[n - n_before];

	*ret = negative ? -v : v;
	return true;
}

int parse_real(const char *s, double *ret)
{
	char *end = NULL;

	if (parse_plain_real(s, ret))
		return 0;
	if (!*s || s[strspn(s, "0123456789+-.eE")])
		return -EINVAL;
	double v = strtod_c(s, &end);

	if (end == s || *end)
		return -EINVAL;
	if (!isfinite(v))
		return -ERANGE;
	*ret = v;
	return 0;
}

/*
 * Length of the well-formed sequence at @s with @left bytes to go, 0 if there is none.
 * The bounds of the second byte exclude overlong forms, surrogates and values above
 * U+10FFFF (Unicode standard, table 3-7).
 */
static size_t utf8_sequence(const unsigned char *s, size_t left)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t n = 0;

	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		n = 2;
	else if (s[0] >= 0xe0 && s[0] <= 0xef)
		n = 3;
	else if (s[0] >= 0xf0 && s[0] <= 0xf4)
		n = 4;
	if (!n || n > left)
		return 0;
	if (s[0] == 0xe0)
		low = 0xa0;
	if (s[0] == 0xed)
		high = 0x9f;
	if (s[0] == 0xf0)
		low = 0x90;
	if (s[0] == 0xf4)
		high = 0x8f;
	if (s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if (s[i] < 0x80 || s[i] > 0xbf)
			return 0;
	return n;
}

bool utf8_valid(const char *s, size_t len)
{
	while (len) {
		size_t n = utf8_sequence((const unsigned char *)s, len);

		if (!n)
			return false;
		s += n;
		len -= n;
	}
	return true;
}

size_t utf8_decode(const char *s, uint32_t *ret)
{
	static const unsigned char lead_mask[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
	const unsigned char *u = (const unsigned char *)s;
	size_t n = u[0] < 0x80 ? 1 : u[0] < 0xe0 ? 2 : u[0] < 0xf0 ? 3 : 4;
	uint32_t c = u[0] & lead_mask[n];

	for (size_t i = 1; i < n; i++)
		c = c << 6 | (u[i] & 0x3f);
	*ret = c;
	return n;
}

char *str_trim(char *s)
{
	static const char space[] = " \t\r\n\v\f";

	s += strspn(s, space);
	size_t n = strlen(s);

	while (n && strchr(space, s[n - 1]))
		n--;
	s[n] = '\0';
	return s;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/value.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "core/unit.h"
#include "util/cleanup.h"
#include "util/parse.h"
#include "util/strbuf.h"

static const char *const type_names[] = {
	[METRIC_INT32] = "int32",
	[METRIC_UINT32] = "uint32",
	[METRIC_INT64] = "int64",
	[METRIC_UINT64] = "uint64",
	[METRIC_REAL32] = "real32",
	[METRIC_REAL64] = "real64",
	[METRIC_STRING] = "string",
};
static_assert(ARRAY_LEN(type_names) == METRIC_TYPE_COUNT, "one name for each type");

const char *metric_type_name(enum metric_type type)
{
	return type == METRIC_HISTOGRAM ? "histogram" : type_names[type];
}

int metric_type_parse(const char *name, enum metric_type *ret)
{
	for (int i = 0; i < METRIC_TYPE_COUNT; i++) {
		if (!strcmp(name, type_names[i])) {
			*ret = (enum metric_type)i;
			return 0;
		}
	}
	return -EINVAL;
}

static void format_string(const char *s, struct strbuf *out)
{
	static const char space[] = " \t\r\n\v\f";

	s += strspn(s, space);
	size_t n = strlen(s);

	while (n && strchr(space, s[n - 1]))
		n--;
	strbuf_add(out, s, n);
}

void value_format(const struct value *v, struct strbuf *out)
{
	switch (v->type) {
	case METRIC_INT32:
	case METRIC_INT64:
		strbuf_addf(out, "%" PRId64, v->i);
		break;
	case METRIC_UINT32:
	case METRIC_UINT64:
		strbuf_addf(out, "%" PRIu64, v->u);
		break;
	case METRIC_REAL32:
	case METRIC_REAL64:
		strbuf_addf(out, "%.6f", v->real);
		break;
	case METRIC_STRING:
	case METRIC_TYPE_COUNT:
		format_string(v->s, out);
		break;
	case METRIC_HISTOGRAM:
		break;
	}
}

static int check_signed(int64_t i, enum metric_type type)
{
	return type == METRIC_INT32 && (i < INT32_MIN || i > INT32_MAX) ? -ERANGE : 0;
}

static int check_unsigned(uint64_t u, enum metric_type type)
{
	return type == METRIC_UINT32 && u > UINT32_MAX ? -ERANGE : 0;
}

/* Cuts an accepted unit, and the space before it, from the end of a number's text. */
static void cut_unit(char *text, const char *unit)
{
	size_t n = strspn(text, "0123456789+-.eE");
	char *suffix = text + n;

	/* "5EiB": the exponent's letter belongs to the unit. */
	while (suffix > text && (suffix[-1] == 'e' || suffix[-1] == 'E'))
		suffix--;
	char *end = suffix;

	suffix += strspn(suffix, " \t");
	if (!*suffix)
		return;
	if (unit ? !strcmp(suffix, unit) : unit_find(suffix) != NULL)
		*end = '\0';
}

/* "12.000" is the integer 12; pagers and awk print such. */
static void cut_zero_fraction(char *text)
{
	char *dot = strchr(text, '.');

	if (dot && dot > text && dot[1] && !dot[1 + strspn(dot + 1, "0")])
		*dot = '\0';
}

static int parse_number(enum metric_type type, char *text, struct value *ret)
{
	int64_t i = 0;
	uint64_t u = 0;
	double real = 0;
	int r = 0;

	switch (type) {
	case METRIC_INT32:
	case METRIC_INT64:
		cut_zero_fraction(text);
		r = parse_i64(text, &i);
		if (r == 0)
			r = check_signed(i, type);
		if (r == 0)
			*ret = (struct value){ .type = type, .i = i };
		return r;
	case METRIC_UINT32:
	case METRIC_UINT64:
		cut_zero_fraction(text);
		r = parse_u64(text, &u);
		if (r == 0)
			r = check_unsigned(u, type);
		if (r == 0)
			*ret = (struct value){ .type = type, .u = u };
		return r;
	default:
		r = parse_real(text, &real);
		if (r == 0 && type == METRIC_REAL32 && !isfinite((float)real))
			r = -ERANGE;
		if (r == 0)
			*ret = (struct value){ .type = type, .real = real };
		return r;
	}
}

int value_parse(enum metric_type type, char *text, const char *unit, struct value *ret)
{
	text = str_trim(text);
	if (type == METRIC_STRING) {
		if (!utf8_valid(text, strlen(text)))
			return -EINVAL;
		*ret = value_string(text);
		return 0;
	}
	cut_unit(text, unit);
	return parse_number(type, text, ret);
}

static double as_real(const struct value *v)
{
	switch (v->type) {
	case METRIC_INT32:
	case METRIC_INT64:
		return (double)v->i;
	case METRIC_UINT32:
	case METRIC_UINT64:
		return (double)v->u;
	default:
		return v->real;
	}
}

static int as_signed(const struct value *v, struct value *ret)
{
	switch (v->type) {
	case METRIC_INT32:
	case METRIC_INT64:
		ret->i = v->i;
		return 0;
	case METRIC_UINT32:
	case METRIC_UINT64:
		if (v->u > INT64_MAX)
			return -ERANGE;
		ret->i = (int64_t)v->u;
		return 0;
	default:
		if (!(v->real >= -0x1p63 && v->real < 0x1p63))
			return -ERANGE;
		ret->i = (int64_t)v->real;
		return 0;
	}
}

static int as_unsigned(const struct value *v, struct value *ret)
{
	switch (v->type) {
	case METRIC_INT32:
	case METRIC_INT64:
		if (v->i < 0)
			return -ERANGE;
		ret->u = (uint64_t)v->i;
		return 0;
	case METRIC_UINT32:
	case METRIC_UINT64:
		ret->u = v->u;
		return 0;
	default:
		if (!(v->real > -1.0 && v->real < 0x1p64))
			return -ERANGE;
		ret->u = (uint64_t)v->real;
		return 0;
	}
}

int value_cast(const struct value *v, enum metric_type type, struct value *ret)
{
	struct value out = { .type = type };
	int r = 0;

	if ((v->type == METRIC_STRING) != (type == METRIC_STRING) ||
		(v->type == METRIC_HISTOGRAM) != (type == METRIC_HISTOGRAM))
		return -EINVAL;
	switch (type) {
	case METRIC_INT32:
	case METRIC_INT64:
		r = as_signed(v, &out);
		if (r == 0)
			r = check_signed(out.i, type);
		break;
	case METRIC_UINT32:
	case METRIC_UINT64:
		r = as_unsigned(v, &out);
		if (r == 0)
			r = check_unsigned(out.u, type);
		break;
	case METRIC_REAL32:
	case METRIC_REAL64:
		out.real = as_real(v);
		if (!isfinite(type == METRIC_REAL32 ? (float)out.real : out.real))
			r = -ERANGE;
		break;
	case METRIC_HISTOGRAM:
		out.h = v->h;
		break;
	default:
		out.s = v->s;
		break;
	}
	if (r == 0)
		*ret = out;
	return r;
}

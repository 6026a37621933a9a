/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A metric's value: its type, its text form on the wire, and parsing of such text.
 * Pure functions; a string, or a histogram, points to memory that somebody else owns.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct histogram;
struct strbuf;

/* The order is that of libmetrics' enum metric_type (formats: guest library ABI). */
enum metric_type {
	METRIC_INT32,
	METRIC_UINT32,
	METRIC_INT64,
	METRIC_UINT64,
	METRIC_REAL32,
	METRIC_REAL64,
	METRIC_STRING,
	METRIC_TYPE_COUNT,
	/* core/histogram: has no text, and is on no wire */
	METRIC_HISTOGRAM,
};

/* Twelve bytes, not sixteen: there is one for each figure of each VM, twice while a cycle lasts. */
struct value {
	union {
		int64_t i;                 /* METRIC_INT32, METRIC_INT64 */
		uint64_t u;                /* METRIC_UINT32, METRIC_UINT64 */
		double real;               /* METRIC_REAL32, METRIC_REAL64 */
		const char *s;             /* METRIC_STRING; UTF-8 */
		const struct histogram *h; /* METRIC_HISTOGRAM */
	};
	enum metric_type type;
} __attribute__((packed, aligned(4)));

static inline struct value value_u64(uint64_t u)
{
	return (struct value){ .type = METRIC_UINT64, .u = u };
}

static inline struct value value_i64(int64_t i)
{
	return (struct value){ .type = METRIC_INT64, .i = i };
}

static inline struct value value_real(double real)
{
	return (struct value){ .type = METRIC_REAL64, .real = real };
}

static inline struct value value_string(const char *s)
{
	return (struct value){ .type = METRIC_STRING, .s = s };
}

static inline struct value value_histogram(const struct histogram *h)
{
	return (struct value){ .type = METRIC_HISTOGRAM, .h = h };
}

static inline bool metric_type_is_real(enum metric_type type)
{
	return type == METRIC_REAL32 || type == METRIC_REAL64;
}

/* "int32", "uint32", ... as in the configuration and on the wire; "histogram". */
const char *metric_type_name(enum metric_type type);

/* One that is on the wire.  Return: 0, or -EINVAL if @name is none of them. */
int metric_type_parse(const char *name, enum metric_type *ret);

/*
 * Appends the value's text: decimal integers, reals with six decimals, strings with
 * surrounding white space removed.  No escaping.  A histogram has none.
 */
void value_format(const struct value *v, struct strbuf *out);

/*
 * Reads @text (changed in place: trimmed) as @type.  Numbers may be followed by a unit:
 * the one named by @unit, or any known one if @unit is NULL ("69.4s", "1919 MiB"); it is
 * dropped, not converted.  An integer may carry a fraction of zeros ("12.000000").
 * Return: 0; -EINVAL (not of that form, or not UTF-8); -ERANGE (does not fit).  A string
 * in *@ret points into @text.
 */
int value_parse(enum metric_type type, char *text, const char *unit, struct value *ret);

/*
 * Converts to another type.  Integers to reals and back (truncated towards zero) and
 * between widths.  Return: 0; -ERANGE if it does not fit; -EINVAL between string, histogram
 * and number.
 */
int value_cast(const struct value *v, enum metric_type type, struct value *ret);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Units of measurement and exact conversion between those of one dimension.  Pure. */
#pragma once

#include <stdint.h>

struct value;

enum unit_dimension {
	DIMENSION_BYTES,
	DIMENSION_TIME,
	DIMENSION_FREQUENCY,
	DIMENSION_RATIO,
	DIMENSION_RATE,
};

struct unit {
	const char *symbol;
	enum unit_dimension dimension;
	uint64_t
		factor; /* in the smallest unit of the dimension: B, ns, Hz, 1/100, 1/s */
	const char *prom_base; /* Prometheus' base unit, as a name suffix; "" for none */
	uint64_t prom_divisor; /* smallest units in one base unit */
};

/* Return: the unit with that symbol (case matters: "kB" is 1000 bytes), or NULL. */
const struct unit *unit_find(const char *symbol);

/* All symbols, separated by ", "; for messages. */
const char *unit_symbols(void);

/*
 * Converts a number from one unit to another of the same dimension.  Integers stay
 * integers and are truncated towards zero; reals stay reals.
 * Return: 0; -EINVAL (not a number, or the dimensions differ); -ERANGE (does not fit).
 */
int unit_convert(const struct value *v, const struct unit *from, const struct unit *to,
	struct value *ret);

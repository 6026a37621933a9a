/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/unit.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>

#include "core/value.h"
#include "util/cleanup.h"
#include "util/strbuf.h"

#define BYTES(symbol, factor)                                                            \
	{                                                                                \
		symbol, DIMENSION_BYTES, factor, "bytes", 1                              \
	}
#define TIME(symbol, factor)                                                             \
	{                                                                                \
		symbol, DIMENSION_TIME, factor, "seconds", 1000000000                    \
	}
#define HERTZ(symbol, factor)                                                            \
	{                                                                                \
		symbol, DIMENSION_FREQUENCY, factor, "hertz", 1                          \
	}

static const struct unit units[] = {
	BYTES("B", 1),
	BYTES("kB", 1000),
	BYTES("MB", 1000000),
	BYTES("GB", 1000000000),
	BYTES("TB", 1000000000000),
	BYTES("KiB", UINT64_C(1) << 10),
	BYTES("MiB", UINT64_C(1) << 20),
	BYTES("GiB", UINT64_C(1) << 30),
	BYTES("TiB", UINT64_C(1) << 40),
	TIME("ns", 1),
	TIME("us", 1000),
	TIME("ms", 1000000),
	TIME("s", 1000000000),
	HERTZ("Hz", 1),
	HERTZ("kHz", 1000),
	HERTZ("MHz", 1000000),
	HERTZ("GHz", 1000000000),
	{ "%", DIMENSION_RATIO, 1, "ratio", 100 },
	{ "1", DIMENSION_RATIO, 100, "", 100 },
	{ "1/s", DIMENSION_RATE, 1, "per_second", 1 },
};

const struct unit *unit_find(const char *symbol)
{
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (!strcmp(symbol, units[i].symbol))
			return &units[i];
	return NULL;
}

static char *symbols;

static void symbols_init(void)
{
	struct strbuf sb = STRBUF_INIT;

	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		strbuf_addf(&sb, "%s%s", i ? ", " : "", units[i].symbol);
	symbols = strbuf_steal(&sb);
}

const char *unit_symbols(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, symbols_init);
	return symbols;
}

__extension__ typedef unsigned __int128 u128; /* so that the product cannot overflow */

static int scale_unsigned(uint64_t u, uint64_t mul, uint64_t div, uint64_t *ret)
{
	u128 wide = (u128)u * mul / div;

	if (wide > UINT64_MAX)
		return -ERANGE;
	*ret = (uint64_t)wide;
	return 0;
}

static int scale_signed(int64_t i, uint64_t mul, uint64_t div, int64_t *ret)
{
	uint64_t magnitude = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
	uint64_t scaled = 0;
	int r = scale_unsigned(magnitude, mul, div, &scaled);

	if (r < 0)
		return r;
	if (scaled > INT64_MAX)
		return -ERANGE;
	*ret = i < 0 ? -(int64_t)scaled : (int64_t)scaled;
	return 0;
}

int unit_convert(const struct value *v, const struct unit *from, const struct unit *to,
	struct value *ret)
{
	struct value out = *v;
	int64_t i = 0;
	uint64_t u = 0;
	int r = 0;

	if (v->type == METRIC_STRING || v->type == METRIC_HISTOGRAM ||
		from->dimension != to->dimension)
		return -EINVAL;
	switch (v->type) {
	case METRIC_INT32:
	case METRIC_INT64:
		r = scale_signed(v->i, from->factor, to->factor, &i);
		out.i = i;
		break;
	case METRIC_UINT32:
	case METRIC_UINT64:
		r = scale_unsigned(v->u, from->factor, to->factor, &u);
		out.u = u;
		break;
	default:
		out.real = v->real * (double)from->factor / (double)to->factor;
		break;
	}
	if (r == 0)
		*ret = out;
	return r;
}

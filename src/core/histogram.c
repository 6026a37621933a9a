/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/histogram.h"

#include <assert.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/hash.h"

#define US(n) ((n)*UINT64_C(1024))
#define MS(n) ((n)*UINT64_C(1024) * 1024)

/*
 * Powers of two, in which the kernel's part counts (bpf/delay_format.h).  A factor of two where a
 * scheduler's slices are, which is what a quantile must be exact for, of four and more around them.
 */
static const struct histogram_bounds all[] = {
	[HISTOGRAM_WAITS] = { 14,
		{ US(4), US(16), US(64), US(256), US(512), MS(1), MS(2), MS(4), MS(8),
			MS(16), MS(32), MS(64), MS(256), MS(1024) } },
};
static_assert(ARRAY_LEN(all) == HISTOGRAM_KINDS, "bounds of each kind");

const struct histogram_bounds *histogram_bounds(uint32_t kind)
{
	assert(kind < HISTOGRAM_KINDS);
	return &all[kind];
}

uint64_t histogram_fingerprint(uint32_t kind)
{
	const struct histogram_bounds *b = histogram_bounds(kind);

	return siphash24(b->at, b->n * sizeof(b->at[0]));
}

uint32_t histogram_find(uint64_t fingerprint)
{
	uint32_t kind = 0;

	while (kind < HISTOGRAM_KINDS && histogram_fingerprint(kind) != fingerprint)
		kind++;
	return kind;
}

uint64_t histogram_count(const struct histogram *h)
{
	uint64_t n = 0;

	for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
		n += h->counts[i];
	return n;
}

bool histogram_equal(const struct histogram *a, const struct histogram *b)
{
	return a->kind == b->kind && a->sum == b->sum &&
		memcmp(a->counts, b->counts, sizeof(a->counts)) == 0;
}

static void add(uint64_t *to, uint64_t n, uint64_t most)
{
	*to = n < most - *to ? *to + n : most;
}

void histogram_add(struct histogram *h, size_t bucket, uint64_t n)
{
	assert(bucket <= histogram_bounds(h->kind)->n);
	add(&h->counts[bucket], n, HISTOGRAM_MOST);
}

void histogram_add_sum(struct histogram *h, uint64_t sum)
{
	add(&h->sum, sum, HISTOGRAM_MOST_SUM);
}

/* True if @now has all that @then has. */
static bool goes_on(const struct histogram *then, const struct histogram *now)
{
	bool more = then->origin == now->origin && then->sum <= now->sum;

	for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
		more &= then->counts[i] <= now->counts[i];
	return more;
}

void histogram_go_on(struct histogram *shown, const struct histogram *then,
	const struct histogram *now)
{
	static const struct histogram nothing = { 0 };
	const struct histogram *from = goes_on(then, now) ? then : &nothing;

	add(&shown->sum, now->sum - from->sum, HISTOGRAM_MOST_SUM);
	for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
		add(&shown->counts[i], now->counts[i] - from->counts[i], HISTOGRAM_MOST);
}

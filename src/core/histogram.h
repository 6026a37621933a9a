/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A value that is a histogram: how many of something were how large.  It counts on as a counter
 * does; where it is shown it is Prometheus' `_bucket`, `_sum` and `_count` (core/render_prom), and
 * guests see none (core/snapshot.h).
 *
 * What is kept is each bucket's own count, of which `le` and `_count` are sums: so buckets never
 * fall from one to the next, and the last is always all there is, whatever was added.  Of a fixed
 * size, which is copied as it is: there is one for each VM.  Pure functions; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* With the one for all that is beyond the last bound. */
#define HISTOGRAM_BUCKETS 16u

/* A bucket's count is never more, so that all together do not overflow, and a sum. */
#define HISTOGRAM_MOST (UINT64_C(1) << 59)
#define HISTOGRAM_MOST_SUM (UINT64_C(1) << 63)

enum histogram_kind {
	HISTOGRAM_WAITS, /* of virtual CPUs for a processor, ns */
	HISTOGRAM_KINDS,
};

/* Upper bounds, which rise, in the unit of the source. */
struct histogram_bounds {
	size_t n; /* less than HISTOGRAM_BUCKETS */
	uint64_t at[HISTOGRAM_BUCKETS - 1];
};

struct histogram {
	uint32_t kind; /* enum histogram_kind */
	/* who counts: another one, or one that has less than it had, began from nothing */
	uint64_t origin;
	uint64_t sum;
	/* those behind the last of its bounds are 0 */
	uint64_t counts[HISTOGRAM_BUCKETS];
};

/* @kind: one that there is. */
const struct histogram_bounds *histogram_bounds(uint32_t kind);

/* Stands for the bounds of a kind; the same in every process that has the same. */
uint64_t histogram_fingerprint(uint32_t kind);

/* The kind with these bounds; HISTOGRAM_KINDS: none. */
uint32_t histogram_find(uint64_t fingerprint);

/* How many there are in all buckets. */
uint64_t histogram_count(const struct histogram *h);

/* True if both show the same, whoever counts. */
bool histogram_equal(const struct histogram *a, const struct histogram *b);

/* @n more in a bucket, or in the sum.  What would be more than the most stays there. */
void histogram_add(struct histogram *h, size_t bucket, uint64_t n);
void histogram_add_sum(struct histogram *h, uint64_t sum);

/*
 * Adds to @shown what was counted from @then to @now: all of @now, if another one counts.
 * Nothing of @shown falls.  All are of the same kind.
 */
void histogram_go_on(struct histogram *shown, const struct histogram *then,
	const struct histogram *now);

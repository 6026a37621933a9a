/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Counters are counters: what the catalogue calls one (KIND_COUNTER) never falls within one
 * run of its VM, whoever sampled it, and wherever it was read.  The board passes each list
 * of a scope through here before anybody sees it.
 *
 * A counter that is less than it was stays where it was: a file may tell a little less than a
 * moment ago, or not all for a moment.  If that lasts for a few samples it is another thing
 * that counts now (a device was unplugged and plugged, a guest was restarted), and it goes on
 * from there, with all that was counted since it fell.
 *
 * Nor does a histogram fall (KIND_HISTOGRAM), none of its buckets and not its sum: it is one thing that
 * counts, which says itself when it began anew (core/histogram.h), and goes on at once.
 *
 * Knows nothing of lanes and plans.  One thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fall;
struct histogram;
struct histogram_series;
struct metric_label;
struct metric_list;
struct series;

/* Those of one scope, by metric_label.series and device; all zero: none yet. */
struct counters {
	struct series *at; /* a hash table */
	size_t n, n_slots;
	struct fall *falls; /* of those that fell, sorted by key */
	size_t n_falls, cap_falls;
	struct histogram_series *histograms; /* few, in no order */
	size_t n_histograms;
};

void counters_done(struct counters *counters);

/* True if what was told last, told once more, changes nothing: no counter has just fallen. */
bool counters_at_rest(const struct counters *counters);

/* Changes @list, which nobody else has seen yet. */
void counters_settle(struct counters *counters, struct metric_list *list);

/* What is known of the device of the metric before; all zero at first. */
struct device_hash {
	const char *device;
	uint64_t hash;
};

/* What a metric counts; the same in every process.  Its device stays while @last is used. */
uint64_t counters_key(
	const struct metric_label *label, const char *device, struct device_hash *last);

/* The slot of what has @key, SIZE_MAX: none. */
size_t counters_find(const struct counters *counters, uint64_t key);

/* A counter that goes on in another process; numbers as they lie in memory. */
struct counter_state {
	uint64_t key;     /* counters_key(); never 0 */
	uint64_t reached; /* the most that was told */
	/* of one that fell */
	bool fell;
	uint32_t n_falls;
	uint64_t low, base, floor;
};

/*
 * The counter in slot @i, 0 to n_slots - 1.  Return: false if there is none,
 * or none that counters_restore() would take.
 */
bool counters_state(const struct counters *counters, size_t i, struct counter_state *ret);

/*
 * Takes one in, which may come from anywhere.  Return: 0; -EINVAL if it cannot be, or is
 * there already; -E2BIG if there are too many.
 */
int counters_restore(struct counters *counters, const struct counter_state *state);

/* The histogram with @key as it was told last; NULL: none.  Borrowed until another comes. */
const struct histogram *counters_histogram(const struct counters *counters, uint64_t key);

/* That in place @i, 0 to n_histograms - 1. */
const struct histogram *counters_histogram_at(
	const struct counters *counters, size_t i, uint64_t *ret_key);

/*
 * Takes one in that another process told.  @h: with bounds that there are; copied; else it may come
 * from anywhere.  Return: 0; -EINVAL if it cannot be, or is there already; -E2BIG if there are too many.
 */
int counters_restore_histogram(
	struct counters *counters, uint64_t key, const struct histogram *h);

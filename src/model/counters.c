/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model/counters.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/catalogue.h"
#include "core/histogram.h"
#include "core/metric_list.h"
#include "util/hash.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/search.h"

/* After so many samples in a row that are less it is another thing that counts. */
#define BELIEVED_FALLS 3u

/*
 * The table of each VM is kept about three quarters full: it is most of what its counters cost,
 * and is looked into once for each of them and cycle.
 */
#define FIRST_SLOTS 16u

/* The metric's type, which is part of the key, says which. */
union number {
	uint64_t u;
	double real;
};

/* Of one that fell, as hardly any does. */
struct fall {
	uint64_t key;
	unsigned n;         /* samples in a row that were less than what was reached */
	union number low;   /* the least of them */
	union number base;  /* what is shown is this and what is told */
	union number floor; /* but never less than this: sums are rounded */
};

struct series {
	uint64_t key;         /* 0: empty */
	union number reached; /* the most that was told */
};

/* One that counts on. */
struct histogram_series {
	uint64_t key;
	struct histogram shown;   /* the last that was told, and is to be gone on from */
	struct histogram counted; /* by who counts now; all zero: nobody has yet */
};

void counters_done(struct counters *counters)
{
	free(counters->at);
	free(counters->histograms);
	free(counters->falls);
	*counters = (struct counters){ 0 };
}

/* ---- numbers ---- */

static bool less(bool real, union number a, union number b)
{
	return real ? a.real < b.real : a.u < b.u;
}

static union number add(bool real, union number a, union number b)
{
	union number sum = { .u = a.u <= UINT64_MAX - b.u ? a.u + b.u : UINT64_MAX };

	if (real)
		sum.real = a.real + b.real;
	return sum;
}

/* @a is no less. */
static union number subtract(bool real, union number a, union number b)
{
	union number rest;

	if (real)
		rest.real = a.real - b.real;
	else
		rest.u = a.u - b.u;
	return rest;
}

static union number greater(bool real, union number a, union number b)
{
	return less(real, a, b) ? b : a;
}

/* ---- the table ---- */

/* A key is a hash: its upper half says where to begin. */
static struct series *slot_of(const struct counters *counters, uint64_t key)
{
	size_t i = (key >> 32) * counters->n_slots >> 32;

	while (counters->at[i].key && counters->at[i].key != key)
		if (++i == counters->n_slots)
			i = 0;
	return &counters->at[i];
}

static void grow(struct counters *counters)
{
	struct counters grown = *counters;

	grown.n_slots = counters->n_slots ? counters->n_slots + counters->n_slots / 4
					  : FIRST_SLOTS;
	grown.at = xcalloc(grown.n_slots, sizeof(*grown.at));
	for (size_t i = 0; i < counters->n_slots; i++)
		if (counters->at[i].key)
			*slot_of(&grown, counters->at[i].key) = counters->at[i];
	free(counters->at);
	*counters = grown;
}

/* Return: NULL if it is new and there is no room. */
static struct series *find(struct counters *counters, uint64_t key)
{
	if (8 * (counters->n + 1) > 7 * counters->n_slots)
		grow(counters);
	struct series *s = slot_of(counters, key);

	if (!s->key) {
		if (counters->n == LIMIT_SERIES)
			return NULL;
		s->key = key;
		counters->n++;
	}
	return s;
}

/* ---- those that fell ---- */

static uint64_t fall_key(const void *falls, size_t i)
{
	const struct fall *at = falls;

	return at[i].key;
}

/* Return: NULL if it never fell. */
static struct fall *fall_of(const struct counters *counters, uint64_t key)
{
	if (!counters->n_falls)
		return NULL;
	size_t i = search_key(counters->falls, counters->n_falls, fall_key, key);

	return i < counters->n_falls && counters->falls[i].key == key
		? &counters->falls[i]
		: NULL;
}

static struct fall *add_fall(struct counters *counters, uint64_t key)
{
	size_t i = search_key(counters->falls, counters->n_falls, fall_key, key);

	counters->falls = xgrow(counters->falls, counters->n_falls, &counters->cap_falls,
		sizeof(*counters->falls));
	memmove(&counters->falls[i + 1], &counters->falls[i],
		(counters->n_falls - i) * sizeof(*counters->falls));
	counters->n_falls++;
	counters->falls[i] = (struct fall){ .key = key };
	return &counters->falls[i];
}

/* ---- a sample ---- */

/* It tells less than it did.  If that lasts, it goes on from what it told then. */
static void note_fall(struct series *s, struct fall *f, bool real, union number told)
{
	if (!f->n || less(real, told, f->low)) {
		f->low = told;
		f->n = 1;
	} else if (++f->n == BELIEVED_FALLS) {
		f->floor = greater(real, add(real, s->reached, f->base), f->floor);
		f->base = add(real, f->base, subtract(real, s->reached, f->low));
		s->reached = told;
		f->n = 0;
	}
}

/* What is shown of a series that tells @told now. */
static union number pass(
	struct counters *counters, struct series *s, bool real, union number told)
{
	struct fall *f = fall_of(counters, s->key);

	if (less(real, told, s->reached)) {
		if (!f)
			f = add_fall(counters, s->key);
		note_fall(s, f, real, told);
	} else {
		s->reached = told;
		if (f)
			f->n = 0;
	}
	if (!f)
		return s->reached;
	return greater(real, add(real, s->reached, f->base), f->floor);
}

/*
 * Devices have other numbers when one is plugged before them, but keep their names.  A list has
 * each device's name but once, and often that of one alone.
 */
uint64_t counters_key(
	const struct metric_label *label, const char *device, struct device_hash *last)
{
	if (!device)
		return label->series;
	if (device != last->device)
		*last = (struct device_hash){ device, siphash24(device, strlen(device)) };
	uint64_t key = label->family ^ last->hash; /* a hash, too */

	return key ? key : 1;
}

size_t counters_find(const struct counters *counters, uint64_t key)
{
	const struct series *s = counters->n ? slot_of(counters, key) : NULL;

	return s && s->key ? (size_t)(s - counters->at) : SIZE_MAX;
}

static void settle(struct counters *counters, struct metric *m, struct device_hash *last)
{
	bool real = metric_type_is_real(m->value.type);
	struct series *s = find(counters, counters_key(m->label, metric_device(m), last));

	if (!s)
		return;
	union number n = { .u = m->value.u };

	if (real)
		n.real = m->value.real;
	n = pass(counters, s, real, n);
	/* what goes on from a base may outgrow its type */
	struct value shown = real ? value_real(n.real) : value_u64(n.u);

	m->available = value_cast(&shown, m->value.type, &shown) == 0;
	if (m->available)
		m->value = shown;
}

/* ---- histograms ---- */

static struct histogram_series *find_histogram(
	const struct counters *counters, uint64_t key)
{
	for (size_t i = 0; i < counters->n_histograms; i++)
		if (counters->histograms[i].key == key)
			return &counters->histograms[i];
	return NULL;
}

/* Return: NULL if there is no room. */
static struct histogram_series *add_histogram(
	struct counters *counters, uint64_t key, const struct histogram *shown)
{
	if (counters->n_histograms == LIMIT_SCOPE_HISTOGRAMS)
		return NULL;
	counters->histograms = xreallocarray(counters->histograms,
		counters->n_histograms + 1, sizeof(*counters->histograms));
	struct histogram_series *s = &counters->histograms[counters->n_histograms++];

	*s = (struct histogram_series){ .key = key, .shown = *shown };
	return s;
}

static void settle_histogram(struct counters *counters, struct metric *m)
{
	struct device_hash last = { 0 };
	uint64_t key = counters_key(m->label, metric_device(m), &last);
	/* it lies in the list, which is nobody else's yet */
	struct histogram *h = (struct histogram *)(uintptr_t)m->value.h;
	struct histogram_series *s = find_histogram(counters, key);

	if (!s)
		s = add_histogram(
			counters, key, &(const struct histogram){ .kind = h->kind });
	m->available = s && s->shown.kind == h->kind;
	if (!m->available)
		return;
	histogram_go_on(&s->shown, &s->counted, h);
	s->counted = *h;
	*h = s->shown;
}

const struct histogram *counters_histogram(const struct counters *counters, uint64_t key)
{
	const struct histogram_series *s = find_histogram(counters, key);

	return s ? &s->shown : NULL;
}

const struct histogram *counters_histogram_at(
	const struct counters *counters, size_t i, uint64_t *ret_key)
{
	*ret_key = counters->histograms[i].key;
	return &counters->histograms[i].shown;
}

int counters_restore_histogram(
	struct counters *counters, uint64_t key, const struct histogram *h)
{
	if (!key || find_histogram(counters, key) || h->sum > HISTOGRAM_MOST_SUM)
		return -EINVAL;
	for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
		if (h->counts[i] >
			(i <= histogram_bounds(h->kind)->n ? HISTOGRAM_MOST : 0))
			return -EINVAL;
	return add_histogram(counters, key, h) ? 0 : -E2BIG;
}

/* ---- a list ---- */

bool counters_at_rest(const struct counters *counters)
{
	for (size_t i = 0; i < counters->n_falls; i++)
		if (counters->falls[i].n)
			return false;
	return true;
}

void counters_settle(struct counters *counters, struct metric_list *list)
{
	struct device_hash last = { 0 };

	for (size_t i = 0; i < list->n; i++) {
		struct metric *m = &list->metrics[i];
		const struct catalogue_entry *e = m->label->spec->entry;

		if (e && e->kind == KIND_COUNTER && m->available &&
			m->value.type != METRIC_STRING)
			settle(counters, m, &last);
		else if (m->available && m->value.type == METRIC_HISTOGRAM)
			settle_histogram(counters, m);
	}
}

/* ---- to and from another process ---- */

/*
 * Whether it is a real number is not known here.  No counter is negative, infinite or not a
 * number, and none of integers is as large as those bits would be: more than 9.2e18.
 */
static bool plausible(uint64_t bits)
{
	return bits < UINT64_C(0x7ff0000000000000);
}

bool counters_state(const struct counters *counters, size_t i, struct counter_state *ret)
{
	const struct series *s = &counters->at[i];
	const struct fall *f = s->key ? fall_of(counters, s->key) : NULL;

	if (!s->key || !plausible(s->reached.u))
		return false;
	if (f && !(plausible(f->low.u) && plausible(f->base.u) && plausible(f->floor.u)))
		return false;
	*ret = (struct counter_state){ .key = s->key, .reached = s->reached.u };
	if (f) {
		ret->fell = true;
		ret->n_falls = f->n;
		ret->low = f->low.u;
		ret->base = f->base.u;
		ret->floor = f->floor.u;
	}
	return true;
}

int counters_restore(struct counters *counters, const struct counter_state *state)
{
	if (!state->key || !plausible(state->reached))
		return -EINVAL;
	if (state->fell &&
		(state->n_falls >= BELIEVED_FALLS || !plausible(state->low) ||
			!plausible(state->base) || !plausible(state->floor)))
		return -EINVAL;
	size_t n = counters->n;
	struct series *s = find(counters, state->key);

	if (!s || counters->n == n)
		return s ? -EINVAL : -E2BIG;
	s->reached.u = state->reached;
	if (state->fell) {
		*add_fall(counters, state->key) = (struct fall){ .key = state->key,
			.n = state->n_falls,
			.low.u = state->low,
			.base.u = state->base,
			.floor.u = state->floor };
	}
	return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model/counters.h"

#include <stdint.h>
#include <stdlib.h>

#include "core/catalogue.h"
#include "core/metric_list.h"
#include "util/limits.h"
#include "util/mem.h"

/* After so many samples in a row that are less it is another thing that counts. */
#define BELIEVED_FALLS 3u

#define FIRST_SLOTS 16u /* a power of two */

/* The metric's type, which is part of the key, says which. */
union number {
	uint64_t u;
	double real;
};

struct series {
	uint64_t key;              /* 0: empty */
	unsigned falls;            /* samples in a row that were less than @reached */
	union number reached, low; /* the most that was told, and the least since */
	union number base;         /* what is shown is this and what is told */
	union number floor;        /* but never less than this: sums are rounded */
};

void counters_done(struct counters *counters)
{
	free(counters->at);
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

static struct series *slot_of(const struct counters *counters, uint64_t key)
{
	size_t i = key & (counters->n_slots - 1);

	while (counters->at[i].key && counters->at[i].key != key)
		i = (i + 1) & (counters->n_slots - 1);
	return &counters->at[i];
}

static void grow(struct counters *counters)
{
	struct counters grown = { .n = counters->n,
		.n_slots = counters->n_slots ? 2 * counters->n_slots : FIRST_SLOTS };

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
	if (4 * counters->n >= 3 * counters->n_slots)
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

/* ---- a sample ---- */

/* What is shown of a series that tells @told now. */
static union number pass(struct series *s, bool real, union number told)
{
	if (!less(real, told, s->reached)) {
		s->reached = told;
		s->falls = 0;
	} else if (!s->falls || less(real, told, s->low)) {
		s->low = told;
		s->falls = 1;
	} else if (++s->falls == BELIEVED_FALLS) {
		s->floor = greater(real, add(real, s->reached, s->base), s->floor);
		s->base = add(real, s->base, subtract(real, s->reached, s->low));
		s->reached = told;
		s->falls = 0;
	}
	return greater(real, add(real, s->reached, s->base), s->floor);
}

static bool is_real(const struct metric *m)
{
	return m->value.type == METRIC_REAL32 || m->value.type == METRIC_REAL64;
}

static void settle(struct counters *counters, struct metric *m)
{
	bool real = is_real(m);
	struct series *s = find(counters, m->label->series);

	if (!s)
		return;
	union number n = { .u = m->value.u };

	if (real)
		n.real = m->value.real;
	n = pass(s, real, n);
	/* what goes on from a base may outgrow its type */
	struct value shown = real ? value_real(n.real) : value_u64(n.u);

	m->available = value_cast(&shown, m->value.type, &shown) == 0;
	if (m->available)
		m->value = shown;
}

void counters_settle(struct counters *counters, struct metric_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		struct metric *m = &list->metrics[i];
		const struct catalogue_entry *e = m->label->spec->entry;

		if (e && e->kind == KIND_COUNTER && m->available &&
			m->value.type != METRIC_STRING)
			settle(counters, m);
	}
}

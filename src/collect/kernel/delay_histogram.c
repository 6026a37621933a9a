/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/kernel/delay_histogram.h"

#include "collect/kernel/delay_spread.h"
#include "core/histogram.h"
#include "util/clock.h"
#include "util/mem.h"

struct histogram *delay_histogram_new(void)
{
	struct histogram *h = xcalloc(1, sizeof(*h));

	h->kind = HISTOGRAM_WAITS;
	h->origin = (uint64_t)clock_mono_ns();
	return h;
}

void delay_histogram_add(struct histogram *h, const struct delay_spread *spread)
{
	const struct histogram_bounds *bounds = histogram_bounds(HISTOGRAM_WAITS);
	uint64_t sum = 0;
	size_t bucket = 0;

	for (uint32_t step = 0; spread->n && step < DELAY_STEPS; step++) {
		while (bucket < bounds->n && delay_step_from(step) >= bounds->at[bucket])
			bucket++;
		histogram_add(h, bucket, spread->counts[step]);
	}
	for (size_t i = 0; i < DELAY_OWNERS; i++)
		sum += spread->by[i];
	histogram_add_sum(h, sum * DELAY_BY_UNIT_NS);
}

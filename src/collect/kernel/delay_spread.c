/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/kernel/delay_spread.h"

#include <assert.h>
#include <stddef.h>

void delay_spread_add(struct delay_spread *s, const uint32_t now[DELAY_STEPS],
	const uint32_t then[DELAY_STEPS], uint64_t max_ns)
{
	uint32_t top = DELAY_STEPS;

	for (uint32_t i = 0; i < DELAY_STEPS; i++) {
		uint32_t grown = now[i] - then[i];

		if (!grown)
			continue;
		s->counts[i] += grown;
		s->n += grown;
		top = i;
	}
	if (top == DELAY_STEPS)
		return;
	if (max_ns < delay_step_from(top))
		max_ns = delay_step_from(top);
	else if (top < DELAY_STEPS - 1 && max_ns >= delay_step_from(top + 1))
		max_ns = delay_step_from(top + 1) - 1;
	if (max_ns > s->max_ns)
		s->max_ns = max_ns;
}

uint64_t delay_spread_percentile(const struct delay_spread *s, unsigned percent)
{
	/* of the waits in their order, the first is number 1 */
	uint64_t rank = s->n / 100 * percent + (s->n % 100 * percent + 99) / 100, ns = 0;
	uint32_t i = 0;

	if (!s->n)
		return 0;
	if (!rank)
		rank = 1;
	for (; i < DELAY_STEPS - 1 && rank > s->counts[i]; i++)
		rank -= s->counts[i];
	if (i == DELAY_STEPS - 1)
		return s->max_ns; /* of that step nothing else is known */
	uint64_t from = delay_step_from(i), width = delay_step_from(i + 1) - from;

	ns = from +
		(uint64_t)((double)width * ((double)rank - 0.5) / (double)s->counts[i]);
	return ns < s->max_ns ? ns : s->max_ns;
}

struct delay_figures delay_spread_figures(const struct delay_spread *s)
{
	return (struct delay_figures){ .have = true,
		.ns = { [DELAY_P50] = delay_spread_percentile(s, 50),
			[DELAY_P90] = delay_spread_percentile(s, 90),
			[DELAY_P99] = delay_spread_percentile(s, 99),
			[DELAY_MAX] = s->max_ns } };
}

static_assert(DELAY_SHARES == DELAY_OWNERS, "each owner has a share");

struct delay_shares delay_spread_shares(const struct delay_spread *s)
{
	struct delay_shares shares = { 0 };
	uint64_t all = 0;

	for (size_t i = 0; i < DELAY_OWNERS; i++)
		all += s->by[i];
	for (size_t i = 0; all && i < DELAY_OWNERS; i++)
		shares.percent[i] = 100.0 * (double)s->by[i] / (double)all;
	return shares;
}

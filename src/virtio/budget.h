/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A token bucket, kept as the one time at which all that was spent will have been earned:
 * the later it is, the emptier the bucket.  Pure; of one thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct budget {
	int64_t earned_ns; /* monotonic; 0: full */
};

/* @ns: what it costs, in the time that it takes to earn it.  @saved_ns: most that is saved. */
static inline void budget_spend(
	struct budget *b, int64_t now, int64_t ns, int64_t saved_ns)
{
	if (b->earned_ns < now - saved_ns)
		b->earned_ns = now - saved_ns;
	b->earned_ns += ns;
}

/* Whether something may be spent now; if not, it may from earned_ns on. */
static inline bool budget_allows(const struct budget *b, int64_t now)
{
	return b->earned_ns <= now;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How waits were spread over the steps of bpf/delay_format.h, and what follows from that.  Pure;
 * any thread.
 */
#pragma once

#include <stdint.h>

#include "bpf/delay_format.h"
#include "model/vm_sample.h"

/* Of one vCPU, or of several, over some time. */
struct delay_spread {
	uint64_t counts[DELAY_STEPS];
	uint64_t n; /* all of them */
	uint64_t max_ns;
	/* of all waits, whether or not they are counted, by enum delay_owner */
	uint64_t by[DELAY_OWNERS]; /* DELAY_BY_UNIT_NS */
};

/* Single owners need not be exact to the nanosecond. */
#define DELAY_BY_UNIT_NS 1024u

/*
 * Adds what one vCPU's counts grew from @then to @now, modulo 2^32.
 * @max_ns: its longest wait meanwhile, as far as that is known: it is taken for one of the highest
 * step that has grown.
 */
void delay_spread_add(struct delay_spread *s, const uint32_t now[DELAY_STEPS],
	const uint32_t then[DELAY_STEPS], uint64_t max_ns);

/*
 * The wait that @percent of all waits are not longer than: the one of that rank, which is somewhere
 * within its step, as if all of the step were at the same distance of each other.  So it is off by
 * less than a step, which is a quarter of the wait at most, and never more than the longest.
 * Return: 0 if there was none.
 */
uint64_t delay_spread_percentile(const struct delay_spread *s, unsigned percent);

/* All that is published of it.  Shares are 0 where nobody waited. */
struct delay_figures delay_spread_figures(const struct delay_spread *s);
struct delay_shares delay_spread_shares(const struct delay_spread *s);

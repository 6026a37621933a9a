/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whether a worker still answers: a request that it has read and not answered, or requests
 * that wait while it reads none, for WATCHDOG_NS.  No request takes it a hundredth of that.
 * Looks at what the worker writes and trusts none of it: the worst that a worker can do is to
 * be killed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "handover/handover.h"
#include "util/clock.h"

#define WATCHDOG_NS (4 * NS_PER_S)
#define WATCHDOG_LOOK_NS NS_PER_S

struct watchdog {
	struct {
		uint64_t received;
		int64_t since_ns; /* it is busy with that one; 0: it is not */
	} slots[HANDOVER_SLOTS];
	uint64_t received;        /* all together */
	int64_t waiting_since_ns; /* requests wait, and none was read; 0: no */
};

/* Another worker: all begins anew. */
void watchdog_reset(struct watchdog *w);

/* When it looked last, something was to be answered. */
bool watchdog_waits(const struct watchdog *w);

/*
 * To be called each WATCHDOG_LOOK_NS.  @waiting: the kernel has requests that nobody read.
 * @now_ns: by the worker's clock.
 * Return: true if the worker does not answer.
 */
bool watchdog_look(struct watchdog *w, const struct handover *handover, bool waiting,
	int64_t now_ns);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The beat of one collector thread: periodic on the monotonic clock without drift; a cycle
 * that overruns skips the beats it missed.  One thread waits; any thread may kick, change
 * the period or stop.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/lock.h"

struct cycle {
	struct lock lock;
	pthread_cond_t wake;
	/* guarded by lock */
	int64_t period_ns;
	int64_t next_mono_ns;
	uint64_t overruns; /* beats that were skipped */
	bool kicked;
	bool stopping;
};

void cycle_init(struct cycle *c, int64_t period_ns);
void cycle_done(struct cycle *c);

enum cycle_event {
	CYCLE_STOPPED,
	CYCLE_BEAT,
	CYCLE_KICK, /* before the next beat */
};

/* Waits for the next beat or kick. */
enum cycle_event cycle_wait(struct cycle *c);

/* Makes the waiter run now, without moving the beats. */
void cycle_kick(struct cycle *c);

/* A new period, counted from now, which is a beat. */
void cycle_set_period(struct cycle *c, int64_t period_ns);

/* Beats that were skipped because the cycle before took too long.  Any thread. */
uint64_t cycle_overruns(struct cycle *c);

/* Ends the waiting for good. */
void cycle_stop(struct cycle *c);

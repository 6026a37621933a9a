/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * When the next worker is started after one has ended, and when no more.  Arithmetic alone:
 * times are the caller's, by the worker's clock.
 *
 * At once, as long as workers get to serve; somewhat later each time if one after another ends
 * before it does, or just after.  Readers wait meanwhile, and nothing can kill them, so after
 * RESTART_GIVE_UP_NS without a worker that serves it is better to end: then they get errors.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/clock.h"

#define RESTART_GIVE_UP_NS (8 * NS_PER_S)
#define RESTART_CRASHES 3u

struct restart {
	int64_t ready_ns; /* the worker serves since; 0: it does not yet */
	int64_t down_ns;  /* none serves since; 0: one does, or none ever did */
	unsigned quick;   /* that ended early, one after another */
	int64_t crashes[RESTART_CRASHES]; /* the last ones, of their own doing */
	unsigned n_crashes;
	unsigned unserved; /* that crashed before they served, one after another */
};

void restart_ready(struct restart *r, int64_t now_ns);

/*
 * A worker has ended.  @crashed: by its own doing, and not because somebody killed it.
 * Return: how long to wait before the next one is started; -1: no more.
 */
int64_t restart_ended(struct restart *r, int64_t now_ns, bool crashed);

/* Whether it is over: none has served for too long. */
bool restart_gives_up(const struct restart *r, int64_t now_ns);

/*
 * Whether the next one must not believe what the last ones left of values: three crashed
 * within a second, or before they served, which may come from just that.
 */
bool restart_distrusts(const struct restart *r, int64_t now_ns);

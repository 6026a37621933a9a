/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model/cycle.h"

#include <errno.h>

#include "util/clock.h"
#include "util/sync.h"

void cycle_init(struct cycle *c, int64_t period_ns)
{
	lock_init(&c->lock);
	cond_init_monotonic(&c->wake);
	c->period_ns = period_ns;
	c->next_mono_ns = clock_mono_ns();
	c->overruns = 0;
	c->kicked = false;
	c->stopping = false;
}

void cycle_done(struct cycle *c)
{
	pthread_cond_destroy(&c->wake);
	lock_done(&c->lock);
}

/* Moves the next beat into the future, in whole periods. */
static void advance_locked(struct cycle *c, int64_t now)
{
	assert_locked(&c->lock);
	int64_t missed = (now - c->next_mono_ns) / c->period_ns;

	c->overruns += (uint64_t)missed;
	c->next_mono_ns += (missed + 1) * c->period_ns;
}

enum cycle_event cycle_wait(struct cycle *c)
{
	lock_take(&c->lock);
	while (!c->stopping && !c->kicked && clock_mono_ns() < c->next_mono_ns) {
		lock_wait(&c->lock, &c->wake, c->next_mono_ns);
	}
	int64_t now = clock_mono_ns();

	enum cycle_event event = c->stopping ? CYCLE_STOPPED
		: now >= c->next_mono_ns     ? CYCLE_BEAT
					     : CYCLE_KICK;

	c->kicked = false;
	if (event == CYCLE_BEAT)
		advance_locked(c, now);
	lock_release(&c->lock);
	return event;
}

void cycle_kick(struct cycle *c)
{
	lock_take(&c->lock);
	c->kicked = true;
	pthread_cond_signal(&c->wake);
	lock_release(&c->lock);
}

void cycle_set_period(struct cycle *c, int64_t period_ns)
{
	lock_take(&c->lock);
	c->period_ns = period_ns;
	c->next_mono_ns = clock_mono_ns();
	pthread_cond_signal(&c->wake);
	lock_release(&c->lock);
}

uint64_t cycle_overruns(struct cycle *c)
{
	lock_take(&c->lock);
	uint64_t overruns = c->overruns;

	lock_release(&c->lock);
	return overruns;
}

void cycle_stop(struct cycle *c)
{
	lock_take(&c->lock);
	c->stopping = true;
	pthread_cond_signal(&c->wake);
	lock_release(&c->lock);
}

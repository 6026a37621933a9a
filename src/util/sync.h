/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Waiting that ends by the monotonic clock, which nobody sets; for threads: util/join.h. */
#pragma once

#include <pthread.h>

#include "util/clock.h"

/* For pthread_cond_timedwait() with clock_mono_ns(). */
static inline void cond_init_monotonic(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

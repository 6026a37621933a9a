/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Waiting for a thread until a time of the monotonic clock.  glibc has that alone. */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "util/clock.h"

/* Return: true if the thread has ended and is joined.  (By way of the real-time clock: the
 * call for the monotonic one is unknown to ThreadSanitizer.) */
static inline bool thread_join_until(pthread_t thread, int64_t deadline_mono_ns)
{
	int64_t real_ns = clock_real_ns() + deadline_mono_ns - clock_mono_ns();
	struct timespec until = ns_to_timespec(real_ns);

	return pthread_timedjoin_np(thread, NULL, &until) == 0;
}

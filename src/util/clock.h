/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The two clocks: monotonic for intervals, real time for time stamps.  Nanoseconds. */
#pragma once

#include <stdint.h>
#include <time.h>

#define NS_PER_S INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)

static inline int64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

/* Since an arbitrary point; never goes back. */
static inline int64_t clock_mono_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* Since 1970. */
static inline int64_t clock_real_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

/* The earlier of two times, of which 0 means never. */
static inline int64_t ns_earlier(int64_t a, int64_t b)
{
	return !a || (b && b < a) ? b : a;
}

static inline struct timespec ns_to_timespec(int64_t ns)
{
	return (struct timespec){ .tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S };
}

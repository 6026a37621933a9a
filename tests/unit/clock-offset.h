/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Puts all clocks forward, for all threads; the program is linked with --wrap=clock_gettime. */
#pragma once

#include <stdint.h>
#include <time.h>

static _Atomic int64_t clock_offset_s;

int __real_clock_gettime(clockid_t id, struct timespec *ret);
int __wrap_clock_gettime(clockid_t id, struct timespec *ret);

int __wrap_clock_gettime(clockid_t id, struct timespec *ret)
{
	int r = __real_clock_gettime(id, ret);

	ret->tv_sec += clock_offset_s;
	return r;
}

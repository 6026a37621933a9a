/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "system.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "util/clock.h"

int64_t system_boot_ns(void)
{
	return clock_ns(CLOCK_BOOTTIME);
}

int64_t system_coarse_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC_COARSE);
}

void system_pause_ms(int ms)
{
	poll(NULL, 0, ms);
}

void system_sleep_until(int64_t mono_ns)
{
	struct timespec until = ns_to_timespec(mono_ns);

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
		;
}

bool system_is_path(const char *where)
{
	return strchr(where, '/');
}

const char *system_getenv(const char *name, struct buf *room)
{
	(void)room;
	return secure_getenv(name);
}

char **system_start(int argc, char **argv)
{
	(void)argc;
	return argv;
}

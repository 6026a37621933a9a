/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Says in the log, once for each time that it happens, that files could not be opened for
 * want of descriptors: open_shortages().  Any thread.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "util/clock.h"
#include "util/fileio.h"
#include "util/log.h"

/* It is over when none was lacking for so long. */
#define SHORTAGE_QUIET_NS (60 * NS_PER_S)

struct shortage {
	_Atomic int64_t last_ns; /* monotonic; 0: never */
};

/* @before: open_shortages() of this thread, before what was done since. */
static inline void shortage_tell(struct shortage *s, unsigned before)
{
	int64_t now = clock_mono_ns();

	if (open_shortages() == before)
		return;
	int64_t then = atomic_exchange(&s->last_ns, now);

	if (!then || now - then > SHORTAGE_QUIET_NS)
		log_warning(
			"no descriptors are left to open files with: some figures are "
			"missing until there are");
}

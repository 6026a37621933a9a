/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The clock by which it is told that a worker answers no more, and that none gets to serve: a
 * monotonic one that is slower while the worker waits for a processor.  One that got none for
 * four seconds is not at fault, the next would be no faster, and if none serves guests lose
 * their disks.  It never is slower than two seconds in five, so that readers, whom nothing can
 * kill meanwhile, wait for ten where it counts four.  Arithmetic alone.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Of all threads of a worker that have not ended, since they began; 0 where nobody tells. */
struct worker_times {
	int64_t ran_ns,
		waited_ns; /* on a processor, for one; the last wait is not in it yet */
	bool runnable;     /* one of them runs or waits now */
};

struct worker_clock {
	int64_t ns;      /* what it shows */
	int64_t wall_ns; /* as of that time */
	pid_t pid;       /* of the worker whose times by then are known; else 0 */
	struct worker_times times;
};

/*
 * What it shows at @wall_ns, which may not fall.
 * @pid: of the worker that should answer; 0: there is none, or nobody waits for it.
 * @times: its own (device_user_times()).
 */
int64_t worker_clock_ns(struct worker_clock *c, int64_t wall_ns, pid_t pid,
	const struct worker_times *times);

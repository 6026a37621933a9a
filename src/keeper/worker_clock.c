/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keeper/worker_clock.h"

/* A thread that has ended takes its times with it. */
static int64_t growth(int64_t now, int64_t before)
{
	return now > before ? now - before : 0;
}

/* How long the worker waited of a time that has @passed. */
static int64_t waited(
	const struct worker_times *now, const struct worker_times *before, int64_t passed)
{
	int64_t told = growth(now->waited_ns, before->waited_ns);
	int64_t most = passed - growth(now->ran_ns, before->ran_ns);

	/* one that waits all the time is told of when it ends */
	return now->runnable && most > told ? most : told;
}

int64_t worker_clock_ns(struct worker_clock *c, int64_t wall_ns, pid_t pid,
	const struct worker_times *times)
{
	int64_t passed = wall_ns - c->wall_ns, counts = passed;

	if (pid && pid == c->pid) {
		int64_t least = passed - passed / 5 * 3;

		counts -= waited(times, &c->times, passed);
		counts = counts > least ? counts : least;
	}
	*c = (struct worker_clock){ c->ns + counts, wall_ns, pid, *times };
	return c->ns;
}

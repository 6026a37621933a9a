/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The threads in which a QEMU does what its monitor counts: its main thread, and its I/O
 * threads.  A request to a disk is counted as done there, whoever carried it out, and so do
 * balloons answer, disks grow, devices come and go.  As long as none of them has run, no figure
 * of the monitor has changed, and it need not be asked: that costs QEMU some milliseconds,
 * and to look whether they have run costs as many microseconds (proc(5), schedstat).
 *
 * To be asked makes the main thread run, so what it has run is noted after the answer.  What it
 * does between the two for others would be in what is noted, and not in the answer.  But it does
 * nothing for a guest unless a vCPU, an I/O thread or one that carries requests out has run: where
 * none has from before the question until after the note, the answer may stand for later ones.
 * (Not seen: a request that the kernel itself carries out, io_uring or native AIO, for longer than
 * from one question to the next, if it ends just there.)
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct run;

/* One that has more is taken to run always. */
#define HOME_IO_THREADS 8u

struct home_threads {
	bool main_is_known, all_are_known;
	uint64_t main_ns; /* run time */
	size_t n_io;
	struct {
		uint64_t tid, ns;
	} io[HOME_IO_THREADS];
	/* of those that are neither the main thread nor the monitor's; before the question */
	uint64_t n_others, others_ns, monitor_tid;
};

enum home_state {
	HOME_RAN,        /* or it cannot be told */
	HOME_MAIN_SLEPT, /* of others nothing is known */
	HOME_SLEPT,      /* the last answer stands */
};

/* All: any thread.  @root_fd: holds proc. */

/* What came of what was noted last.  HOME_RAN also where the process is another. */
enum home_state home_threads_look(
	int root_fd, const struct run *run, const struct home_threads *home);

/* After an answer that need not stand for later ones: notes the main thread, with one read. */
void home_threads_note_main(int root_fd, const struct run *run, struct home_threads *ret);

/* Before a question whose answer may, and after it.  Reads files of each of QEMU's threads. */
void home_threads_before(int root_fd, const struct run *run, struct home_threads *ret);

/* The less time has passed since the answer, the likelier it stands.  Return: true if it does. */
bool home_threads_after(int root_fd, const struct run *run, struct home_threads *home);

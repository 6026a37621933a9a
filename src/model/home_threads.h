/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The threads in which a QEMU does what its monitor counts: its main thread, and its I/O
 * threads.  A request to a disk is counted as done there, whoever carried it out, and so do
 * balloons answer, disks grow, devices come and go.  As long as none of them has run, no figure
 * of the monitor has changed, and it need not be asked: that costs QEMU some milliseconds,
 * and to look whether they have run costs as many microseconds (proc(5), schedstat).
 *
 * To be asked makes the main thread run.  So what an I/O thread has run is noted before the
 * question, and what the main thread has after the answer.  What happens between the two in the
 * main thread may be in the answer or not: after each time that one has run the VM is to be asked
 * once more.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct run;

/* One that has more is taken to run always. */
#define HOME_IO_THREADS 8u

struct home_threads {
	bool known; /* all of them; else nothing is known, and it is as if they ran */
	uint64_t main_ns; /* run time */
	size_t n_io;
	struct {
		uint64_t tid, ns;
	} io[HOME_IO_THREADS];
};

/* Before the question: finds the I/O threads.  @root_fd: holds proc.  Any thread. */
void home_threads_before(int root_fd, const struct run *run, struct home_threads *ret);

/* After the answer. */
void home_threads_after(int root_fd, const struct run *run, struct home_threads *home);

/* True if they are known, the process is the same, and none of them has run since. */
bool home_threads_slept(
	int root_fd, const struct run *run, const struct home_threads *home);

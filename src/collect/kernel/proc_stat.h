/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a process, or a thread, says of itself in its files stat and statm (proc(5)).  Nothing in them
 * is believed to be whole.  Pure but for the read; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Fields of proc(5)'s stat behind the state, the third; ascending, for STAT_MAX. */
enum {
	STAT_MINFLT = 10 - 3,
	STAT_MAJFLT = 12 - 3,
	STAT_UTIME = 14 - 3,
	STAT_STIME = 15 - 3,
	STAT_NUM_THREADS = 20 - 3,
	STAT_STARTTIME = 22 - 3,
	STAT_RSS = 24 - 3,
	STAT_MAX,
};

struct stat_fields {
	uint64_t v[STAT_MAX];
	bool have[STAT_MAX];
};

/*
 * @fd: its stat, kept open.
 * Return: 0; -ESRCH if it has ended, be it that its parent has not asked for that yet; -errno.
 */
int proc_stat_read(int fd, struct stat_fields *ret);

/*
 * Resident pages alone, as field STAT_RSS.  @fd: its statm, kept open.
 * Return: 0; -ENODATA if it has no memory, as one that has ended, or the text is not whole: stat tells
 * more; -ESRCH, -errno.
 */
int proc_statm_read(int fd, struct stat_fields *ret);

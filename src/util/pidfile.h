/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The pid file: locked as long as its owner lives, so that one left by a crash is told from
 * a living one however pids are reused.  0 or -errno.
 */
#pragma once

#include <sys/types.h>

/*
 * Opens and locks it.
 * Return: 0 and the descriptor, to be kept open by the owner alone; -EEXIST if a living
 * process owns it (*@ret_pid: its pid, or 0), or another -errno.
 */
int pidfile_acquire(const char *path, int *ret_fd, pid_t *ret_pid);

/* Writes the caller's pid. */
int pidfile_write(int fd);

/* Removes the file and closes. */
void pidfile_release(const char *path, int fd);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the keeper asks of /dev/fuse, which it holds and never reads, and of who reads it. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "keeper/worker_clock.h"

/* Nobody can read any more: unmounted, or its connection was aborted. */
bool device_is_over(int fuse_fd);

/* There are requests that nobody has read yet. */
bool device_has_requests(int fuse_fd);

/* slots_send_again(), and the log says if that fails where it should not. */
void device_send_again(int fuse_fd);

/* Whether one of a child's threads that have not ended yet has that name. */
bool device_user_has_thread(pid_t pid, const char *name);

/*
 * Whether a child's main thread has ended, be it that another one of its threads is in the
 * kernel: where the kernel does not tell by itself.
 * Return: if so *@ret_status is its exit status, or 128 + signal.
 */
bool device_user_is_dead(pid_t pid, int *ret_status);

/*
 * How long a child's threads, those that have not ended, ran and waited for processors:
 * /proc/PID/task/TID/schedstat and stat.  Nothing where the kernel does not tell.
 */
struct worker_times device_user_times(pid_t pid);

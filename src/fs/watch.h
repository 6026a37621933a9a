/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who polls files for changes.  There is no state of open files, so who polls is known as a
 * process.  Any thread but for watch_notify().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct fuse_pollhandle;
struct watch;

struct watch *watch_new(void);
void watch_free(struct watch *watch); /* NULL is accepted */

/*
 * A process polls a file whose content has @version.
 * @handle: how to wake it, NULL if it does not wait; moves here.
 * Return: true if the version is another than when it last polled this file; the first
 * time there is nothing to compare with, and it is false.
 */
bool watch_poll(struct watch *watch, uint64_t ino, pid_t process, int64_t version,
	struct fuse_pollhandle *handle);

/*
 * Wakes those whose file has changed or is gone.  From the notifier's thread alone.
 * @version: of a file now; return -errno if it is gone.
 */
void watch_notify(struct watch *watch,
	int (*version)(void *ctx, uint64_t ino, int64_t *ret), void *ctx);

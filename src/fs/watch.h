/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who polls files for changes.  Nothing is known of when a file is opened or closed: the
 * kernel does that by itself (fs/serve.c).  Any thread but for watch_notify().
 *
 * Theory of operation.  An open file is known by the number that the kernel gives it.  It
 * gives a number once, and a greater one each time.  Of a file that was polled there is a
 * watcher: what version it saw last, and, if somebody waits, how to wake him.
 *
 *   (none) --poll--> waiting <--poll, somebody waits--- looked
 *                    |    ^---poll: the newer handle         ^
 *                    +------changed, or gone: woken----------+
 *
 * A poll of nobody who waits leads to `looked` without a handle, and leaves a handle from
 * before as it is.
 * There are at most LIMIT_POLLS watchers.  When there is no room, the one that was polled or
 * woken longest ago is pushed out, first of those that nobody waits for, then of the
 * others; who waits is woken.  A file without a watcher was never polled or was pushed out.
 * Which one is told by its number: one that is not above all that were pushed out is taken
 * for one of them, and its content for changed.
 * So what must never be, cannot: that a change is not told to who polled before it.  What
 * may be, when more files are polled than there is room for: that somebody is told of a
 * change that was none.  Of several who poll one open file (a descriptor that was
 * inherited) all are woken, and who asks first is told.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fuse_pollhandle;
struct ledger;
struct watch;

/*
 * What the next process must know (handover/handover.h): the greatest file that was polled,
 * since its first poll of an unknown one up to that counts as of a changed one, and those
 * that somebody waits for, each of which it wakes.
 * @polled: NULL: nobody follows.  @waiting: taken over; NULL likewise.
 */
struct watch *watch_new(_Atomic uint64_t *polled, struct ledger *waiting);
void watch_free(struct watch *watch); /* NULL is accepted */

/*
 * An open file is polled, whose content has @version.
 * @file: the kernel's number of it, never 0; @handle: how to wake who waits, NULL if nobody
 * does; moves here.
 * Return: true if the version is another than when this file was last polled; the first
 * time there is nothing to compare with, and it is false.
 */
bool watch_poll(struct watch *watch, uint64_t file, uint64_t ino, int64_t version,
	struct fuse_pollhandle *handle);

/*
 * Wakes those whose file has changed or is gone.  One thread.
 * @version: of a node now; return -errno if it is gone.  Is asked once for each node that
 * is waited for, and without locks.
 */
void watch_notify(struct watch *watch,
	int (*version)(void *ctx, uint64_t ino, int64_t *ret), void *ctx);

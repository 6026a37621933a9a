/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Waiting for descriptors, times and ends of child processes, all in one place.  One thread
 * makes the calls, of the loop's own if need be; only loop_wake() and loop_stop() may come
 * from others.  What is waited for is a watch, named by a number that is never given twice:
 * whoever deletes a watch hears nothing of it any more, whatever was under way, and a number
 * that has gone out of date is harmless everywhere.  Callbacks may add, change and delete any
 * watch, their own too.  Knows nothing of what is read or run; logs nothing.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/types.h>

#define LOOP_NEVER INT64_MAX

struct loop;

/*
 * @woken: called on the loop's thread after one or more loop_wake(); NULL: nothing to do.
 * Return: 0, or -errno when descriptors cannot be had.
 */
int loop_new(void (*woken)(void *ctx), void *ctx, struct loop **ret);

/* Leaves the callers' descriptors open, and children alone.  NULL is accepted. */
void loop_free(struct loop *loop);

/*
 * @events, and those that @cb gets: as of epoll(7), level-triggered.  The descriptor stays
 * the caller's, who calls loop_del() before closing it.
 * Return: 0, or -errno; then nothing is watched.
 */
int loop_add_fd(struct loop *loop, int fd, uint32_t events,
	void (*cb)(void *ctx, uint32_t events), void *ctx, uint64_t *ret_watch);

/* Other events; nothing to do for the same.  Return: 0, -ENOENT for no watch, -errno. */
int loop_set_events(struct loop *loop, uint64_t watch, uint32_t events);

/*
 * A timer goes off once, up to a millisecond late, never early; then it waits to be set
 * again.  One that is set to a time that has passed goes off in the next round, those of one
 * round in the order of their times.  Return: the watch.
 */
uint64_t loop_add_timer(
	struct loop *loop, int64_t at_mono_ns, void (*cb)(void *ctx), void *ctx);
void loop_set_timer(struct loop *loop, uint64_t watch, int64_t at_mono_ns);

/*
 * @pid: a child of this process that nobody else waits for.  When it has ended, @cb is
 * called with its exit status, 128 + signal, or -ECHILD if it was no child.  Until @cb
 * returns, its number and its group's still belong to it; then it is reaped.  The watch is
 * gone before the call.  Deleting the watch before leaves the child to the caller.
 * Return: the watch.
 */
uint64_t loop_add_child(
	struct loop *loop, pid_t pid, void (*cb)(void *ctx, int status), void *ctx);

/* Forgets the watch, and sets *@watch to 0, which names none. */
void loop_del(struct loop *loop, uint64_t *watch);

/* Waits until something happens, and calls back. */
void loop_run_once(struct loop *loop);

/* Does that until somebody calls loop_stop(). */
void loop_run(struct loop *loop);

/*
 * loop_run() on a thread of its own, to which all calls are left from then on.  @name: of at
 * most 15 bytes.  Return: 0 or -errno; then there is no thread.
 */
int loop_start_thread(struct loop *loop, const char *name);

/* By who started it: stops it, and waits for its end.  NULL is accepted, and one without a thread. */
void loop_end_thread(struct loop *loop);

/* Any thread.  Several calls may be one call of @woken. */
void loop_wake(struct loop *loop);

/* Any thread: no callback is begun after it.  For good. */
void loop_stop(struct loop *loop);
bool loop_stopping(const struct loop *loop);

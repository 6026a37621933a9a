/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A mutex that knows whether this thread holds it, so that who must be called with it held
 * can insist on that.  Any thread.  Which may be taken inside which: docs/architecture.md.
 */
#pragma once

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct lock {
	pthread_mutex_t mutex;
	_Atomic uintptr_t holder; /* of lock_self(); 0: nobody */
};

#define LOCK_INIT                                                                        \
	{                                                                                \
		PTHREAD_MUTEX_INITIALIZER, 0                                             \
	}

void lock_init(struct lock *lock);
void lock_done(struct lock *lock); /* nobody may hold it */

/* A thread must not take what it holds, nor release what it does not: it aborts. */
void lock_take(struct lock *lock);
void lock_release(struct lock *lock);

/*
 * Waits for @cond, of cond_init_monotonic(), without the lock; as condition variables do,
 * also for no reason.  @until_ns: of clock_mono_ns(), INT64_MAX: for ever.
 */
void lock_wait(struct lock *lock, pthread_cond_t *cond, int64_t until_ns);

/* True if this thread holds it. */
bool lock_is_held(const struct lock *lock);

/* At the start of a function named *_locked(). */
#define assert_locked(lock) assert(lock_is_held(lock))

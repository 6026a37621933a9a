/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/lock.h"

#include <stdatomic.h>

#include "util/clock.h"

/* A number of this thread's that no other has. */
static uintptr_t self(void)
{
	static _Thread_local char here;

	return (uintptr_t)&here;
}

void lock_init(struct lock *lock)
{
	pthread_mutex_init(&lock->mutex, NULL);
	atomic_init(&lock->holder, 0);
}

void lock_done(struct lock *lock)
{
	assert(!atomic_load_explicit(&lock->holder, memory_order_relaxed));
	pthread_mutex_destroy(&lock->mutex);
}

/* Only a thread itself writes its own number, so that it needs no order to know it. */
bool lock_is_held(const struct lock *lock)
{
	return atomic_load_explicit(&lock->holder, memory_order_relaxed) == self();
}

static void set_holder(struct lock *lock, uintptr_t holder)
{
	atomic_store_explicit(&lock->holder, holder, memory_order_relaxed);
}

void lock_take(struct lock *lock)
{
	assert(!lock_is_held(lock));
	pthread_mutex_lock(&lock->mutex);
	set_holder(lock, self());
}

void lock_release(struct lock *lock)
{
	assert_locked(lock);
	set_holder(lock, 0);
	pthread_mutex_unlock(&lock->mutex);
}

void lock_wait(struct lock *lock, pthread_cond_t *cond, int64_t until_ns)
{
	struct timespec until = ns_to_timespec(until_ns);

	assert_locked(lock);
	set_holder(lock, 0);
	if (until_ns == INT64_MAX)
		pthread_cond_wait(cond, &lock->mutex);
	else
		pthread_cond_timedwait(cond, &lock->mutex, &until);
	set_holder(lock, self());
}

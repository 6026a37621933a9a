/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A lock knows who holds it. */
#include "aborts.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "util/clock.h"
#include "util/lock.h"
#include "util/sync.h"

static struct lock lock = LOCK_INIT;
static pthread_cond_t changed;
static bool asked, answered; /* guarded by lock */

/* Takes the lock while the other waits, and holds it until that is told. */
static void *other_main(void *arg)
{
	(void)arg;
	assert_false(lock_is_held(&lock));
	lock_take(&lock);
	assert_true(lock_is_held(&lock));
	assert_true(asked);
	answered = true;
	pthread_cond_signal(&changed);
	lock_release(&lock);
	assert_false(lock_is_held(&lock));
	return NULL;
}

static void who_holds_it_is_known(void **state)
{
	(void)state;
	pthread_t other;

	cond_init_monotonic(&changed);
	assert_false(lock_is_held(&lock));
	lock_take(&lock);
	assert_true(lock_is_held(&lock));
	assert_int_equal(pthread_create(&other, NULL, other_main, NULL), 0);
	asked = true;
	while (!answered)
		lock_wait(&lock, &changed, INT64_MAX);
	assert_true(lock_is_held(&lock));
	lock_wait(&lock, &changed, clock_mono_ns() + 10 * NS_PER_MS);
	assert_true(lock_is_held(&lock));
	lock_release(&lock);
	assert_false(lock_is_held(&lock));
	pthread_join(other, NULL);
	pthread_cond_destroy(&changed);
}

static void take_twice(void)
{
	lock_take(&lock);
	lock_take(&lock);
}

static void release_what_is_free(void)
{
	lock_release(&lock);
}

static void insist(void)
{
	assert_locked(&lock);
}

static void mistakes_end_the_program(void **state)
{
	(void)state;
	void (*const mistakes[])(void) = { take_twice, release_what_is_free, insist };

	for (size_t i = 0; i < sizeof(mistakes) / sizeof(*mistakes); i++)
		assert_aborts(mistakes[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_holds_it_is_known),
		cmocka_unit_test(mistakes_end_the_program),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

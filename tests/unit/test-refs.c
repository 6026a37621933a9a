/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Of those who drop references one is told that his was the last. */
#include "aborts.h"

#include <pthread.h>

#include "util/refs.h"

#define THREADS 4
#define TURNS 2000

static _Atomic unsigned refs;
static int written
	[THREADS]; /* each by its thread; read by whoever drops the last reference */
static atomic_size_t n_last;
static int seen; /* by him */

static void the_last_one_is_told(void **state)
{
	(void)state;
	refs_init(&refs);
	refs_take(&refs);
	refs_take(&refs);
	assert_false(refs_drop(&refs));
	assert_false(refs_drop(&refs));
	assert_true(refs_drop(&refs));
}

/* Has one reference. */
static void *owner_main(void *arg)
{
	int *mine = arg;

	for (size_t i = 0; i < TURNS; i++) {
		refs_take(&refs);
		(*mine)++;
		if (refs_drop(&refs))
			atomic_fetch_add(&n_last, 1);
	}
	if (!refs_drop(&refs))
		return NULL;
	atomic_fetch_add(&n_last, 1);
	for (size_t i = 0; i < THREADS; i++)
		seen += written[i];
	return NULL;
}

static void one_of_many_threads_is_told(void **state)
{
	(void)state;
	pthread_t threads[THREADS];

	refs_init(&refs);
	for (size_t i = 1; i < THREADS; i++)
		refs_take(&refs);
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, owner_main, &written[i]), 0);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&n_last), 1);
	assert_int_equal(seen, THREADS * TURNS);
}

static void take_what_is_freed(void)
{
	refs_take(&refs);
}

static void drop_what_is_freed(void)
{
	refs_drop(&refs);
}

static void mistakes_end_the_program(void **state)
{
	(void)state;
	void (*const mistakes[])(void) = { take_what_is_freed, drop_what_is_freed };

	refs_init(&refs);
	assert_true(refs_drop(&refs));
	for (size_t i = 0; i < sizeof(mistakes) / sizeof(*mistakes); i++)
		assert_aborts(mistakes[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_last_one_is_told),
		cmocka_unit_test(one_of_many_threads_is_told),
		cmocka_unit_test(mistakes_end_the_program),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

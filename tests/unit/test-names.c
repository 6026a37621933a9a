/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The queue of names that the kernel is to forget. */
#include "test.h"

#include <pthread.h>
#include <stdlib.h>

#include "fs/names.h"
#include "util/cleanup.h"
#include "util/mem.h"

/* Nobody takes them, for somebody holds the directory, and they change all the time. */
static void a_held_directory_queues_each_name_once(void **state)
{
	(void)state;
	struct names *names = names_new();
	uint64_t parent = 0;

	for (unsigned round = 0; round < 100; round++)
		for (uint64_t i = 0; i < 300; i++)
			names_add(names, i % 3, xasprintf("name %u", (unsigned)i / 3));
	assert_int_equal(names_count(names), 300);
	for (uint64_t i = 0; i < 300; i++) {
		_cleanup_free_ char *expected = xasprintf("name %u", (unsigned)i / 3);
		_cleanup_free_ char *name = names_take(names, &parent);

		assert_string_equal(name, expected);
		assert_int_equal(parent, i % 3);
	}
	/* it may have been told again */
	names_add(names, 1, xstrdup("name 5"));
	assert_int_equal(names_count(names), 1);
	/* and other ones, without end */
	for (unsigned i = 0; i < 3 * NAMES_MAX; i++)
		names_add(names, 1, xasprintf("%u", i));
	assert_int_equal(names_count(names), NAMES_MAX);
	names_free(names);
}

static void *take_all(void *arg)
{
	uint64_t parent;
	uintptr_t n = 0;

	for (char *name; (name = names_take(arg, &parent)); free(name))
		n++;
	return (void *)n;
}

static void who_waits_is_woken(void **state)
{
	(void)state;
	struct names *names = names_new();
	pthread_t thread;
	void *n = NULL;

	assert_int_equal(pthread_create(&thread, NULL, take_all, names), 0);
	for (unsigned i = 0; i < 1000; i++)
		names_add(names, 1, xasprintf("%u", i));
	while (names_count(names))
		sched_yield();
	names_close(names);
	pthread_join(thread, &n);
	assert_int_equal((uintptr_t)n, 1000);
	names_free(names);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_held_directory_queues_each_name_once),
		cmocka_unit_test(who_waits_is_woken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

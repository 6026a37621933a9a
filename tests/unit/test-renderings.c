/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Renderings of documents: for how long one is told, how many are kept. */
#include "test.h"

#include <stdlib.h>

#include "core/blob.h"
#include "fs/held.h"
#include "fs/pinned.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/mem.h"

/* stat(2) and open(2) find one file, although it changes all the time. */
static void a_rendering_is_held_for_a_moment(void **state)
{
	(void)state;
	struct held *held = held_new();

	assert_int_equal(held_get(held, 0, 5, 1000 * NS_PER_MS), 0);
	held_told(held, 0, 5, 77, 1000 * NS_PER_MS);
	assert_int_equal(held_get(held, 1, 5, 1001 * NS_PER_MS), 0);
	/* told to another, and to him for as long again */
	assert_int_equal(held_get(held, 0, 6, 1099 * NS_PER_MS), 77);
	assert_int_equal(held_get(held, 0, 5, 1050 * NS_PER_MS), 77);
	assert_int_equal(held_get(held, 0, 5, 1100 * NS_PER_MS), 0);
	held_told(held, 0, 5, 78, 1100 * NS_PER_MS);
	assert_int_equal(held_get(held, 0, 7, 1198 * NS_PER_MS), 78);
	/* and longer to who has just asked, but not for ever */
	assert_int_equal(held_get(held, 0, 6, 1150 * NS_PER_MS), 77);
	assert_int_equal(held_get(held, 0, 6, 1198 * NS_PER_MS), 77);
	assert_int_equal(held_get(held, 0, 6, 1217 * NS_PER_MS), 77);
	assert_int_equal(held_get(held, 0, 7, 1299 * NS_PER_MS), 0);
	held_told(held, 0, 7, 79, 1299 * NS_PER_MS);
	for (int64_t ms = 1300; ms < 1598; ms++)
		assert_int_equal(held_get(held, 0, 7, ms * NS_PER_MS), 79);
	assert_int_equal(held_get(held, 0, 7, 1599 * NS_PER_MS), 0);
	held_free(held);
}

/* Who has waited for a reload finds what came of it, also if he has just read. */
static void what_was_told_before_a_reload_is_not_held(void **state)
{
	(void)state;
	struct held *held = held_new();

	held_told(held, 2, 5, 77, 1000 * NS_PER_MS);
	assert_int_equal(held_get(held, 2, 6, 1001 * NS_PER_MS), 77);
	held_forget(held);
	for (pid_t reader = 5; reader <= 7; reader++)
		assert_int_equal(held_get(held, 2, reader, 1002 * NS_PER_MS), 0);
	held_told(held, 2, 6, 78, 1002 * NS_PER_MS);
	assert_int_equal(held_get(held, 2, 5, 1003 * NS_PER_MS), 78);
	held_free(held);
}

static struct blob *make_blob(size_t size)
{
	_cleanup_free_ char *bytes = xcalloc(1, size);

	return blob_new(bytes, size, 1, 1);
}

/* However many are asked for, and with whatever ids. */
static void renderings_are_bounded(void **state)
{
	(void)state;
	static const struct {
		size_t bytes, most;
	} sizes[] = { { 100, 256 }, { 1 << 20, 8 }, { 20 << 20, 8 } };

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct pinned *p = pinned_new();
		_cleanup_blob_ struct blob *blob = make_blob(sizes[i].bytes);
		uint64_t *dropped = NULL;
		size_t kept = 0;

		for (uint64_t id = 1; id <= 1000; id++) {
			pinned_add(p, id, blob, (int64_t)id);
			/* somebody is still reading the first one */
			blob_unref(pinned_get(p, 1, (int64_t)id));
		}
		assert_int_equal(pinned_expire(p, 1000, &dropped), 1000 - sizes[i].most);
		free(dropped);
		for (uint64_t id = 1; id <= 1000; id++) {
			struct blob *got = pinned_get(p, id, 1000);

			kept += got != NULL;
			assert_true(got || id != 1);
			blob_unref(got);
		}
		assert_int_equal(kept, sizes[i].most);
		assert_int_equal(
			pinned_expire(p, 100 * NS_PER_S, &dropped), sizes[i].most);
		free(dropped);
		pinned_free(p);
	}
}

/* Who reads on has some time for it, be there as many as there may. */
static void renderings_that_are_read_stay(void **state)
{
	(void)state;
	struct pinned *p = pinned_new();
	_cleanup_blob_ struct blob *blob = make_blob(192 << 10);
	const int64_t step_ns = 100 * NS_PER_MS;
	size_t kept = 0;

	for (uint64_t id = 1; id <= 100; id++)
		pinned_add(p, id, blob, (int64_t)id * step_ns);
	for (uint64_t id = 1; id <= 100; id++) {
		struct blob *got = pinned_get(p, id, 100 * step_ns);

		kept += got != NULL;
		assert_true(got || id <= 80);
		blob_unref(got);
	}
	assert_int_equal(kept, 20);
	pinned_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_rendering_is_held_for_a_moment),
		cmocka_unit_test(what_was_told_before_a_reload_is_not_held),
		cmocka_unit_test(renderings_are_bounded),
		cmocka_unit_test(renderings_that_are_read_stay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

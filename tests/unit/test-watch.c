/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who polls files: nobody is left asleep, and nobody takes more than his room. */
#define FUSE_USE_VERSION 312

#include "test.h"

#include <errno.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fuse_lowlevel.h>

#include "fs/watch.h"
#include "handover/ledger.h"
#include "util/cleanup.h"
#include "util/limits.h"
#include "util/mem.h"

/* ---- the kernel's part: these stand in for libfuse's ---- */

#define MAX_FILES (2u << 20)

struct fuse_pollhandle {
	uint64_t file;
};

static unsigned n_handles;
static struct ledger *sleepers; /* NULL: none is kept */

static unsigned n_sleepers(void)
{
	uint64_t file = 0;
	unsigned n = 0;

	for (uint32_t at = 0; (at = ledger_next(sleepers, at, &file)) != LEDGER_NONE;
		at++)
		n++;
	return n;
}

static bool woken[MAX_FILES]; /* since it was polled last */

int fuse_lowlevel_notify_poll(struct fuse_pollhandle *handle)
{
	woken[handle->file] = true;
	/* who is killed now has not woken him */
	assert_true(!sleepers || n_sleepers() > 0);
	return 0;
}

void fuse_pollhandle_destroy(struct fuse_pollhandle *handle)
{
	n_handles--;
	free(handle);
}

static struct fuse_pollhandle *new_handle(uint64_t file)
{
	struct fuse_pollhandle *handle = xcalloc(1, sizeof(*handle));

	handle->file = file;
	n_handles++;
	return handle;
}

/* ---- nodes: the version of each ---- */

#define N_NODES 16384u
static int64_t versions[N_NODES];
static unsigned n_asked;

static int version_of(void *ctx, uint64_t ino, int64_t *ret)
{
	(void)ctx;
	n_asked++;
	if (versions[ino] < 0)
		return -ENOENT;
	*ret = versions[ino];
	return 0;
}

static bool poll_file(struct watch *w, uint64_t file, uint64_t ino, bool waits)
{
	woken[file] = false;
	return watch_poll(w, file, ino, versions[ino], waits ? new_handle(file) : NULL);
}

static int forget_all(void **state)
{
	(void)state;
	memset(versions, 0, sizeof(versions));
	memset(woken, 0, sizeof(woken));
	n_asked = 0;
	assert_int_equal(n_handles, 0);
	return 0;
}

/* ---- tests ---- */

/* Whatever the numbers of the nodes: these are as scattered as a metric's are. */
static void ten_thousand_files_of_one_process_all_wake(void **state)
{
	(void)state;
	struct watch *w = watch_new(NULL, NULL);

	for (unsigned round = 0; round < 3; round++) {
		for (uint64_t i = 1; i <= 10000; i++)
			assert_int_equal(poll_file(w, i, i, true), round > 0);
		watch_notify(w, version_of, NULL);
		for (uint64_t i = 1; i <= 10000; i++) {
			assert_false(woken[i]);
			versions[i]++;
		}
		watch_notify(w, version_of, NULL);
		for (uint64_t i = 1; i <= 10000; i++)
			assert_true(woken[i]);
	}
	watch_free(w);
}

static void one_notification_is_for_the_newest_handle(void **state)
{
	(void)state;
	struct watch *w = watch_new(NULL, NULL);

	for (unsigned i = 0; i < 1000; i++)
		assert_false(poll_file(w, 7, 7, true));
	assert_int_equal(n_handles, 1);
	/* a poll that does not wait leaves who waits as he is */
	assert_false(poll_file(w, 7, 7, false));
	assert_int_equal(n_handles, 1);
	versions[7]++;
	watch_notify(w, version_of, NULL);
	assert_true(woken[7]);
	assert_int_equal(n_handles, 0);
	assert_true(poll_file(w, 7, 7, true));
	assert_false(poll_file(w, 7, 7, true));
	versions[7] = -1;
	watch_notify(w, version_of, NULL);
	assert_true(woken[7]);
	watch_free(w);
}

/* Two files of one node, also of one process, do not know of each other. */
static void each_open_file_sees_each_change(void **state)
{
	(void)state;
	struct watch *w = watch_new(NULL, NULL);

	assert_false(poll_file(w, 1, 5, true));
	versions[5]++;
	assert_false(poll_file(w, 2, 5, true));
	assert_true(poll_file(w, 1, 5, true));
	versions[5]++;
	n_asked = 0;
	watch_notify(w, version_of, NULL);
	assert_int_equal(n_asked, 1);
	assert_true(woken[1] && woken[2]);
	assert_true(poll_file(w, 1, 5, false) && poll_file(w, 2, 5, false));
	/* nobody waits: nothing is asked */
	watch_notify(w, version_of, NULL);
	assert_int_equal(n_asked, 1);
	watch_free(w);
}

static size_t allocated_bytes(void)
{
#ifdef __SANITIZE_ADDRESS__
	extern size_t __sanitizer_get_current_allocated_bytes(void);

	return __sanitizer_get_current_allocated_bytes();
#else
	return mallinfo2().uordblks;
#endif
}

/* Somebody opens, polls and closes, a million times; nothing is heard of the closing. */
static void a_million_polls_leave_memory_flat(void **state)
{
	(void)state;
	struct watch *w = watch_new(NULL, NULL);
	size_t before = 0;

	for (uint64_t file = 1; file <= 1000000; file++) {
		poll_file(w, file, file % N_NODES, file % 3);
		if (file == 100000)
			before = allocated_bytes();
	}
	assert_true(n_handles <= LIMIT_POLLS);
	assert_true(allocated_bytes() < before + (64u << 10));
	n_asked = 0;
	watch_notify(w, version_of, NULL);
	assert_true(n_asked <= N_NODES);
	watch_free(w);
}

/* Who is pushed out by others is woken, and what changed meanwhile is told him. */
static void who_is_pushed_out_misses_nothing(void **state)
{
	(void)state;
	struct watch *w = watch_new(NULL, NULL);
	uint64_t file = 1;

	for (; file <= 100; file++)
		assert_false(poll_file(w, file, file, file % 2));
	for (; file <= 100 + LIMIT_POLLS; file++)
		assert_false(poll_file(w, file, 200, true));
	for (uint64_t i = 1; i <= 100; i++) {
		assert_int_equal(woken[i], i % 2);
		versions[i]++;
	}
	for (uint64_t i = 1; i <= 100; i++)
		assert_true(poll_file(w, i, i, true));
	/* from then on as everybody, and so is who comes new */
	for (uint64_t i = 1; i <= 100; i++)
		assert_false(poll_file(w, i, i, true));
	assert_false(poll_file(w, file, 3, true));
	/* who only looks pushes nobody out who waits, once somebody else only looked */
	unsigned n_woken = 0;

	memset(woken, 0, sizeof(woken));
	for (unsigned i = 0; i < LIMIT_POLLS; i++)
		poll_file(w, ++file, 3, false);
	for (uint64_t i = 1; i < file; i++)
		n_woken += woken[i];
	assert_int_equal(n_woken, 1);
	watch_free(w);
}

/* Against the obvious: what each file saw last, and who waits. */
static void as_a_simple_table_says(void **state)
{
	(void)state;
	enum { FILES = 200 };
	static int64_t seen[FILES + 1];
	static bool waits[FILES + 1];
	struct watch *w = watch_new(NULL, NULL);
	unsigned seed = 1;

	for (unsigned i = 0; i <= FILES; i++)
		seen[i] = -1;
	for (unsigned step = 0; step < 200000; step++) {
		unsigned file = 1 + (unsigned)rand_r(&seed) % FILES, ino = file % 37;

		switch (rand_r(&seed) % 16) {
		case 0:
			watch_notify(w, version_of, NULL);
			for (unsigned i = 1; i <= FILES; i++) {
				bool due = waits[i] && seen[i] != versions[i % 37];

				assert_int_equal(woken[i] && waits[i], due);
				waits[i] &= !due;
			}
			break;
		case 1:
		case 2:
			versions[ino]++;
			break;
		default: {
			bool wait = rand_r(&seed) % 2;

			assert_int_equal(poll_file(w, file, ino, wait),
				seen[file] >= 0 && seen[file] != versions[ino]);
			seen[file] = versions[ino];
			waits[file] |= wait;
		}
		}
	}
	watch_free(w);
}

static void who_waits_stands_in_the_ledger_until_he_is_woken(void **state)
{
	static struct ledger_row rows[8];
	_Atomic uint64_t polled = 0, top = 0;

	(void)state;
	sleepers = ledger_new(rows, sizeof(rows[0]), ARRAY_LEN(rows), &top);
	struct watch *w = watch_new(&polled, sleepers);

	poll_file(w, 7, 1, true);
	poll_file(w, 8, 1, true);
	poll_file(w, 8, 1, true);
	poll_file(w, 9, 2, false);
	assert_int_equal(n_sleepers(), 2);
	assert_int_equal(polled, 9);
	versions[1]++;
	watch_notify(w, version_of, NULL);
	assert_true(woken[7] && woken[8] && !woken[9]);
	assert_int_equal(n_sleepers(), 0);
	watch_free(w); /* and the ledger */
	sleepers = NULL;
	/* who comes after us takes what was polled before for changed */
	w = watch_new(&polled, NULL);
	assert_true(poll_file(w, 9, 2, false));
	assert_false(poll_file(w, 10, 2, false));
	watch_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(
			who_waits_stands_in_the_ledger_until_he_is_woken, forget_all),
		cmocka_unit_test_setup_teardown(
			ten_thousand_files_of_one_process_all_wake, forget_all,
			forget_all),
		cmocka_unit_test_setup_teardown(one_notification_is_for_the_newest_handle,
			forget_all, forget_all),
		cmocka_unit_test_setup_teardown(
			each_open_file_sees_each_change, forget_all, forget_all),
		cmocka_unit_test_setup_teardown(
			a_million_polls_leave_memory_flat, forget_all, forget_all),
		cmocka_unit_test_setup_teardown(
			who_is_pushed_out_misses_nothing, forget_all, forget_all),
		cmocka_unit_test_setup_teardown(
			as_a_simple_table_says, forget_all, forget_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

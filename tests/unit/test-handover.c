/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a worker leaves to the next: kept through any end, and believed by nobody.  And when the
 * keeper starts the next one.
 */
#include "test.h"
#include "tmp.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/blob.h"
#include "core/snapshot.h"
#include "fs/pinned.h"
#include "handover/handover.h"
#include "keeper/apart.h"
#include "keeper/good_conf.h"
#include "keeper/restart.h"
#include "keeper/watchdog.h"
#include "keeper/worker_clock.h"
#include "mdisk/disks.h"
#include "util/cleanup.h"
#include "util/hash.h"
#include "util/mem.h"
#include "util/strbuf.h"

struct memory {
	int fd;
	struct handover *handover;
};

static int make_memory(void **state)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	struct memory *m = xcalloc(1, sizeof(*m));

	m->fd = handover_create();
	assert_true(m->fd >= 0);
	m->handover = handover_map(m->fd, &why);
	assert_non_null(m->handover);
	*state = m;
	return 0;
}

static int free_memory(void **state)
{
	struct memory *m = *state;

	handover_unmap(m->handover);
	close(m->fd);
	free(m);
	return 0;
}

/* ---- the memory ---- */

static void only_what_fits_is_mapped(void **state)
{
	struct memory *m = *state;
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	_cleanup_close_ int other = memfd_create("other", MFD_CLOEXEC);

	assert_int_equal(ftruncate(m->fd, 4096), -1);
	assert_null(handover_map(other, &why));
	assert_true(why.len > 0);
	m->handover->head.version++;
	assert_null(handover_map(m->fd, &why));
	handover_mend(m->handover);
	struct handover *again = handover_map(m->fd, &why);

	assert_non_null(again);
	handover_unmap(again);
}

static void rows_outlive_their_process(void **state)
{
	const struct memory *m = *state;
	struct ledger *l = handover_told(m->handover);
	uint32_t at[100];
	uint64_t key = 0;

	for (uint32_t i = 0; i < 100; i++)
		at[i] = ledger_add(l, 1000 + i, i);
	for (uint32_t i = 0; i < 100; i += 2)
		ledger_drop(l, at[i]);
	ledger_set(l, at[1], 77);
	ledger_free(l); /* or not: the process was killed */

	l = handover_told(m->handover);
	unsigned n = 0;

	for (uint32_t row = 0; (row = ledger_next(l, row, &key)) != LEDGER_NONE; row++) {
		const struct ledger_row *there = ledger_at(l, row);

		assert_int_equal(key % 2, 1);
		assert_int_equal(there->value, key == 1001 ? 77 : key - 1000);
		n++;
	}
	assert_int_equal(n, 50);
	/* what was free is used first: the table does not grow */
	for (unsigned i = 0; i < 50; i++)
		assert_true(ledger_add(l, 1, 1) < 100);
	ledger_free(l);
}

static void a_full_ledger_says_so(void **state)
{
	const struct memory *m = *state;
	struct ledger *l = handover_polls(m->handover);

	for (unsigned i = 0; i < LIMIT_POLLS; i++)
		assert_int_not_equal(ledger_add(l, 1 + i, 0), LEDGER_NONE);
	assert_int_equal(ledger_add(l, 1, 0), LEDGER_NONE);
	ledger_drop(l, 5);
	assert_int_equal(ledger_add(l, 1, 0), 5);
	ledger_free(l);
	/* nobody who comes after us: nothing to keep */
	assert_int_equal(ledger_add(NULL, 1, 0), LEDGER_NONE);
	ledger_drop(NULL, LEDGER_NONE);
}

static uint64_t put_text(struct arena *a, uint64_t name, const char *text, size_t size)
{
	const struct arena_note note = { ARENA_DOCUMENT, name, 7, 8 };

	return arena_put(a, &note, text, size);
}

static void bytes_outlive_their_process(void **state)
{
	const struct memory *m = *state;
	struct arena *a = arena_new(&m->handover->arena);
	char *big = xcalloc(1, 1 << 20);
	struct arena_bytes bytes;

	memset(big, 'b', 1 << 20);
	uint64_t first = put_text(a, 1, "first", 5),
		 second = put_text(a, 2, big, 1 << 20),
		 third = put_text(a, 3, "third", 5);

	assert_true(first && second && third);
	arena_drop(a, first);
	arena_free(a);

	a = arena_new(&m->handover->arena);
	assert_false(arena_get(a, first, &bytes));
	assert_true(arena_get(a, second, &bytes));
	assert_int_equal(bytes.bytes, 1 << 20);
	assert_memory_equal(bytes.data, big, 1 << 20);
	assert_int_equal(bytes.note.name, 2);
	assert_int_equal(bytes.note.generation, 7);
	/* a number is never given twice, nor memory that is in use */
	uint64_t fourth = put_text(a, 4, "fourth", 6);

	assert_true(fourth > third);
	assert_true(arena_get(a, third, &bytes));
	assert_memory_equal(bytes.data, "third", 5);
	arena_free(a);
	free(big);
}

static int64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

/* Readers wait meanwhile: what lies there backwards took 15 s. */
static void an_arena_is_taken_over_soon_in_any_order(void **state)
{
	const struct memory *m = *state;
	struct arena_area *area = &m->handover->arena;
	struct arena_bytes bytes;
	const uint32_t n = ARENA_ITEMS - 1;

	for (uint32_t i = 0; i < n; i++) {
		area->items[i].offset = (uint64_t)(n - i) * ARENA_PAGE;
		area->items[i].bytes = 1;
		atomic_store(&area->items[i].id, (uint64_t)ARENA_ITEMS + i);
	}
	/* two that overlap: one of them is not believed */
	area->items[7].offset = area->items[8].offset;
	atomic_store(&area->top, n);
	int64_t begin_ns = cpu_ns();
	struct arena *a = arena_new(area);

	assert_true(cpu_ns() - begin_ns < NS_PER_S);
	unsigned found = 0;

	for (uint32_t at = 0; arena_next(a, &at, &bytes);)
		found++;
	assert_int_equal(found, n - 1);
	/* the first page, and that of the one that moved away, are free, and no others */
	assert_true(put_text(a, 1, "x", 1));
	assert_true(put_text(a, 1, "x", 1));
	assert_false(put_text(a, 1, "x", 1));
	arena_free(a);
}

static void what_was_dropped_is_no_memory_any_more(void **state)
{
	const struct memory *m = *state;
	char text[3 * ARENA_PAGE];
	struct arena_bytes bytes[3];
	uint64_t ids[3];

	memset(text, 'x', sizeof(text));
	/* the second arena finds what the first left */
	for (int round = 0; round < 2; round++) {
		struct arena *a = arena_new(&m->handover->arena);

		for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
			ids[i] = put_text(a, i, text, sizeof(text));
			assert_true(arena_get(a, ids[i], &bytes[i]));
		}
		arena_drop(a, ids[1]);
		assert_int_equal(bytes[1].data[ARENA_PAGE], 'x');
		arena_trim(a);
		assert_int_equal(bytes[1].data[ARENA_PAGE], 0);
		assert_memory_equal(bytes[0].data, text, sizeof(text));
		assert_memory_equal(bytes[2].data, text, sizeof(text));
		arena_drop(a, ids[0]);
		arena_drop(a, ids[2]);
		arena_free(a);
		assert_int_equal(bytes[2].data[0], 'x');
	}
	struct arena *a = arena_new(&m->handover->arena);

	arena_trim(a);
	assert_int_equal(bytes[0].data[0], 0);
	assert_int_equal(bytes[2].data[0], 0);
	/* there is room as before */
	assert_int_not_equal(put_text(a, 1, text, sizeof(text)), 0);
	arena_trim(a);
	arena_trim(NULL);
	assert_int_equal(bytes[0].data[0], 'x');
	arena_free(a);
}

/* Whose id stands twice in what another process left is dropped twice, and others stay. */
static void what_is_not_there_is_not_dropped(void **state)
{
	struct memory *m = *state;
	struct arena *a = arena_new(&m->handover->arena);
	struct arena_bytes bytes;
	uint64_t first = put_text(a, 1, "first", 6), second = put_text(a, 2, "second", 7);

	arena_drop(a, first);
	arena_drop(a, first);
	assert_true(arena_get(a, second, &bytes));
	arena_drop(a, second);
	arena_drop(a, second);
	/* nor what has its place now */
	second = put_text(a, 2, "second", 7);
	first = put_text(a, 1, "first", 6);
	arena_drop(a, second + ARENA_ITEMS);
	assert_true(arena_get(a, second, &bytes));
	assert_string_equal(bytes.data, "second");
	assert_true(arena_get(a, first, &bytes));
	assert_string_equal(bytes.data, "first");
	arena_free(a);
}

static void a_full_arena_keeps_no_more(void **state)
{
	const struct memory *m = *state;
	struct arena *a = arena_new(&m->handover->arena);
	const size_t size = 16u << 20;
	char *big = xcalloc(1, size);
	uint64_t ids[16];

	for (unsigned i = 0; i < 16; i++)
		assert_true((ids[i] = put_text(a, i, big, size)));
	assert_false(put_text(a, 99, "x", 1));
	arena_drop(a, ids[3]);
	assert_true(put_text(a, 99, "x", 1));
	assert_false(put_text(a, 99, big, size));
	assert_false(put_text(NULL, 99, "x", 1));
	assert_false(put_text(a, 99, "", 0));
	arena_free(a);
	free(big);
}

static void renderings_outlive_their_process(void **state)
{
	const struct memory *m = *state;
	struct arena *arena = arena_new(&m->handover->arena);
	struct pinned *p = pinned_new();

	pinned_inherit(p, arena, 0);
	for (uint64_t i = 1; i <= 3; i++) {
		_cleanup_blob_ struct blob *blob = blob_new("0123", i, i, (int64_t)i);

		pinned_add(p, i, blob, 0);
	}
	pinned_free(p);
	arena_free(arena);

	arena = arena_new(&m->handover->arena);
	p = pinned_new();
	pinned_inherit(p, arena, 0);
	struct blob *blob = pinned_get(p, 2, 0);

	assert_non_null(blob);
	assert_int_equal(blob->size, 2);
	assert_int_equal(blob->generation, 2);
	blob_unref(blob);
	/* what is dropped is there until the kernel has forgotten it, too */
	uint64_t *dropped = NULL;

	assert_int_equal(pinned_expire(p, 60 * NS_PER_S, &dropped), 3);
	free(dropped);
	pinned_taken(p, 3);
	pinned_taken(p, 1);
	pinned_free(p);
	arena_free(arena);

	arena = arena_new(&m->handover->arena);
	p = pinned_new();
	pinned_inherit(p, arena, 0);
	assert_null(pinned_get(p, 1, 0));
	assert_null(pinned_get(p, 3, 0));
	blob = pinned_get(p, 2, 0);
	assert_int_equal(blob->generation, 2);
	blob_unref(blob);
	assert_int_equal(pinned_expire(p, 60 * NS_PER_S, &dropped), 1);
	assert_int_equal(dropped[0], 2);
	free(dropped);
	pinned_taken(p, 2);
	pinned_free(p);
	struct arena_bytes bytes;
	uint32_t at = 0;

	assert_false(arena_next(arena, &at, &bytes));
	arena_free(arena);
}

static void a_text_is_replaced_as_a_whole(void **state)
{
	const struct memory *m = *state;
	struct halves *h = &m->handover->checkpoint;
	size_t size = 0, n = 0;

	assert_null(halves_get(h, &n));
	for (char c = 'a'; c <= 'z'; c++) {
		char *at = halves_begin(h, &size);

		assert_int_equal(size, HALF_BYTES);
		memset(at, c, 1001);
		/* what was before is in force to the last moment, also if that never comes */
		const char *before = halves_get(h, &n);

		assert_true(c == 'a' ? !before : before[1000] == c - 1);
		halves_commit(h, 1001);
		const char *now = halves_get(h, &n);

		assert_int_equal(n, 1001);
		assert_int_equal(now[1000], c);
	}
	/* what was before takes no memory any more, once it is given back */
	halves_trim(h);
	struct stat small, large;

	fstat(m->fd, &small);
	memset(halves_begin(h, &size), 'y', 1 << 20);
	halves_commit(h, 1 << 20);
	fstat(m->fd, &large);
	memset(halves_begin(h, &size), 'z', 1001);
	halves_commit(h, 1001);
	halves_trim(h);
	assert_int_equal(((const char *)halves_get(h, &n))[1000], 'z');
	struct stat again;

	fstat(m->fd, &again);
	assert_true(large.st_blocks >= small.st_blocks + (1 << 20) / 512 - 8);
	assert_int_equal(again.st_blocks, small.st_blocks);
	/* one that was begun and not finished */
	memset(halves_begin(h, &size), '?', 1001);
	assert_int_equal(((const char *)halves_get(h, &n))[0], 'z');
	/* one that somebody wrote over */
	((char *)(uintptr_t)halves_get(h, &n))[77] ^= 1;
	assert_null(halves_get(h, &n));
	halves_clear(h);
	assert_null(halves_get(h, &n));
	/* one who counted too far: what is written next is what is in force */
	for (unsigned i = 0; i < 2; i++) {
		memset(h->memory, 'o', 1001);
		memset(h->memory[1], 'o', 1001);
		atomic_store(&h->half[i].sequence, UINT64_MAX);
		atomic_store(&h->half[!i].sequence, 0);
		memset(halves_begin(h, &size), 'n', 1001);
		halves_commit(h, 1001);
		assert_int_equal(((const char *)halves_get(h, &n))[1000], 'n');
		assert_int_equal(n, 1001);
	}
}

/* A run of the one VM there is, by libvirt's id. */
static void publish_run(struct tree *tree, uint64_t generation, int id)
{
	const struct vm_ident ident = { .uuid = { { 7 } }, .id = id, .name = "vm" };
	struct snapshot *host = snapshot_new(NULL, generation, NULL, 0, 1),
			*vm = snapshot_new(&ident, generation, NULL, 0, 1);

	host->collected = vm->collected = true;
	tree_publish(tree, generation, host, &vm, 1);
}

/* The generation that the disk shows to who reads on in the middle. */
static uint64_t disk_shows(struct disks *disks, struct tree *tree, bool direct)
{
	_cleanup_view_ struct view *view = tree_view(tree);
	const struct disks_place place = {
		.key = 1 << 20, .view = view, .vm = view->vms[0]
	};
	_cleanup_blob_ struct blob *image = direct
		? disks_read(disks, &place, false, 2 * NS_PER_S)
		: disks_read_cached(disks, &place, 1, false, 2 * NS_PER_S);

	return image->generation;
}

/* The uuid runs again, at once, in the same process or the next. */
static void a_latch_is_of_one_run(void **state)
{
	const struct memory *m = *state;

	for (int direct = 0; direct < 2; direct++) {
		struct tree *tree = tree_new();
		struct arena *arena = arena_new(&m->handover->arena);
		struct disks *disks = disks_new(65536);

		disks_inherit(disks, m->handover, arena, NS_PER_S);
		publish_run(tree, 1, 101);
		assert_int_equal(disk_shows(disks, tree, direct), 1);
		publish_run(tree, 2, 101); /* the same */
		assert_int_equal(disk_shows(disks, tree, direct), 1);
		publish_run(tree, 3, 102);
		assert_int_equal(disk_shows(disks, tree, direct), 3);
		disks_free(disks);
		arena_free(arena);

		arena = arena_new(&m->handover->arena);
		disks = disks_new(65536);
		disks_inherit(disks, m->handover, arena, NS_PER_S);
		assert_int_equal(disk_shows(disks, tree, direct), 3);
		publish_run(tree, 4, 103);
		assert_int_equal(disk_shows(disks, tree, direct), 4);
		disks_free(disks);
		arena_free(arena);
		tree_free(tree);
	}
}

/* ---- believed by nobody ---- */

static void disturb(struct handover *h, size_t from, size_t n, unsigned *seed)
{
	char *at = (char *)h;

	for (size_t i = 0; i < n; i++)
		at[from + i] = (char)rand_r(seed);
}

static void take_over(struct handover *h)
{
	struct arena *arena = arena_new(&h->arena);
	struct disks *disks = disks_new(65536);
	struct pinned *pinned = pinned_new();
	struct ledger *told = handover_told(h), *polls = handover_polls(h);
	struct tree *tree = tree_new();
	_cleanup_view_ struct view *view = tree_view(tree);
	const struct disks_place place = { .key = 1 << 20, .view = view, .shared = true };
	int64_t keep_ns = 0;
	uint64_t *dropped = NULL;

	disks_inherit(disks, h, arena, NS_PER_S);
	pinned_inherit(pinned, arena, NS_PER_S);
	blob_unref(disks_read(disks, &place, true, 2 * NS_PER_S));
	disks_time(disks, &place, 1, true, 2 * NS_PER_S, &keep_ns);
	blob_unref(disks_read_cached(disks, &place, 1, true, 2 * NS_PER_S));
	(void)disks_sweep(disks, 100 * NS_PER_S);
	(void)pinned_expire(pinned, 100 * NS_PER_S, &dropped);
	free(dropped);
	pinned_free(pinned);
	disks_free(disks);
	ledger_free(told);
	ledger_free(polls);
	arena_free(arena);
	tree_free(tree);
}

/* Return: a place in the regions that processes believe something of. */
static size_t some_place(const struct handover *h, unsigned *seed)
{
	const size_t regions[] = { offsetof(struct handover, generation),
		offsetof(struct handover, told), offsetof(struct handover, polls),
		offsetof(struct handover, latches), offsetof(struct handover, arena) };

	(void)h;
	return regions[(unsigned)rand_r(seed) % ARRAY_LEN(regions)] +
		(unsigned)rand_r(seed) % 512;
}

static void what_was_left_may_be_anything(void **state)
{
	const struct memory *m = *state;
	unsigned seed = 1;

	for (unsigned i = 0; i < ROUNDS(1500u); i++) {
		struct arena *arena = arena_new(&m->handover->arena);
		const struct arena_note note = { ARENA_IMAGE, 0, 1, 1 };
		struct ledger *latches = handover_latches(m->handover);
		uint32_t at = ledger_reserve(latches);
		uint64_t id = arena_put(arena, &note, "image", 5);

		if (at != LEDGER_NONE) {
			struct latch_row *row = ledger_at(latches, at);

			*row = (struct latch_row){ .image = id, .time_ns = 5 };
			ledger_commit(latches, at, 1 << 20);
		}
		put_text(arena, i, "document", 8);
		arena_free(arena);
		ledger_free(latches);
		disturb(m->handover, some_place(m->handover, &seed),
			1 + (unsigned)rand_r(&seed) % 64, &seed);
		/* how much there is: more than little takes long to look through */
		m->handover->told_top %= 64;
		m->handover->polls_top %= 64;
		m->handover->latches_top %= 64;
		m->handover->arena.top %= 64;
		take_over(m->handover);
	}
}

/* ---- the next worker ---- */

#define MS NS_PER_MS

static void who_serves_is_replaced_at_once(void **state)
{
	struct restart r = { 0 };
	int64_t now = NS_PER_S;

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		restart_ready(&r, now);
		now += 100 * MS;
		assert_int_equal(restart_ended(&r, now, false), 0);
		assert_false(restart_distrusts(&r, now));
		now += 30 * MS;
	}
}

static void who_never_serves_is_replaced_more_and_more_slowly(void **state)
{
	struct restart r = { 0 };
	int64_t now = NS_PER_S, before = 0, pause;
	unsigned n = 0;

	(void)state;
	restart_ready(&r, now);
	for (; (pause = restart_ended(&r, now, true)) >= 0; n++) {
		assert_true(pause >= before && pause <= NS_PER_S);
		before = pause;
		now += pause + 10 * MS;
		assert_int_equal(restart_distrusts(&r, now), n >= 2);
	}
	/* nobody may wait for longer than ten seconds */
	assert_true(now < 10 * NS_PER_S);
	assert_true(n > 20);
}

static void crashes_a_second_apart_are_no_reason_for_distrust(void **state)
{
	struct restart r = { 0 };
	int64_t now = NS_PER_S;

	(void)state;
	for (unsigned i = 0; i < 10; i++) {
		restart_ready(&r, now);
		now += 600 * MS;
		(void)restart_ended(&r, now, true);
		assert_false(restart_distrusts(&r, now));
	}
	for (unsigned i = 0; i < 3; i++) {
		restart_ready(&r, now);
		now += 100 * MS;
		(void)restart_ended(&r, now, true);
	}
	assert_true(restart_distrusts(&r, now));
	assert_false(restart_distrusts(&r, now + NS_PER_S));
}

static void a_request_that_lasts_is_noticed(void **state)
{
	struct memory *m = *state;
	struct watchdog w = { 0 };
	int64_t now = NS_PER_S, since = now;

	/* another request each time is no reason */
	for (unsigned i = 0; i < 20; i++, now += NS_PER_S) {
		m->handover->slots[2].head.bytes = 40;
		m->handover->notes[2].received++;
		assert_false(watchdog_look(&w, m->handover, false, now));
	}
	for (since = now; !watchdog_look(&w, m->handover, false, now); now += NS_PER_S)
		assert_true(now - since < 10 * NS_PER_S);
	assert_true(now - since >= WATCHDOG_NS - NS_PER_S);
	m->handover->slots[2].head.bytes = 0;
	assert_false(watchdog_look(&w, m->handover, false, now));
}

static void requests_that_nobody_reads_are_noticed(void **state)
{
	struct memory *m = *state;
	struct watchdog w = { 0 };
	int64_t now = NS_PER_S, since;

	/* many wait, and they are read */
	for (unsigned i = 0; i < 20; i++, now += NS_PER_S) {
		m->handover->notes[i % HANDOVER_SLOTS].received++;
		assert_false(watchdog_look(&w, m->handover, true, now));
	}
	for (since = now; !watchdog_look(&w, m->handover, true, now); now += NS_PER_S)
		assert_true(now - since < 10 * NS_PER_S);
	watchdog_reset(&w);
	for (unsigned i = 0; i < 20; i++, now += NS_PER_S)
		assert_false(watchdog_look(&w, m->handover, false, now));
}

/* A second later, with these times in seconds. */
static int64_t second_later(
	struct worker_clock *c, pid_t pid, double ran, double waited, bool runnable)
{
	const struct worker_times times = { (int64_t)(ran * NS_PER_S),
		(int64_t)(waited * NS_PER_S), runnable };
	int64_t before = c->ns;

	return (worker_clock_ns(c, c->wall_ns + NS_PER_S, pid, &times) - before) /
		NS_PER_MS;
}

static void a_worker_without_a_processor_has_longer(void **state)
{
	struct worker_clock c = { .wall_ns = 1000 * NS_PER_S };

	(void)state;
	/* what it waited before is not this time's */
	assert_int_equal(second_later(&c, 7, 1, 3, false), 1000);
	assert_int_equal(second_later(&c, 7, 1, 3, false), 1000);
	assert_int_equal(second_later(&c, 7, 1, 3.5, false), 500);
	/* several threads at once; the clock never stands still */
	assert_int_equal(second_later(&c, 7, 1, 9, false), 400);
	/* it waits still; it works; or one runs by chance while another waits */
	assert_int_equal(second_later(&c, 7, 1, 9, true), 400);
	assert_int_equal(second_later(&c, 7, 2, 9, true), 1000);
	assert_int_equal(second_later(&c, 7, 2.75, 9, true), 750);
	/* the kernel does not tell */
	assert_int_equal(second_later(&c, 6, 0, 0, false), 1000);
	assert_int_equal(second_later(&c, 6, 0, 0, false), 1000);
	/* one has ended; it is another process; nobody waits for it */
	assert_int_equal(second_later(&c, 7, 2, 9, true), 1000);
	assert_int_equal(second_later(&c, 7, 1, 1, false), 1000);
	assert_int_equal(second_later(&c, 8, 1, 9, true), 1000);
	assert_int_equal(second_later(&c, 0, 0, 0, false), 1000);
	assert_int_equal(second_later(&c, 8, 1, 20, true), 1000);
}

/* ---- the level of the log ---- */

static void a_level_that_was_set_is_the_next_ones(void **state)
{
	const struct memory *m = *state;
	enum log_level level = LOG_LEVEL_COUNT;

	assert_false(handover_log_level(m->handover, &level));
	handover_set_log_level(m->handover, LOG_LEVEL_ERROR);
	assert_true(handover_log_level(m->handover, &level));
	assert_int_equal(level, LOG_LEVEL_ERROR);
	handover_set_log_level(m->handover, LOG_LEVEL_DEBUG);
	handover_distrust(m->handover);
	assert_true(handover_log_level(m->handover, &level));
	assert_int_equal(level, LOG_LEVEL_DEBUG);
	/* a worker gone bad may have written anything */
	atomic_store(&m->handover->log_level, (uint32_t)LOG_LEVEL_COUNT + 1);
	assert_false(handover_log_level(m->handover, &level));
	atomic_store(&m->handover->log_level, UINT32_MAX);
	assert_false(handover_log_level(m->handover, &level));
	assert_int_equal(level, LOG_LEVEL_DEBUG);
	handover_set_log_level(m->handover, LOG_LEVEL_WARNING);
	handover_forget_log_level(m->handover);
	assert_false(handover_log_level(m->handover, &level));
}

/* ---- the last good configuration ---- */

static void write_text(const char *path, const char *text)
{
	_cleanup_fclose_ FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
}

static void note(struct good_conf *good, const char *path, const char *text)
{
	char hash[32];

	snprintf(hash, sizeof(hash), "%" PRIu64, siphash24(text, strlen(text)));
	good_conf_note(good, path, hash);
}

static void the_last_good_text_is_what_the_file_had(void **state)
{
	(void)state;
	char path[TMP_PATH_SIZE];
	struct good_conf good = { .text = STRBUF_INIT };
	char name[32];

	snprintf(name, sizeof(name), "vhostmd-good.%d", (int)getpid());
	tmp_path(path, name);
	unlink(path);
	note(&good, path, "one");
	assert_int_equal(good.text.len, 0);
	write_text(path, "one");
	note(&good, path, "one");
	assert_string_equal(strbuf_str(&good.text), "one");
	/* another stands there by now: of that nobody has said that it is good */
	write_text(path, "three");
	note(&good, path, "two");
	good_conf_note(&good, path, "no number");
	assert_string_equal(strbuf_str(&good.text), "one");
	note(&good, path, "three");
	assert_string_equal(strbuf_str(&good.text), "three");
	/* nor is anything read that has no end, or is no file */
	struct strbuf text = STRBUF_INIT;

	assert_int_equal(apart_read(path, 4, &text), -EFBIG);
	assert_int_equal(apart_read("/dev/zero", 4, &text), -EMEDIUMTYPE);
	assert_int_equal(apart_read("/nowhere/at/all", 4, &text), -ENOENT);
	assert_int_equal(text.len, 0);
	assert_int_equal(apart_read(path, 5, &text), 0);
	assert_string_equal(strbuf_str(&text), "three");
	strbuf_done(&text);
	good_conf_done(&good);
	unlink(path);
}

int main(void)
{
#define WITH_MEMORY(test) cmocka_unit_test_setup_teardown(test, make_memory, free_memory)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_last_good_text_is_what_the_file_had),
		WITH_MEMORY(only_what_fits_is_mapped),
		WITH_MEMORY(rows_outlive_their_process),
		WITH_MEMORY(a_full_ledger_says_so),
		WITH_MEMORY(bytes_outlive_their_process),
		WITH_MEMORY(an_arena_is_taken_over_soon_in_any_order),
		WITH_MEMORY(what_was_dropped_is_no_memory_any_more),
		WITH_MEMORY(what_is_not_there_is_not_dropped),
		WITH_MEMORY(a_full_arena_keeps_no_more),
		WITH_MEMORY(renderings_outlive_their_process),
		WITH_MEMORY(a_text_is_replaced_as_a_whole),
		WITH_MEMORY(a_latch_is_of_one_run),
		WITH_MEMORY(what_was_left_may_be_anything),
		WITH_MEMORY(a_level_that_was_set_is_the_next_ones),
		cmocka_unit_test(who_serves_is_replaced_at_once),
		cmocka_unit_test(who_never_serves_is_replaced_more_and_more_slowly),
		cmocka_unit_test(crashes_a_second_apart_are_no_reason_for_distrust),
		WITH_MEMORY(a_request_that_lasts_is_noticed),
		WITH_MEMORY(requests_that_nobody_reads_are_noticed),
		cmocka_unit_test(a_worker_without_a_processor_has_longer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

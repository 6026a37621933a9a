/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The disks as they are read: when they move on, past the page cache and through it. */
#include "test.h"
#include "specs.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/blob.h"
#include "core/metric_list.h"
#include "core/snapshot.h"
#include "mdisk/disks.h"
#include "mdisk/image.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/strbuf.h"

static struct spec_set *specs;

static void publish(
	struct tree *tree, uint64_t generation, const char *text, bool with_vm)
{
	struct metric_list_builder *b =
		metric_list_builder_new(specs, (int64_t)generation);
	struct value v = value_string(text);
	struct vm_ident ident = { .uuid = { { 7 } }, .id = 1, .name = "vm" };

	metric_list_builder_add(b, 0, NULL, &v);
	struct metric_list *list = metric_list_builder_finish(b);
	struct snapshot *vm = with_vm
		? snapshot_new(&ident, generation, &list, 1, clock_mono_ns())
		: NULL;

	tree_publish(tree, generation, snapshot_new(NULL, generation, &list, 1, 1), &vm,
		with_vm);
	metric_list_unref(list);
}

static int make_specs(void **state)
{
	(void)state;
	specs = specs_named(METRIC_STRING, (const char *const[]){ "t", NULL });
	return 0;
}

static int drop_specs(void **state)
{
	(void)state;
	spec_set_unref(specs);
	return 0;
}

/* The generation of the image that a read at @ms gets. */
static uint64_t generation_at(
	struct disks *disks, struct tree *tree, bool from_start, int64_t ms)
{
	struct view *view = tree_view(tree);
	struct blob *image =
		disks_read(disks, &(struct disks_place){ .key = 5, .view = view },
			from_start, ms * NS_PER_MS);
	uint64_t generation = image->generation;

	blob_unref(image);
	view_unref(view);
	return generation;
}

static void a_disk_being_read_does_not_move(void **state)
{
	(void)state;
	struct disks *disks = disks_new(DISK_BLOCK_BYTES);
	struct tree *tree = tree_new();

	publish(tree, 1, "one", false);
	assert_int_equal(generation_at(disks, tree, true, 10000), 1);
	publish(tree, 2, "two", false);
	assert_int_equal(generation_at(disks, tree, false, 10001), 1);
	assert_int_equal(generation_at(disks, tree, true, 10100), 1); /* held */
	assert_int_equal(generation_at(disks, tree, false, 10240), 1);
	assert_int_equal(generation_at(disks, tree, true, 10260), 1); /* not quiet */
	assert_int_equal(generation_at(disks, tree, false, 10400), 1);
	assert_int_equal(generation_at(disks, tree, true, 10700), 2);
	publish(tree, 3, "three", false);
	int64_t ms = 10710;

	while (generation_at(disks, tree, true, ms) == 2) /* a reader that never pauses */
		ms += 10;
	assert_in_range(ms, 12570, 12600);

	/* a round of reads that begins with nothing new sees nothing new */
	assert_int_equal(generation_at(disks, tree, true, 20000), 3);
	publish(tree, 4, "four", false);
	assert_int_equal(generation_at(disks, tree, true, 20001), 3);
	assert_int_equal(generation_at(disks, tree, true, 20300), 4);
	disks_free(disks);
	tree_free(tree);
}

/* Rounds one after the other: the disk moves on between two of them, and within none. */
static void a_tireless_reader_never_starts_over(void **state)
{
	(void)state;
	static const struct {
		int64_t within_ms, between_ms;
		unsigned n_blocks;
	} loops[] = { { 1, 12, 1 }, { 2, 9, 1 }, { 1, 3, 4 }, { 20, 70, 2 },
		{ 60, 180, 1 }, { 0, 1, 1 }, { 50, 190, 30 } };

	for (size_t i = 0; i < ARRAY_LEN(loops); i++) {
		struct disks *disks = disks_new(DISK_BLOCK_BYTES);
		struct tree *tree = tree_new();
		uint64_t generation = 0, seen = 0, n_moves = 0;

		for (int64_t ms = 10000; ms < 70000; ms += loops[i].between_ms) {
			publish(tree, ++generation, "text", false);
			uint64_t is = generation_at(disks, tree, true, ms);

			n_moves += is != seen;
			seen = is;
			for (unsigned block = 1; block < loops[i].n_blocks; block++) {
				publish(tree, ++generation, "text", false);
				ms += loops[i].within_ms;
				assert_int_equal(
					generation_at(disks, tree, false, ms), seen);
			}
			publish(tree, ++generation, "text", false);
			ms += loops[i].within_ms;
			assert_int_equal(generation_at(disks, tree, true, ms), seen);
		}
		assert_true(n_moves >= 60 / 3);
		disks_free(disks);
		tree_free(tree);
	}
}

/* The content of the image that a read at @ms gets; owned by the caller. */
static char *content_at(struct disks *disks, struct tree *tree, bool shared, int64_t ms)
{
	_cleanup_view_ struct view *view = tree_view(tree);
	struct disks_place place = { .key = 5 + shared,
		.view = view,
		.vm = view->n_vms && !shared ? view->vms[0] : NULL,
		.shared = shared };
	_cleanup_blob_ struct blob *image =
		disks_read(disks, &place, true, ms * NS_PER_MS);
	struct image_header h;

	assert_int_equal(image_parse_header(image->data, image->size, &h), 0);
	assert_int_equal(h.busy, image->generation == 0);
	return xstrdup(image->data + IMAGE_HEADER_BYTES);
}

static char *status_of(struct disks *disks, struct tree *tree)
{
	_cleanup_view_ struct view *view = tree_view(tree);
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

	disks_status(disks, view, &out);
	return xstrdup(strbuf_str(&out));
}

#define assert_status(disks, tree, n_disks, n)                                           \
	do {                                                                             \
		_cleanup_free_ char *is = status_of(disks, tree);                        \
		assert_string_equal(                                                     \
			is, "disk.too_small: " #n_disks "\ndisk.left_out: " #n "\n");    \
	} while (0)

static void assert_left_out(
	struct disks *disks, struct tree *tree, bool shared, int64_t ms, unsigned n)
{
	_cleanup_free_ char *is = content_at(disks, tree, shared, ms);
	_cleanup_free_ char *says = xasprintf("MetricsLeftOut</name>\n    <value>%u<", n);

	assert_true(strncmp(is, "<metrics>\n", 10) == 0);
	assert_non_null(strstr(is, "\n</metrics>\n"));
	assert_true((strstr(is, says) != NULL) == (n > 0));
}

/* Also where nobody has read before, or for a long time. */
static void a_disk_that_is_too_small_leaves_metrics_out(void **state)
{
	(void)state;
	struct disks *disks = disks_new(1024);
	struct tree *tree = tree_new();
	char *big = xmalloc(1000);

	assert_int_equal(generation_at(disks, tree, true, 0), 0); /* busy */
	disks_sweep(disks, 100000 * NS_PER_MS);
	assert_status(disks, tree, 0, 0);
	memset(big, 'x', 999);
	big[999] = '\0';
	publish(tree, 1, big, true);
	assert_left_out(disks, tree, false, 100000, 2);
	assert_status(disks, tree, 1, 2);
	assert_left_out(disks, tree, true, 100000, 2);
	assert_status(disks, tree, 2, 4);
	publish(tree, 2, "small", true);
	assert_left_out(disks, tree, false, 200000, 0);
	assert_status(disks, tree, 1, 2);
	/* what is known of a VM goes with it */
	publish(tree, 3, big, true);
	assert_left_out(disks, tree, false, 300000, 2);
	assert_status(disks, tree, 2, 4);
	publish(tree, 4, big, false);
	assert_status(disks, tree, 1, 2);
	/* another size: all of it is old */
	disks_set_size(disks, DISK_BLOCK_BYTES, 350000 * NS_PER_MS);
	assert_status(disks, tree, 0, 0);
	assert_left_out(disks, tree, true, 400000, 0);
	free(big);
	disks_free(disks);
	tree_free(tree);
}

/* An image costs memory while it is read. */
static void images_are_forgotten(void **state)
{
	(void)state;
	struct disks *disks = disks_new(DISK_BLOCK_BYTES);
	struct tree *tree = tree_new();

	publish(tree, 1, "one", false);
	assert_int_equal(generation_at(disks, tree, true, 10000), 1);
	publish(tree, 2, "two", false);
	disks_sweep(disks, 15000 * NS_PER_MS);
	assert_int_equal(generation_at(disks, tree, false, 15000), 1);
	disks_sweep(disks, 40000 * NS_PER_MS);
	assert_int_equal(generation_at(disks, tree, false, 40000), 2);
	disks_free(disks);
	tree_free(tree);
}

static uint32_t sum_at(struct disks *disks, struct tree *tree, bool shared, int64_t ms)
{
	_cleanup_view_ struct view *view = tree_view(tree);
	struct disks_place place = { .key = 5, .view = view, .shared = shared };
	_cleanup_blob_ struct blob *image =
		disks_read(disks, &place, true, ms * NS_PER_MS);
	struct image_header h;

	assert_int_equal(image_parse_header(image->data, image->size, &h), 0);
	return h.checksum;
}

/* 12 and 21 have equal sums: no reader is to take one for the other, however rarely he comes. */
static void no_two_contents_in_a_row_have_equal_sums(void **state)
{
	(void)state;
	static const int64_t periods_ms[] = { 500, 5000, 9000, 12000, 60000, 3600000 };

	for (size_t i = 0; i < 2 * ARRAY_LEN(periods_ms); i++) {
		struct disks *disks = disks_new(DISK_BLOCK_BYTES);
		struct tree *tree = tree_new();
		int64_t ms = 10000;
		uint32_t last = 0;

		for (uint64_t n = 1; n < 60; n++) {
			publish(tree, n, n % 2 ? "12" : "21", true);
			disks_sweep(disks, ms * NS_PER_MS);
			uint32_t sum = sum_at(disks, tree, i % 2, ms);

			assert_int_not_equal(sum, last);
			last = sum;
			ms += periods_ms[i / 2];
		}
		disks_free(disks);
		tree_free(tree);
	}
}

/* ---- through the page cache ---- */

struct cached {
	struct disks *disks;
	struct tree *tree;
};

/* *@ret_keep_ms: for how long it may be kept. */
static int64_t time_and_keep_at(
	struct cached *c, pid_t reader, int64_t ms, int64_t *ret_keep_ms)
{
	struct view *view = tree_view(c->tree);
	struct disks_place place = {
		.key = 77, .view = view, .vm = view->n_vms ? view->vms[0] : NULL
	};
	int64_t time_ns =
		disks_time(c->disks, &place, reader, false, ms * NS_PER_MS, ret_keep_ms);

	*ret_keep_ms /= NS_PER_MS;
	view_unref(view);
	return time_ns;
}

static int64_t time_at(struct cached *c, pid_t reader, int64_t ms)
{
	int64_t keep_ms;

	return time_and_keep_at(c, reader, ms, &keep_ms);
}

static int64_t keep_at(struct cached *c, pid_t reader, int64_t ms)
{
	int64_t keep_ms;

	(void)time_and_keep_at(c, reader, ms, &keep_ms);
	return keep_ms;
}

static void open_at_ms(struct cached *c, int64_t ms)
{
	struct view *view = tree_view(c->tree);
	struct disks_place place = {
		.key = 77, .view = view, .vm = view->n_vms ? view->vms[0] : NULL
	};

	disks_time(c->disks, &place, 1, true, ms * NS_PER_MS, &(int64_t){ 0 });
	view_unref(view);
}

static void read_direct_at(struct cached *c, int64_t ms)
{
	struct view *view = tree_view(c->tree);
	struct disks_place place = {
		.key = 77, .view = view, .vm = view->n_vms ? view->vms[0] : NULL
	};

	blob_unref(disks_read(c->disks, &place, true, ms * NS_PER_MS));
	view_unref(view);
}

/* The generation of the image that a read through the page cache gets; 0: it says busy. */
static uint64_t cached_at(struct cached *c, pid_t reader, bool from_start, int64_t ms)
{
	struct view *view = tree_view(c->tree);
	struct disks_place place = {
		.key = 77, .view = view, .vm = view->n_vms ? view->vms[0] : NULL
	};
	struct blob *image =
		disks_read_cached(c->disks, &place, reader, from_start, ms * NS_PER_MS);
	struct image_header h;

	assert_int_equal(image_parse_header(image->data, image->size, &h), 0);
	uint64_t generation = h.busy ? 0 : image->generation;

	blob_unref(image);
	view_unref(view);
	return generation;
}

static void cached_init(struct cached *c)
{
	*c = (struct cached){ disks_new(DISK_BLOCK_BYTES), tree_new() };
	publish(c->tree, 1, "one", false);
}

static void cached_done(struct cached *c)
{
	disks_free(c->disks);
	tree_free(c->tree);
}

/* The time tells images apart; a disk that is being read keeps both. */
static void the_time_is_the_images_identity(void **state)
{
	(void)state;
	struct cached c;

	cached_init(&c);
	int64_t first = time_at(&c, 1, 10000);

	assert_int_equal(cached_at(&c, 1, true, 10000), 1);
	assert_int_equal(time_at(&c, 1, 10001), first);
	publish(c.tree, 2, "two", false);
	assert_int_equal(time_at(&c, 1, 10240), first); /* held */
	assert_int_equal(cached_at(&c, 1, false, 10240), 1);
	assert_int_equal(time_at(&c, 1, 10430), first); /* not quiet */
	/* asking does not count as reading */
	int64_t second = time_at(&c, 1, 10450);

	assert_true(second > first);
	assert_int_equal(cached_at(&c, 1, true, 10450), 2);
	/* nothing new */
	assert_int_equal(time_at(&c, 1, 12000), second);
	/* an older sample, published later */
	publish(c.tree, 3, "three", false);
	assert_true(time_at(&c, 1, 12500) > second);
	assert_int_equal(cached_at(&c, 1, false, 12500), 3);
	cached_done(&c);
}

/* Until somebody reads there is no image, and so nothing that could hold anything up. */
static void asking_for_the_time_makes_no_image(void **state)
{
	(void)state;
	struct cached c;

	cached_init(&c);
	int64_t last = time_at(&c, 1, 10000);

	for (uint64_t generation = 2; generation < 100; generation++) {
		publish(c.tree, generation, "text", false);
		int64_t now = time_at(&c, 1, 10000 + (int64_t)generation);

		assert_true(now != last);
		last = now;
	}
	assert_int_equal(disks_sweep(c.disks, 100000 * NS_PER_MS), 0);
	/* and the first read is of what was told */
	assert_int_equal(cached_at(&c, 1, true, 20000), 99);
	assert_int_equal(time_at(&c, 1, 20000), last);
	cached_done(&c);
}

/* A VM that starts or stops always has another time, and its disk goes on in time. */
static void a_disk_whose_vm_stops_has_another_time(void **state)
{
	(void)state;
	struct cached c;

	cached_init(&c);
	publish(c.tree, 2, "host", true);
	int64_t with = time_at(&c, 1, 10000);

	assert_int_equal(with & 1, 1);
	assert_int_equal(cached_at(&c, 1, true, 10000), 2);
	publish(c.tree, 3, "host", false);
	int64_t without = time_at(&c, 1, 10500);

	assert_true(without > with);
	assert_int_equal(without & 1, 0);
	assert_int_equal(cached_at(&c, 1, true, 10500), 3);
	publish(c.tree, 4, "host", true);
	assert_int_equal(time_at(&c, 1, 11000) & 1, 1);
	assert_int_equal(cached_at(&c, 1, true, 11000), 4);
	cached_done(&c);
}

/*
 * While one reader drops the pages of the old image, others who come must neither find some
 * of them beside the new header, nor be told that all are dropped.
 */
static void readers_who_come_together_find_nothing_torn(void **state)
{
	(void)state;
	struct cached c;

	cached_init(&c);
	assert_int_equal(cached_at(&c, 1, true, 10000), 1);
	publish(c.tree, 2, "two", false);
	int64_t first = time_at(&c, 1, 11000);

	/* alone he is in nobody's way */
	assert_int_equal(cached_at(&c, 1, true, 11001), 2);
	assert_int_equal(time_at(&c, 1, 11002), first);
	/* another: he drops them, too, and the header says busy for a moment */
	int64_t second = time_at(&c, 2, 11003);

	assert_true(second > first);
	assert_int_equal(cached_at(&c, 2, true, 11003), 0);
	assert_int_equal(cached_at(&c, 2, false, 11003), 2);
	assert_true(time_at(&c, 1, 11004) > second);
	second = time_at(&c, 2, 11024);
	int64_t settled = time_at(&c, 1, 11030);

	assert_true(settled > second);
	assert_int_equal(cached_at(&c, 2, true, 11030), 2);
	assert_int_equal(time_at(&c, 2, 11031), settled);
	assert_int_equal(time_at(&c, 3, 11032), settled);
	/* who comes later drops them as well, for the first may have got no processor */
	publish(c.tree, 3, "three", false);
	first = time_at(&c, 1, 12000);
	second = time_at(&c, 2, 12100);
	assert_true(second > first);
	assert_int_equal(cached_at(&c, 2, true, 12100), 3);
	assert_int_equal(time_at(&c, 1, 12101), second);
	cached_done(&c);
}

/* A QEMU that reads past the page cache does not ask for attributes each time. */
static void who_reads_past_the_page_cache_need_not_ask(void **state)
{
	(void)state;
	struct cached c;

	cached_init(&c);
	publish(c.tree, 2, "host", true);
	assert_int_equal(keep_at(&c, 1, 10000), 0); /* whoever it is, he may read */
	read_direct_at(&c, 10000);
	int64_t keep_ms, told = time_and_keep_at(&c, 1, 10001, &keep_ms);

	assert_in_range(keep_ms, 200, 300);
	/* another comes through the page cache, and has not asked */
	assert_int_equal(cached_at(&c, 2, true, 10002), 0);
	assert_int_equal(cached_at(&c, 2, false, 10002), 2);
	/* now they ask, and find the header that does not say busy */
	int64_t asked = time_and_keep_at(&c, 2, 10250, &keep_ms);

	assert_true(asked > told);
	assert_int_equal(keep_ms, 0);
	assert_int_equal(cached_at(&c, 2, true, 10250), 2);
	assert_int_equal(time_and_keep_at(&c, 1, 10251, &keep_ms), asked);
	assert_int_equal(keep_ms, 0);
	/* until nobody has read through it for a while */
	read_direct_at(&c, 25000);
	assert_int_equal(disks_sweep(c.disks, 25000 * NS_PER_MS), 1);
	assert_true(time_and_keep_at(&c, 1, 25001, &keep_ms) > asked);
	assert_in_range(keep_ms, 200, 300);
	cached_done(&c);
}

/* An administrator who looks at a VM's disk never finds it busy because of its QEMU. */
static void who_opens_a_disk_finds_it_not_busy(void **state)
{
	(void)state;
	struct cached c;

	cached_init(&c);
	publish(c.tree, 2, "host", true);
	read_direct_at(&c, 10000);
	assert_int_not_equal(keep_at(&c, 1, 10001), 0);
	open_at_ms(&c, 10002);
	assert_int_equal(keep_at(&c, 2, 10003), 0);
	assert_int_equal(keep_at(&c, 1, 10200), 0);
	assert_int_equal(cached_at(&c, 2, true, 10201), 2);
	cached_done(&c);
}

/* The pages that somebody has of it are not to stand beside those of the host's alone. */
static void a_vm_that_stops_while_its_time_is_kept_is_asked_for(void **state)
{
	(void)state;
	struct cached c;

	cached_init(&c);
	publish(c.tree, 2, "host", true);
	read_direct_at(&c, 10000);
	assert_int_not_equal(keep_at(&c, 1, 10001), 0);
	publish(c.tree, 3, "host", false);
	assert_int_equal(cached_at(&c, 2, true, 10002), 0);
	assert_int_equal(cached_at(&c, 2, false, 10002), 3);
	assert_int_equal(keep_at(&c, 2, 10250), 0);
	assert_int_equal(cached_at(&c, 2, true, 10250), 3);
	cached_done(&c);
}

/* ---- however many there are ---- */

static size_t forget_all(struct disks *disks)
{
	return disks_sweep(disks, 1000 * NS_PER_S);
}

static void disks_of_vms_that_do_not_run_are_one(void **state)
{
	(void)state;
	struct cached c;

	cached_init(&c);
	struct view *view = tree_view(c.tree);
	struct blob *direct = NULL, *cached = NULL;

	for (uint64_t key = 1000; key < 11000; key++) {
		struct disks_place place = { .key = key, .view = view };
		struct blob *image = disks_read(c.disks, &place, true, 10000 * NS_PER_MS);

		assert_true(!direct || image == direct);
		blob_unref(direct);
		direct = image;
		disks_time(c.disks, &place, 1, false, 10000 * NS_PER_MS, &(int64_t){ 0 });
		image = disks_read_cached(c.disks, &place, 1, true, 10000 * NS_PER_MS);
		assert_true(!cached || image == cached);
		blob_unref(cached);
		cached = image;
	}
	blob_unref(direct);
	blob_unref(cached);
	view_unref(view);
	assert_int_equal(forget_all(c.disks), 2);
	cached_done(&c);
}

/* Somebody reads on when the VM has stopped: it is one of all, and has another time. */
static void a_stopped_vms_disk_becomes_one_of_all(void **state)
{
	(void)state;
	struct cached c;

	cached_init(&c);
	publish(c.tree, 2, "host", true);
	assert_int_equal(time_at(&c, 1, 10000) & 1, 1);
	assert_int_equal(cached_at(&c, 1, true, 10000), 2);
	publish(c.tree, 3, "host", false);
	for (int64_t ms = 10001; ms < 21000; ms += 100) {
		assert_int_equal(time_at(&c, 1, ms) & 1, 0);
		assert_int_equal(cached_at(&c, 1, true, ms), 3);
	}
	assert_int_equal(disks_sweep(c.disks, 21000 * NS_PER_MS), 0);
	publish(c.tree, 4, "host", true);
	assert_int_equal(time_at(&c, 1, 21000) & 1, 1);
	assert_int_equal(cached_at(&c, 1, true, 21000), 4);
	assert_int_equal(forget_all(c.disks), 2);
	cached_done(&c);
}

/*
 * The kernel may still have the busy header of a latch that was forgotten, at the time that
 * was told last: no other image may have that time.
 */
static void no_time_is_used_twice(void **state)
{
	(void)state;
	struct cached c;

	cached_init(&c);
	int64_t last = 0;

	for (int64_t ms = 10000; ms < 100000; ms += 20000) {
		assert_int_equal(cached_at(&c, 1, true, ms), 1);
		assert_true(time_at(&c, 1, ms) > last);
		last = time_at(&c, 2, ms + 1);
		assert_int_equal(cached_at(&c, 2, true, ms + 1), 0);
		assert_int_equal(disks_sweep(c.disks, (ms + 15000) * NS_PER_MS), 1);
	}
	cached_done(&c);
}

static void readers_of_the_shared_disk_are_bounded(void **state)
{
	(void)state;
	struct cached c;

	cached_init(&c);
	publish(c.tree, 2, "host", true);
	for (int64_t ms = 10000; ms < 13000; ms += 10) {
		struct view *view = tree_view(c.tree);

		for (uint64_t key = 1000; key < 1500; key++) {
			struct disks_place place = {
				.key = key, .view = view, .shared = true
			};

			blob_unref(disks_read(c.disks, &place, true, ms * NS_PER_MS));
		}
		view_unref(view);
		publish(c.tree, (uint64_t)ms, "host", true);
	}
	/* who has none of his own reads on, and sees news */
	struct view *view = tree_view(c.tree);
	struct disks_place place = { .key = 1499, .view = view, .shared = true };
	struct blob *image = disks_read(c.disks, &place, true, 16000 * NS_PER_MS);

	assert_int_equal(image->generation, view->generation);
	blob_unref(image);
	view_unref(view);
	assert_int_equal(forget_all(c.disks), 64 + 2 + 1);
	cached_done(&c);
}

/* Readers who come at different times have a latch each, but not an image each. */
static void the_shared_image_is_made_once_in_a_while(void **state)
{
	(void)state;
	struct cached c;
	struct blob *last = NULL;
	unsigned n = 0;

	cached_init(&c);
	for (int64_t ms = 10000; ms < 12000; ms++) {
		publish(c.tree, (uint64_t)ms, "host", true);
		struct view *view = tree_view(c.tree);
		struct disks_place place = {
			.key = 1000 + (uint64_t)ms % 50, .view = view, .shared = true
		};
		struct blob *image = disks_read(c.disks, &place, true, ms * NS_PER_MS);

		assert_true((int64_t)image->generation > ms - 1500);
		n += !last || image->generation > last->generation;
		if (last && image->generation < last->generation) {
			blob_unref(image);
		} else {
			blob_unref(last);
			last = image;
		}
		view_unref(view);
	}
	assert_in_range(n, 2, 2000 / 200 + 1);
	blob_unref(last);
	cached_done(&c);
}

/* Readers of many disks, a publisher, a change of size: nothing torn, nothing leaked. */
struct race {
	struct tree *tree;
	struct disks *disks;
	_Atomic bool stop;
};

static void *disk_reader(void *arg)
{
	struct race *race = arg;

	for (uint64_t key = 0; !atomic_load(&race->stop); key = (key + 1) % 7) {
		struct view *view = tree_view(race->tree);
		struct disks_place place = { .key = key,
			.view = view,
			.vm = key || !view->n_vms ? NULL : view->vms[0],
			.shared = key == 1 };
		struct image_header h;
		pid_t self = (pid_t)(uintptr_t)&h % 1000 + 1;
		bool cached = key == 2 || key == 3;

		if (cached)
			disks_time(race->disks, &place, self, key == 2, clock_mono_ns(),
				&(int64_t){ 0 });
		struct blob *image = cached
			? disks_read_cached(
				  race->disks, &place, self, key % 2, clock_mono_ns())
			: disks_read(race->disks, &place, key % 2, clock_mono_ns());

		assert_int_equal(image_parse_header(image->data, image->size, &h), 0);
		assert_int_equal(h.length, image->size - IMAGE_HEADER_BYTES);
		assert_int_equal(h.checksum,
			image_checksum(image->data + IMAGE_HEADER_BYTES, h.length));
		blob_unref(image);
		view_unref(view);
	}
	return NULL;
}

static void readers_race_with_updates(void **state)
{
	(void)state;
	struct race race = { .tree = tree_new(), .disks = disks_new(DISK_BLOCK_BYTES) };
	pthread_t threads[3];

	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, disk_reader, &race), 0);
	for (uint64_t gen = 1; gen < 500; gen++) {
		publish(race.tree, gen, gen % 2 ? "12" : "21", gen % 3);
		disks_set_size(
			race.disks, DISK_BLOCK_BYTES * (1 + gen % 2), (int64_t)gen);
	}
	atomic_store(&race.stop, true);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		pthread_join(threads[i], NULL);
	disks_free(race.disks);
	tree_free(race.tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_disk_being_read_does_not_move),
		cmocka_unit_test(a_tireless_reader_never_starts_over),
		cmocka_unit_test(a_disk_that_is_too_small_leaves_metrics_out),
		cmocka_unit_test(images_are_forgotten),
		cmocka_unit_test(no_two_contents_in_a_row_have_equal_sums),
		cmocka_unit_test(the_time_is_the_images_identity),
		cmocka_unit_test(asking_for_the_time_makes_no_image),
		cmocka_unit_test(a_disk_whose_vm_stops_has_another_time),
		cmocka_unit_test(readers_who_come_together_find_nothing_torn),
		cmocka_unit_test(who_reads_past_the_page_cache_need_not_ask),
		cmocka_unit_test(who_opens_a_disk_finds_it_not_busy),
		cmocka_unit_test(a_vm_that_stops_while_its_time_is_kept_is_asked_for),
		cmocka_unit_test(disks_of_vms_that_do_not_run_are_one),
		cmocka_unit_test(a_stopped_vms_disk_becomes_one_of_all),
		cmocka_unit_test(no_time_is_used_twice),
		cmocka_unit_test(readers_of_the_shared_disk_are_bounded),
		cmocka_unit_test(the_shared_image_is_made_once_in_a_while),
		cmocka_unit_test(readers_race_with_updates),
	};

	return cmocka_run_group_tests(tests, make_specs, drop_specs);
}

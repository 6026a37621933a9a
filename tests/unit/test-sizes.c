/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What becomes of the disks of VMs that run when <size> changes. */
#include "test.h"
#include "specs.h"

#include <stdlib.h>
#include <string.h>

#include "core/blob.h"
#include "core/metric_list.h"
#include "core/sizes.h"
#include "core/snapshot.h"
#include "mdisk/disks.h"
#include "mdisk/image.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/limits.h"

/* The same without a thought: every size that there ever was. */
struct history {
	struct {
		int64_t until_ns;
		uint64_t bytes;
	} past[400];
	size_t n;
	uint64_t now_bytes;
};

static uint64_t history_since(const struct history *h, int64_t since_ns)
{
	uint64_t bytes = h->now_bytes;

	for (size_t i = 0; i < h->n; i++)
		if (h->past[i].until_ns >= since_ns && h->past[i].bytes < bytes)
			bytes = h->past[i].bytes;
	return bytes;
}

static void the_smallest_since_then_is_known(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 50; seed++) {
		struct history h = { .now_bytes = 100 };
		struct sizes sizes;
		unsigned random = seed;

		sizes_init(&sizes, 100);
		for (int64_t now = 1; now <= (int64_t)ARRAY_LEN(h.past); now++) {
			uint64_t bytes = 1 + (uint64_t)rand_r(&random) % 20;

			assert_int_equal(sizes_set(&sizes, bytes, now), h.now_bytes);
			h.past[h.n].until_ns = now;
			h.past[h.n++].bytes = h.now_bytes;
			h.now_bytes = bytes;
			assert_int_equal(sizes_now(&sizes), bytes);
			for (int i = 0; i < 5; i++) {
				int64_t since = rand_r(&random) % (now + 3);

				assert_int_equal(sizes_since(&sizes, since),
					history_since(&h, since));
			}
		}
		assert_true(sizes.n <= 20);
		sizes_done(&sizes);
	}
}

/* ---- documents ---- */

#define SMALL DISK_BLOCK_BYTES
#define RAISED_NS (100 * NS_PER_S)

struct stage {
	struct spec_set *specs;
	struct disks *disks;
	struct tree *tree;
	uint64_t generation;
	int64_t now_ns;
};

static void stage_init(struct stage *s)
{
	*s = (struct stage){ .specs = specs_named(METRIC_STRING,
				     (const char *const[]){ "one", "two", NULL }),
		.disks = disks_new(SMALL),
		.tree = tree_new(),
		.now_ns = RAISED_NS };
	disks_set_size(s->disks, 4 * SMALL, RAISED_NS);
}

static void stage_done(struct stage *s)
{
	disks_free(s->disks);
	tree_free(s->tree);
	spec_set_unref(s->specs);
}

/* VMs that started then, each with more than a small disk has room for. */
static void publish(struct stage *s, const int64_t *started_ns, size_t n)
{
	struct snapshot *vms[4];
	static char text[SMALL / 2];

	memset(text, 'x', sizeof(text) - 1);
	const struct value v = value_string(text), none = value_string("");

	s->generation++;
	for (size_t i = 0; i <= n; i++) {
		struct metric_list_builder *b =
			metric_list_builder_new(s->specs, (int64_t)s->generation);
		struct vm_ident vm = { .uuid = { { (unsigned char)(i + 1) } },
			.id = (int)i + 1,
			.name = "vm" };

		metric_list_builder_add(b, 0, NULL, i < n ? &v : &none);
		metric_list_builder_add(b, 1, NULL, i < n ? &v : &none);
		struct metric_list *list = metric_list_builder_finish(b);
		struct snapshot *snapshot =
			snapshot_new(i < n ? &vm : NULL, s->generation, &list, 1, 1);

		metric_list_unref(list);
		if (i < n) {
			snapshot->started_mono_ns = started_ns[i];
			vms[i] = snapshot;
		} else {
			tree_publish(s->tree, s->generation, snapshot, vms, n);
		}
	}
}

/* How long the next image is; header and content agree. */
static size_t image_bytes(struct stage *s, bool shared, size_t vm)
{
	_cleanup_view_ struct view *view = tree_view(s->tree);
	const struct disks_place place = { .key = 100 + vm,
		.view = view,
		.vm = shared ? NULL : view->vms[vm],
		.shared = shared };

	s->now_ns += 10 * NS_PER_S;
	_cleanup_blob_ struct blob *image = disks_read(s->disks, &place, true, s->now_ns);
	struct image_header h;

	assert_int_equal(image_parse_header(image->data, image->size, &h), 0);
	assert_int_equal(h.length, image->size - IMAGE_HEADER_BYTES);
	assert_int_equal(
		h.checksum, image_checksum(image->data + IMAGE_HEADER_BYTES, h.length));
	assert_non_null(strstr(image->data + IMAGE_HEADER_BYTES, "</metrics>\n"));
	return image->size;
}

static void a_vm_that_ran_before_finds_a_whole_document(void **state)
{
	(void)state;
	/* before, nobody knows, after */
	static const int64_t started[] = { RAISED_NS - 1, 0, RAISED_NS + NS_PER_S };
	struct stage s;

	stage_init(&s);
	assert_int_equal(disks_size(s.disks), 4 * SMALL);
	for (int i = 0; i < 3; i++) {
		publish(&s, started, ARRAY_LEN(started));
		assert_true(image_bytes(&s, false, 0) <= SMALL);
		assert_true(image_bytes(&s, false, 1) <= SMALL);
		assert_true(image_bytes(&s, false, 2) > SMALL);
	}
	/* a later reload, to whatever, makes it no larger */
	disks_set_size(s.disks, 8 * SMALL, s.now_ns);
	publish(&s, started, ARRAY_LEN(started));
	assert_true(image_bytes(&s, false, 0) <= SMALL);
	assert_true(image_bytes(&s, false, 2) > SMALL);
	stage_done(&s);
}

/* Any VM may have it. */
static void the_shared_disk_grows_when_the_last_that_ran_before_is_gone(void **state)
{
	(void)state;
	static const int64_t started[] = { RAISED_NS + NS_PER_S, RAISED_NS - 1 };
	struct stage s;

	stage_init(&s);
	publish(&s, started, 2);
	assert_true(image_bytes(&s, true, 0) <= SMALL);
	publish(&s, started, 1);
	assert_true(image_bytes(&s, true, 0) > SMALL);
	stage_done(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_smallest_since_then_is_known),
		cmocka_unit_test(a_vm_that_ran_before_finds_a_whole_document),
		cmocka_unit_test(
			the_shared_disk_grows_when_the_last_that_ran_before_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

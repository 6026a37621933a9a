/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The file tree without a mount: identities, listings, sizes that fit what is read. */
#include "test.h"
#include "specs.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/blob.h"
#include "core/metric_list.h"
#include "core/snapshot.h"
#include "fs/content.h"
#include "fs/node.h"
#include "mdisk/disks.h"
#include "util/cleanup.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/strbuf.h"

#define N_VMS 50u

static struct spec_set *specs;
static const struct node_config all = { .shared_disk = true, .disks = true };

static int make_specs(void **state)
{
	(void)state;
	specs = specs_named(METRIC_UINT64, (const char *const[]){ "n", "a/b", NULL });
	return 0;
}

static int drop_specs(void **state)
{
	(void)state;
	spec_set_unref(specs);
	return 0;
}

static struct metric_list *make_list(uint64_t n)
{
	struct metric_list_builder *b = metric_list_builder_new(specs, 1000);
	struct value v = value_u64(n);

	metric_list_builder_add(b, 0, NULL, &v);
	metric_list_builder_add(b, 1, NULL, NULL);
	return metric_list_builder_finish(b);
}

/* A host and VMs "vm<first>" to "vm<first + n - 1>", all with metric n = @value. */
static void publish(struct tree *tree, uint64_t generation, unsigned first, unsigned n,
	uint64_t value)
{
	struct metric_list *list = make_list(value);
	struct snapshot *vms[N_VMS];

	for (unsigned i = 0; i < n; i++) {
		char name[16];
		struct vm_ident vm = { .id = (int)(first + i) + 1, .name = name };

		snprintf(name, sizeof(name), "vm%u", first + i);
		vm.uuid.b[15] = (uint8_t)(first + i);
		vms[i] = snapshot_new(&vm, generation, &list, 1, 1);
	}
	tree_publish(
		tree, generation, snapshot_new(NULL, generation, &list, 1, 1), vms, n);
	metric_list_unref(list);
}

/* Ids mean the same to another process: here, to an index that never saw them. */
static void ids_are_functions_of_names(void **state)
{
	(void)state;
	struct tree *tree = tree_new();
	struct node_index *first = node_index_new(), *second = node_index_new();
	struct node root, metrics, vms, vm, metric, again;

	publish(tree, 1, 0, 3, 5);
	struct view *view = tree_view(tree);

	assert_int_equal(node_resolve(first, &all, view, NODE_ROOT, &root), 0);
	assert_int_equal(node_lookup(first, &all, view, &root, "metrics", &metrics), 0);
	assert_int_equal(node_lookup(first, &all, view, &metrics, "vm", &vms), 0);
	assert_int_equal(node_lookup(first, &all, view, &vms, "vm2", &vm), 0);
	assert_int_equal(node_lookup(first, &all, view, &vm, "a%2Fb", &metric), 0);
	assert_int_equal(node_lookup(first, &all, view, &vm, "a/b", &again), 0);
	assert_int_equal(node_lookup(first, &all, view, &vm, "c", &again), -ENOENT);
	assert_int_equal(node_lookup(first, &all, view, &metric, "c", &again), -ENOTDIR);
	assert_int_equal(node_resolve(second, &all, view, metric.id, &again), 0);
	assert_ptr_equal(again.metric, metric.metric);
	assert_int_equal(node_resolve(second, &all, view, vm.id, &again), 0);
	assert_ptr_equal(again.scope, vm.scope);
	assert_int_equal(
		node_resolve(second, &all, view, metric.id ^ 1, &again), -ENOENT);
	assert_int_equal(node_resolve(second, &all, view, 0, &again), -ENOENT);
	assert_int_equal(node_resolve(second, &all, view, 99, &again), -ENOENT);
	assert_int_equal(node_resolve(second, &all, view, UINT64_MAX, &again), -ENOENT);
	view_unref(view);

	/* the VM is gone, and so is its metric; another generation brings it back */
	publish(tree, 2, 10, 3, 5);
	view = tree_view(tree);
	assert_int_equal(node_resolve(first, &all, view, metric.id, &again), -ENOENT);
	assert_int_equal(node_resolve(first, &all, view, vm.id, &again), -ENOENT);
	view_unref(view);
	publish(tree, 3, 0, 3, 5);
	view = tree_view(tree);
	assert_int_equal(node_resolve(first, &all, view, metric.id, &again), 0);
	view_unref(view);
	node_index_free(first);
	node_index_free(second);
	tree_free(tree);
}

static void any_well_formed_uuid_has_a_disk(void **state)
{
	(void)state;
	struct tree *tree = tree_new();
	struct node_index *index = node_index_new();
	struct view *view = tree_view(tree);
	struct node dir, disk, upper;
	struct node_config none = { 0 };

	assert_int_equal(node_resolve(index, &all, view, NODE_DISKS, &dir), 0);
	assert_int_equal(node_lookup(index, &all, view, &dir,
				 "6be3fdb8-bef5-6fec-b1b7-e61bbceab708.img", &disk),
		0);
	assert_null(disk.scope);
	assert_int_equal(node_lookup(index, &all, view, &dir,
				 "6BE3FDB8-BEF5-6FEC-B1B7-E61BBCEAB708.img", &upper),
		0);
	assert_true(upper.id == disk.id);
	assert_int_equal(node_resolve(index, &all, view, disk.id, &upper), 0);
	assert_int_equal(node_lookup(index, &all, view, &dir, "x.img", &upper), -ENOENT);
	assert_int_equal(node_lookup(index, &all, view, &dir,
				 "6be3fdb8-bef5-6fec-b1b7-e61bbceab708.imh", &upper),
		-ENOENT);
	assert_int_equal(node_lookup(index, &all, view, &dir, "vhostmd0.img", &upper), 0);
	assert_int_equal(
		node_resolve(index, &none, view, NODE_SHARED_DISK, &upper), -ENOENT);
	assert_int_equal(node_resolve(index, &none, view, disk.id, &upper), -ENOENT);
	view_unref(view);
	node_index_free(index);
	tree_free(tree);
}

/*
 * A directory that changes while it is read in small pieces: what is there all the time is
 * listed exactly once.
 */
static void listings_survive_changes(void **state)
{
	(void)state;
	struct tree *tree = tree_new();
	struct node_index *index = node_index_new();
	unsigned seen[N_VMS] = { 0 };
	uint64_t after = 0;

	for (uint64_t generation = 1;; generation++) {
		/* vm0 to vm9 come and go, the others stay */
		publish(tree, generation, generation % 2 ? 0 : 10,
			generation % 2 ? N_VMS : N_VMS - 10, 1);
		struct view *view = tree_view(tree);
		struct node_entry *entries = NULL;
		struct node dir;
		size_t n = 0;

		assert_int_equal(node_resolve(index, &all, view, NODE_VMS, &dir), 0);
		assert_int_equal(
			node_list(index, &all, view, &dir, after, &entries, &n), 0);
		for (size_t i = 0; i < n && i < 3; i++) {
			assert_true(entries[i].offset > after &&
				entries[i].offset <= INT64_MAX);
			after = entries[i].offset;
			if (entries[i].name[0] == 'v')
				seen[strtoul(entries[i].name + 2, NULL, 10)]++;
		}
		node_entries_free(entries, n);
		view_unref(view);
		if (!n)
			break;
	}
	for (unsigned i = 10; i < N_VMS; i++)
		assert_int_equal(seen[i], 1);
	node_index_free(index);
	tree_free(tree);
}

static void no_status(void *ctx, struct strbuf *out)
{
	(void)ctx;
	strbuf_adds(out, "ok\n");
}

static size_t read_size(struct content *c, uint64_t id, uint64_t offset, size_t size,
	char *ret, size_t *ret_zeros)
{
	struct blob *blob = NULL;
	const char *data = NULL;
	size_t n = 0;

	assert_int_equal(
		content_read(c, id, 1, offset, size, &blob, &data, &n, ret_zeros), 0);
	if (ret)
		memcpy(ret, data, n);
	blob_unref(blob);
	return n;
}

/* One process that reads with two threads, as programs in Go do. */
struct other_thread {
	struct content *c;
	uint64_t id, offset;
	size_t size;
	char text[4096];
};

static void *read_rest(void *arg)
{
	struct other_thread *t = arg;
	struct blob *blob = NULL;
	const char *data = NULL;
	size_t zeros = 0;

	assert_int_equal(content_read(t->c, t->id, gettid(), t->offset, sizeof(t->text),
				 &blob, &data, &t->size, &zeros),
		0);
	memcpy(t->text, data, t->size);
	blob_unref(blob);
	return NULL;
}

static void threads_of_a_process_read_one_rendering(void **state)
{
	(void)state;
	struct tree *tree = tree_new();
	struct disks *disks = disks_new(DISK_BLOCK_BYTES);
	struct content_config config = { .nodes = all, .mode = 0444 };
	struct content *c = content_new(tree, disks, &config, no_status, NULL);
	struct other_thread *t = xcalloc(1, sizeof(*t));
	struct stat st;
	pthread_t thread;

	publish(tree, 1, 0, 1, 9);
	assert_int_equal(content_lookup(c, NODE_ROOT, "metrics.xml", gettid(), &st), 0);
	publish(tree, 2, 0, 3, 123456789);
	*t = (struct other_thread){ .c = c, .id = st.st_ino, .offset = 20 };
	assert_int_equal(pthread_create(&thread, NULL, read_rest, t), 0);
	pthread_join(thread, NULL);
	assert_int_equal(t->size + 20, st.st_size);
	assert_null(memmem(t->text, t->size, "123456789", 9));
	free(t);
	content_free(c);
	disks_free(disks);
	tree_free(tree);
}

/* The bytes that are read are those whose size was told, whatever came in between. */
static void what_is_read_is_what_was_told(void **state)
{
	(void)state;
	struct tree *tree = tree_new();
	struct disks *disks = disks_new(DISK_BLOCK_BYTES);
	struct content_config config = { .nodes = all, .mode = 0444 };
	struct content *c = content_new(tree, disks, &config, no_status, NULL);
	struct stat st;
	bool direct = false;
	size_t zeros = 0;
	char buf[64];

	publish(tree, 1, 0, 1, 9);
	assert_int_equal(content_lookup(c, NODE_HOST, "n", 1, &st), 0);
	assert_int_equal(st.st_size, 2);
	publish(tree, 2, 0, 1, 1000);
	assert_int_equal(read_size(c, st.st_ino, 0, sizeof(buf), buf, &zeros), 2);
	assert_memory_equal(buf, "9\n", 2);
	/* he looks for the end now: not the tail of a longer value may be there */
	assert_int_equal(content_stat(c, st.st_ino, 1, &st), 0);
	assert_int_equal(st.st_size, 2);
	for (int tries = 0; st.st_size == 2 && tries < 1000; tries++) {
		poll(NULL, 0, 5);
		assert_int_equal(content_stat(c, st.st_ino, 1, &st), 0);
	}
	assert_int_equal(st.st_size, 5);
	assert_int_equal(read_size(c, st.st_ino, 0, sizeof(buf), buf, &zeros), 5);
	assert_memory_equal(buf, "1000\n", 5);
	assert_int_equal(read_size(c, st.st_ino, 3, 1, buf, &zeros), 1);
	assert_int_equal(read_size(c, st.st_ino, 5, 10, NULL, &zeros), 0);
	assert_int_equal(read_size(c, st.st_ino, UINT64_MAX, SIZE_MAX, NULL, &zeros), 0);

	/* documents: each reader has a rendering of its own, from his first question on */
	struct stat mine, other;
	char before[4096], after[4096];

	assert_int_equal(content_lookup(c, NODE_ROOT, "metrics.xml", 1, &mine), 0);
	size_t half = (size_t)mine.st_size / 2;
	size_t got = read_size(c, mine.st_ino, 0, half, before, &zeros);

	publish(tree, 3, 0, 3, 123456789);
	assert_int_equal(content_lookup(c, NODE_ROOT, "metrics.xml", 2, &other), 0);
	assert_true(other.st_size > mine.st_size);
	got += read_size(c, mine.st_ino, got, sizeof(before) - got, before + got, &zeros);
	assert_int_equal(got, mine.st_size);
	assert_memory_equal(before + got - 11, "</metrics>\n", 11);
	assert_null(memmem(before, got, "123456789", 9));
	/* the end stays the end, also for those who look twice */
	assert_int_equal(read_size(c, mine.st_ino, got, 10, NULL, &zeros), 0);
	assert_int_equal(read_size(c, mine.st_ino, got, 10, NULL, &zeros), 0);
	assert_int_equal(content_lookup(c, NODE_ROOT, "metrics.xml", 3, &mine), 0);
	assert_int_equal(mine.st_size, other.st_size);
	got = read_size(c, NODE_STATUS, 0, sizeof(after), after, &zeros);
	assert_memory_equal(after, "ok\n", got);

	/* unavailable */
	assert_int_equal(content_lookup(c, NODE_HOST, "a%2Fb", 1, &st), 0);
	assert_int_equal(st.st_size, 1); /* so that a read reaches us, and fails */
	assert_int_equal(content_open(c, st.st_ino, &direct), -ENODATA);
	assert_int_equal(content_open(c, NODE_HOST, &direct), -EISDIR);
	assert_int_equal(content_open(c, 77, &direct), -ENOENT);

	/* disks: constant size, zeros to the end, any block size */
	assert_int_equal(content_lookup(c, NODE_DISKS, "vhostmd0.img", 1, &st), 0);
	assert_int_equal(st.st_size, DISK_BLOCK_BYTES);
	size_t n = read_size(c, st.st_ino, 0, 1u << 20, NULL, &zeros);

	assert_int_equal(n + zeros, DISK_BLOCK_BYTES);
	assert_true(n > 16);
	assert_int_equal(read_size(c, st.st_ino, 1, 1, NULL, &zeros), 1);
	assert_int_equal(read_size(c, st.st_ino, n - 1, 2, NULL, &zeros), 1);
	assert_int_equal(zeros, 1);
	assert_int_equal(
		read_size(c, st.st_ino, DISK_BLOCK_BYTES - 1, 512, NULL, &zeros), 0);
	assert_int_equal(zeros, 1);
	assert_int_equal(read_size(c, st.st_ino, DISK_BLOCK_BYTES, 512, NULL, &zeros), 0);
	assert_int_equal(zeros, 0);
	content_free(c);
	disks_free(disks);
	tree_free(tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_are_functions_of_names),
		cmocka_unit_test(any_well_formed_uuid_has_a_disk),
		cmocka_unit_test(listings_survive_changes),
		cmocka_unit_test(what_is_read_is_what_was_told),
		cmocka_unit_test(threads_of_a_process_read_one_rendering),
	};

	return cmocka_run_group_tests(tests, make_specs, drop_specs);
}

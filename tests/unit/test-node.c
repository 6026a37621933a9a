/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The file tree as arithmetic: identities, names, listings. */
#include "test.h"
#include "tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/mem.h"
#include "util/strbuf.h"

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
			node_list(index, &all, view, &dir, after, 3, &entries, &n), 0);
		assert_true(n <= 3);
		for (size_t i = 0; i < n; i++) {
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

/* In pages of any size a listing is what it is as a whole. */
static void listings_come_in_pages(void **state)
{
	(void)state;
	static const enum node_kind dirs[] = { NODE_ROOT, NODE_METRICS, NODE_HOST,
		NODE_VMS, NODE_BY_UUID, NODE_BY_ID, NODE_DISKS };
	struct tree *tree = tree_new();
	struct node_index *index = node_index_new();

	publish(tree, 1, 0, N_VMS, 1);
	struct view *view = tree_view(tree);

	for (size_t d = 0; d < ARRAY_LEN(dirs); d++) {
		struct node_entry *whole = NULL, *page = NULL;
		struct node dir;
		size_t n = 0, n_page = 0;

		assert_int_equal(node_resolve(index, &all, view, dirs[d], &dir), 0);
		assert_int_equal(
			node_list(index, &all, view, &dir, 0, SIZE_MAX, &whole, &n), 0);
		assert_true(n > 2);
		for (size_t max = 1; max < n + 2; max++)
			for (size_t i = 0; i < n; i += n_page) {
				uint64_t after = i ? whole[i - 1].offset : 0;

				node_list(index, &all, view, &dir, after, max, &page,
					&n_page);
				assert_int_equal(n_page, max < n - i ? max : n - i);
				for (size_t k = 0; k < n_page; k++) {
					assert_string_equal(
						page[k].name, whole[i + k].name);
					assert_true(
						page[k].node.id == whole[i + k].node.id);
				}
				node_entries_free(page, n_page);
			}
		node_entries_free(whole, n);
	}
	view_unref(view);
	node_index_free(index);
	tree_free(tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_are_functions_of_names),
		cmocka_unit_test(any_well_formed_uuid_has_a_disk),
		cmocka_unit_test(listings_survive_changes),
		cmocka_unit_test(listings_come_in_pages),
	};

	return cmocka_run_group_tests(tests, make_specs, drop_specs);
}

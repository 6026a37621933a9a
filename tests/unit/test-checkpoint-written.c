/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* model: what is not left to the next process, so that it takes all the rest. */
#include "handed-on.h"
#include "test.h"

#include "model/checkpoint.h"
#include "model/run.h"
#include "util/cleanup.h"

/* A name or an index of no bytes, or a VM without an id: all else would be refused with it. */
static void what_would_be_refused_is_not_written(void **state)
{
	(void)state;
	_cleanup_plan_ struct plan *plan = checkpoint_plan();
	struct metric_list *host = host_list(plan, 0.25);
	struct tree *tree = tree_new();
	struct checkpoint *cp = NULL;
	uint8_t buf[8192];
	size_t needed = 0;
	struct value v = value_u64(3), text = value_string("");
	static const struct vm_ident odd[] = {
		{ .uuid = { { 3 } }, .id = -1, .name = "no id" },
		{ .uuid = { { 4 } }, .id = 4, .name = "" },
		{ .uuid = { { 5 } }, .id = 5, .name = "odd" },
	};

	struct snapshot *vms[ARRAY_LEN(odd)];

	tree_publish(tree, 5, snapshot_new(NULL, 5, &host, 1, fake_ns - 9), NULL, 0);
	metric_list_unref(host);
	struct view *view = tree_view(tree);
	struct checkpoint_writer *w = checkpoint_writer_new(buf, sizeof(buf), plan, view);

	checkpoint_writer_add(w, view->host, NULL, NULL);
	for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
		struct metric_list_builder *b =
			metric_list_builder_new(plan->specs, fake_ns);
		_cleanup_run_ struct run *run = run_new(&odd[i], HYPERVISOR_QEMU);

		metric_list_builder_add(b, CPU_TIME, NULL, &v);
		metric_list_builder_add(b, VCPU_TIME, "", &v);
		metric_list_builder_add_named(b, XML, "", NULL, METRIC_STRING, &text);
		struct metric_list *list = metric_list_builder_finish(b);
		vms[i] = snapshot_new(&odd[i], 5, &list, 1, 1);
		metric_list_unref(list);
		checkpoint_writer_add(w, vms[i], run, NULL);
	}
	size_t size = checkpoint_writer_finish(w, &needed);

	assert_int_equal(checkpoint_load(buf, size, plan, &cp), 0);
	assert_int_equal(cp->host.list->n, 3);
	assert_int_equal(cp->n_vms, 1);
	assert_int_equal(cp->vms[0].ident.id, 5);
	assert_int_equal(cp->vms[0].list->n, 1);
	checkpoint_free(cp);
	for (size_t i = 0; i < ARRAY_LEN(vms); i++)
		snapshot_unref(vms[i]);
	view_unref(view);
	tree_free(tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_would_be_refused_is_not_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The board; libvirt's in-process driver. */
#include "plans.h"
#include "samples.h"

#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>

#include "collect/kernel/sampler.h"
#include "collect/libvirt/connection.h"
#include "model/board.h"
#include "model/description.h"
#include "model/registry.h"
#include "util/clock.h"

static struct snapshot *find_vm(const struct view *view, const char *name)
{
	for (size_t i = 0; i < view->n_vms; i++)
		if (!strcmp(view->vms[i]->vm.name, name))
			return view->vms[i];
	return NULL;
}

static _Atomic int described;

static void on_event(void *ctx, enum registry_event event, struct run *run)
{
	struct registry *registry = ctx;

	if (event != RUN_DESCRIBED)
		return;
	_cleanup_description_ struct description *d = registry_description(registry, run);

	assert_null(d->channel_path);
	atomic_fetch_add(&described, 1);
}

/* libvirt's test driver: one running domain named "test", state statistics only. */
static bool fill_nothing(void *ctx, struct fact *facts, struct strbuf *product)
{
	(void)ctx;
	(void)facts;
	(void)product;
	return false;
}

static void on_connected(void *ctx)
{
	sampler_kick(ctx);
}

static void libvirt_test_driver_serves_what_it_can(void **state)
{
	(void)state;
	struct spec_set *specs = all_of(COLLECTOR_LIBVIRT);
	struct tree *tree = tree_new();
	struct registry *registry = registry_new();
	_cleanup_plan_ struct plan *plan = plan_of(specs);
	struct board *board = board_new(tree, registry, plan);
	_cleanup_close_ int root_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct sampler_params sp = {
		.board = board, .registry = registry, .root_fd = root_fd
	};
	struct sampler *sampler = sampler_new(&sp);
	struct virt_params params = { .board = board,
		.registry = registry,
		.uri = "test:///default",
		.on_connected = on_connected,
		.ctx = sampler };
	struct virt *virt = NULL;

	assert_int_equal(sampler_start(sampler, fill_nothing, NULL), 0);
	registry_subscribe(registry, (struct registry_listener){ on_event, registry });
	assert_int_equal(virt_start(&params, &virt), 0);
	int64_t deadline = clock_mono_ns() + 20 * NS_PER_S;
	bool found = false;

	while (!found && clock_mono_ns() < deadline) {
		struct view *view = tree_view(tree);
		struct snapshot *vm = find_vm(view, "test");
		const struct metric *m = vm ? snapshot_find(vm, "state.state") : NULL;

		found = m && m->available && m->value.i == 1 && atomic_load(&described);
		if (found) {
			assert_null(snapshot_find(vm, "cpu.time"));
			assert_int_equal(vm->vm.id, 1);
		}
		view_unref(view);
		poll(NULL, 0, 5);
	}
	assert_true(found);
	assert_true(virt_stop(virt));
	sampler_stop(sampler);
	virt_free(virt);
	sampler_free(sampler);
	board_free(board);
	registry_free(registry);
	tree_free(tree);
	spec_set_unref(specs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(libvirt_test_driver_serves_what_it_can),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

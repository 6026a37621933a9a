/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The board; libvirt's in-process driver. */
#include "plans.h"
#include "samples.h"
#include "stage.h"

#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>

#include "collect/kernel/sampler.h"
#include "collect/libvirt/connection.h"
#include "model/description.h"
#include "util/clock.h"

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

static void on_connected(void *ctx)
{
	sampler_kick(ctx);
}

/* libvirt's test driver: one running domain named "test", state statistics only. */
static void libvirt_test_driver_serves_what_it_can(void **state)
{
	(void)state;
	struct spec_set *specs = all_of(COLLECTOR_LIBVIRT);
	_cleanup_plan_ struct plan *plan = plan_of(specs);
	struct stage s;
	_cleanup_close_ int root_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	stage_init(&s, plan);
	struct sampler_params sp = {
		.board = s.board, .registry = s.registry, .root_fd = root_fd
	};
	struct sampler *sampler = sampler_new(&sp);
	struct virt_params params = { .board = s.board,
		.registry = s.registry,
		.uri = "test:///default",
		.on_connected = on_connected,
		.ctx = sampler };
	struct virt *virt = NULL;

	assert_int_equal(sampler_start(sampler, fill_nothing, NULL), 0);
	registry_subscribe(
		s.registry, (struct registry_listener){ on_event, s.registry });
	assert_int_equal(virt_start(&params, &virt), 0);
	int64_t deadline = clock_mono_ns() + 20 * NS_PER_S;
	bool found = false;

	while (!found && clock_mono_ns() < deadline) {
		struct view *view = tree_view(s.tree);
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
	stage_done(&s);
	spec_set_unref(specs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(libvirt_test_driver_serves_what_it_can),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

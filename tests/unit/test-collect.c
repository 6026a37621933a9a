/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Host figures from fixtures; the board; libvirt's in-process driver. */
#include "host-files.h"
#include "plans.h"
#include "samples.h"

#include <poll.h>
#include <stdatomic.h>

#include "collect/kernel/host.h"
#include "collect/kernel/sampler.h"
#include "collect/libvirt/connection.h"
#include "model/board.h"
#include "model/description.h"
#include "model/registry.h"
#include "util/clock.h"

static void host_figures_are_the_kernels(void **state)
{
	(void)state;
	struct spec_set *specs = all_of(COLLECTOR_HOST);
	_cleanup_plan_ struct plan *plan = plan_of(specs);
	struct fixture f;

	fixture_init(&f);
	add_host_fixture(&f);
	struct host *host = host_new(f.fd);
	struct metric_list *list = host_sample(host, plan);
	const uint64_t tick = (uint64_t)NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK);

	assert_int_equal(list->n, specs->n);
	assert_u64(list, "host.cpu.time", 150 * tick);
	assert_u64(list, "host.cpu.steal", 8 * tick);
	assert_u64(list, "host.cpu.irq", 13 * tick);
	assert_u64(list, "host.context.switches", 12345);
	assert_u64(list, "host.mem.total", 1000);
	assert_u64(list, "host.mem.used", 700);
	assert_u64(list, "host.mem.apps", 500);
	assert_u64(list, "host.vmem.free", 700);
	assert_u64(list, "host.vmem.used", 1500 - 300 - 150 - 50 - 10);
	assert_u64(list, "host.swap.in", 3 * (uint64_t)sysconf(_SC_PAGESIZE));
	assert_u64(list, "host.page.in", 1000);
	assert_u64(list, "host.cpu.count", 4);
	assert_u64(list, "host.cpu.sockets", 2);
	assert_u64(list, "host.cpu.cores", 2);
	assert_u64(list, "host.pressure.cpu.some.total", 12345);
	assert_true(find(list, "host.pressure.cpu.some.avg60")->value.real > 2.4);
	assert_true(find(list, "host.load.5")->value.real > 1.2);
	assert_string_equal(find(list, "host.virt.vendor")->value.s, "Some Linux");
	assert_false(find(list, "host.page.in.rate")->available);
	assert_false(find(list, "host.pressure.io.some.avg10")->available);
	metric_list_unref(list);

	fixture_add(&f, "proc/vmstat", "pgpgin 2000\npgfault 900\n");
	list = host_sample(host, plan);
	assert_true(find(list, "host.page.in.rate")->value.real > 0);
	assert_false(find(list, "host.swap.in")->available);
	metric_list_unref(list);
	host_free(host);
	fixture_done(&f);
	spec_set_unref(specs);
}

/* Files that end early or hold nonsense make figures unavailable, and nothing worse. */
static void broken_files_make_figures_unavailable(void **state)
{
	(void)state;
	static const char *const broken[] = { "", "cpu", "cpu ", "cpu  1 2",
		"cpu  x y z\n", "cpu  99999999999999999999999 1 1 1\n",
		"MemTotal:", "MemTotal: \nMemFree: -5 kB\n",
		"some avg10=", "some total=\n", "pgpgin \n", "1.5.5 x", "-" };
	struct spec_set *specs = all_of(COLLECTOR_HOST);
	_cleanup_plan_ struct plan *plan = plan_of(specs);

	for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
		struct fixture f;

		fixture_init(&f);
		fixture_add(&f, "proc/stat", broken[i]);
		fixture_add(&f, "proc/meminfo", broken[i]);
		fixture_add(&f, "proc/vmstat", broken[i]);
		fixture_add(&f, "proc/loadavg", broken[i]);
		fixture_add(&f, "proc/uptime", broken[i]);
		fixture_add(&f, "proc/pressure/io", broken[i]);
		fixture_add(&f, "sys/devices/system/cpu/online", broken[i]);
		fixture_add(&f, "etc/os-release", broken[i]);
		struct host *host = host_new(f.fd);
		struct metric_list *list = host_sample(host, plan);

		assert_int_equal(list->n, specs->n);
		assert_false(find(list, "host.cpu.time")->available);
		assert_false(find(list, "host.mem.total")->available);
		assert_false(find(list, "host.swap.in")->available);
		metric_list_unref(list);
		host_free(host);
		fixture_done(&f);
	}
	spec_set_unref(specs);
}

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
			assert_false(snapshot_find(vm, "cpu.time")->available);
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
		cmocka_unit_test(host_figures_are_the_kernels),
		cmocka_unit_test(broken_files_make_figures_unavailable),
		cmocka_unit_test(libvirt_test_driver_serves_what_it_can),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

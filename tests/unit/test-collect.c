/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Host figures from fixtures; the board; libvirt's in-process driver. */
#include "fixture.h"
#include "samples.h"

#include <poll.h>
#include <stdatomic.h>

#include "model/board.h"
#include "model/cycle.h"
#include "collect/kernel/host.h"
#include "collect/kernel/sampler.h"
#include "collect/libvirt/connection.h"
#include "util/clock.h"

static void add_host_fixture(struct fixture *f)
{
	fixture_add(f, "proc/stat",
		"cpu  100 20 30 4000 50 6 7 8 9 10\ncpu0 1 2 3 4\nctxt 12345\n"
		"procs_running 3\nprocs_blocked 1\n");
	fixture_add(f, "proc/meminfo",
		"MemTotal:        1000 kB\nMemFree:          300 kB\nMemAvailable:     600 kB\n"
		"Buffers:           50 kB\nCached:           150 kB\nSwapCached:        10 kB\n"
		"SwapTotal:        500 kB\nSwapFree:         400 kB\nHugePages_Total:     4\n"
		"HugePages_Free:      2\nHugePages_Rsvd:      1\nHugePages_Surp:      0\n"
		"Hugepagesize:       2048 kB\n");
	fixture_add(f, "proc/vmstat",
		"pgpgin 1000\npgpgout 2000\npswpin 3\npswpout 4\npgfault 500\npgmajfault 6\n");
	fixture_add(f, "proc/loadavg", "0.50 1.25 2.00 1/234 5678\n");
	fixture_add(f, "proc/uptime", "1234.56 999.00\n");
	fixture_add(f, "proc/pressure/cpu",
		"some avg10=1.50 avg60=2.50 avg300=3.50 total=12345\n"
		"full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n");
	fixture_add(f, "etc/os-release", "ID=x\nNAME=\"Some Linux\"\n");
	fixture_add(f, "sys/devices/system/cpu/online", "0-3\n");
	for (int cpu = 0; cpu < 4; cpu++) {
		char path[96];
		char id[8];

		snprintf(path, sizeof(path),
			"sys/devices/system/cpu/cpu%d/topology/physical_package_id", cpu);
		snprintf(id, sizeof(id), "%d\n", cpu / 2);
		fixture_add(f, path, id);
		snprintf(path, sizeof(path),
			"sys/devices/system/cpu/cpu%d/topology/core_id", cpu);
		fixture_add(f, path, "0\n");
	}
}

static void host_figures_are_the_kernels(void **state)
{
	(void)state;
	struct spec_set *specs = all_of(COLLECTOR_HOST);
	struct fixture f;

	fixture_init(&f);
	add_host_fixture(&f);
	struct host *host = host_new(f.fd);
	struct metric_list *list = host_sample(host, specs);
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
	list = host_sample(host, specs);
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
		struct metric_list *list = host_sample(host, specs);

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

static struct spec_set *two_actions(const char *second)
{
	struct spec_set *specs = spec_set_new(2);

	specs->specs[0] = (struct metric_spec){ .name = xstrdup("a"),
		.kind = SPEC_ACTION,
		.type = METRIC_INT32,
		.guest = true,
		.action = xstrdup("echo 1") };
	specs->specs[1] = (struct metric_spec){ .name = xstrdup("b"),
		.kind = SPEC_ACTION,
		.context = CONTEXT_VM,
		.type = METRIC_INT32,
		.guest = true,
		.action = xstrdup(second) };
	return specs;
}

static void board_update_one(struct board *board, struct spec_set *specs,
	const struct vm_ident *vm, uint32_t slot)
{
	struct metric_list_builder *b = metric_list_builder_new(specs, 1);
	struct value v = { .type = METRIC_INT32, .i = 5 };

	metric_list_builder_add(b, slot, NULL, &v);
	board_update(board, vm, LANE_ACTION_0 + slot, metric_list_builder_finish(b));
	board_publish(board);
}

static struct snapshot *find_vm(const struct view *view, const char *name)
{
	for (size_t i = 0; i < view->n_vms; i++)
		if (!strcmp(view->vms[i]->vm.name, name))
			return view->vms[i];
	return NULL;
}

static size_t vm_metrics(struct tree *tree, const char *name)
{
	struct view *view = tree_view(tree);
	struct snapshot *s = find_vm(view, name);
	size_t n = s ? s->n : SIZE_MAX;

	view_unref(view);
	return n;
}

static void update_lane(struct board *board, struct spec_set *specs,
	const struct vm_ident *vm, size_t lane, uint32_t slot, uint64_t value)
{
	struct metric_list_builder *b = metric_list_builder_new(specs, 1);
	struct value v = value_u64(value);

	metric_list_builder_add_source(b, slot, NULL, value ? &v : NULL);
	board_update(board, vm, lane, metric_list_builder_finish(b));
	board_publish(board);
}

/* Where two lanes know a metric the first serves it; what a snapshot says of itself. */
static void the_first_lane_serves_a_metric(void **state)
{
	(void)state;
	struct spec_set *specs = spec_set_new(8);
	const struct vm_ident ident = { .id = 1, .name = "a", .uuid = { { 1 } } };

	specs->n = 0;
	want(specs, "generation", "sample.generation", METRIC_UINT64, NULL);
	want(specs, "cpu", "cpu.time", METRIC_UINT64, NULL);
	want(specs, "blocks", "block.count", METRIC_UINT64, NULL);
	want(specs, "no one", "sample.unavailable", METRIC_STRING, NULL);
	struct tree *tree = tree_new();
	struct board *board = board_new(tree, specs);

	board_vm_start(board, &ident);
	update_lane(board, specs, &ident, LANE_LIBVIRT, 1, 5);
	update_lane(board, specs, &ident, LANE_FAST, 1, 7);
	update_lane(board, specs, &ident, LANE_ABOUT, 2, 0);
	struct view *view = tree_view(tree);
	const struct snapshot *vm = find_vm(view, "a");

	assert_int_equal(vm->n, 4);
	assert_int_equal(snapshot_find(vm, "generation")->value.u, vm->generation);
	assert_int_equal(snapshot_find(vm, "cpu")->value.u, 7);
	assert_string_equal(snapshot_find(vm, "no one")->value.s, "blocks");
	view_unref(view);
	board_free(board);
	tree_free(tree);
	spec_set_unref(specs);
}

static void board_knows_runs_and_configurations(void **state)
{
	(void)state;
	struct tree *tree = tree_new();
	struct spec_set *specs = two_actions("echo 2"), *same = two_actions("echo 2"),
			*other = two_actions("echo 3");
	struct board *board = board_new(tree, specs);
	struct vm_ident vm = { .uuid = { { 1 } }, .id = 1, .name = "vm" };
	struct vm_ident twin = { .uuid = { { 2 } }, .id = 9, .name = "vm" };

	assert_true(board_vm_start(board, &vm));
	assert_false(board_vm_start(board, &vm));
	board_update_one(board, specs, &vm, 1);
	board_update_one(board, specs, NULL, 0);
	assert_int_equal(vm_metrics(tree, "vm"), 1);

	/* a reload keeps what is still asked for, and drops late results of the old one */
	board_set_specs(board, same);
	assert_int_equal(vm_metrics(tree, "vm"), 1);
	board_update_one(board, specs, &vm, 1);
	struct spec_set *kept = board_specs(board);

	assert_ptr_equal(kept, specs);
	spec_set_unref(kept);
	board_set_specs(board, other);
	assert_int_equal(vm_metrics(tree, "vm"), 0);
	board_update_one(board, specs, &vm, 1);
	assert_int_equal(vm_metrics(tree, "vm"), 0);
	board_update_one(board, other, &vm, 1);
	assert_int_equal(vm_metrics(tree, "vm"), 1);

	/* another run of the same VM starts empty; results of the old run are dropped */
	vm.id = 2;
	assert_true(board_vm_start(board, &vm));
	assert_int_equal(vm_metrics(tree, "vm"), 0);
	vm.id = 1;
	board_update_one(board, other, &vm, 1);
	assert_int_equal(vm_metrics(tree, "vm"), 0);

	/* a name that comes again under another uuid replaces its owner */
	assert_true(board_vm_start(board, &twin));
	assert_false(board_vm_stop(board, &vm.uuid, -1));
	assert_true(board_vm_stop(board, &twin.uuid, 9));
	assert_int_equal(vm_metrics(tree, "vm"), SIZE_MAX);
	board_free(board);
	tree_free(tree);
	spec_set_unref(specs);
	spec_set_unref(same);
	spec_set_unref(other);
}

static _Atomic int channels_seen;

static void on_channel(void *ctx, const struct uuid *uuid, const char *path)
{
	(void)ctx;
	(void)uuid;
	assert_null(path);
	atomic_fetch_add(&channels_seen, 1);
}

static void on_gone(void *ctx, const struct uuid *uuid)
{
	(void)ctx;
	(void)uuid;
}

/* libvirt's test driver: one running domain named "test", state statistics only. */
static bool fill_nothing(void *ctx, struct fact *facts, struct strbuf *product)
{
	(void)ctx;
	(void)facts;
	(void)product;
	return false;
}

static void rediscover_nothing(void *ctx, const struct uuid *uuid)
{
	(void)ctx;
	(void)uuid;
}

static void libvirt_test_driver_serves_what_it_can(void **state)
{
	(void)state;
	struct spec_set *specs = all_of(COLLECTOR_LIBVIRT);
	struct tree *tree = tree_new();
	struct board *board = board_new(tree, specs);
	_cleanup_close_ int root_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct sampler_params sp = { .board = board,
		.root_fd = root_fd,
		.period_ns = 20 * NS_PER_MS,
		.slow_period_ns = 60 * NS_PER_MS };
	struct sampler *sampler = sampler_new(&sp);
	struct virt_params params = { .board = board,
		.sampler = sampler,
		.uri = "test:///default",
		.period_ns = 20 * NS_PER_MS,
		.slow_period_ns = 60 * NS_PER_MS,
		.root_fd = root_fd,
		.on_channel = on_channel,
		.on_gone = on_gone };
	struct virt *virt = virt_start(&params);

	sampler_start(sampler, fill_nothing, rediscover_nothing, NULL);
	int64_t deadline = clock_mono_ns() + 20 * NS_PER_S;
	bool found = false;

	while (!found && clock_mono_ns() < deadline) {
		struct view *view = tree_view(tree);
		struct snapshot *vm = find_vm(view, "test");
		const struct metric *m = vm ? snapshot_find(vm, "state.state") : NULL;

		found = m && m->available && m->value.i == 1 &&
			atomic_load(&channels_seen);
		if (found) {
			assert_false(snapshot_find(vm, "cpu.time")->available);
			assert_int_equal(vm->vm.id, 1);
		}
		view_unref(view);
		poll(NULL, 0, 5);
	}
	assert_true(found);
	sampler_stop(sampler);
	assert_true(virt_stop(virt));
	sampler_free(sampler);
	board_free(board);
	tree_free(tree);
	spec_set_unref(specs);
}

/* Beats neither drift nor pile up. */
static void missed_beats_are_skipped_and_counted(void **state)
{
	(void)state;
	struct cycle c;

	cycle_init(&c, 10 * NS_PER_MS);
	assert_true(cycle_wait(&c));
	int64_t first = c.next_mono_ns;

	poll(NULL, 0, 35); /* a cycle that takes three and a half periods */
	assert_true(cycle_wait(&c));
	assert_true(c.overruns >= 2);
	assert_int_equal((c.next_mono_ns - first) % (10 * NS_PER_MS), 0);
	assert_true(c.next_mono_ns > clock_mono_ns() - 10 * NS_PER_MS);
	cycle_stop(&c);
	assert_false(cycle_wait(&c));
	cycle_done(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(host_figures_are_the_kernels),
		cmocka_unit_test(broken_files_make_figures_unavailable),
		cmocka_unit_test(the_first_lane_serves_a_metric),
		cmocka_unit_test(board_knows_runs_and_configurations),
		cmocka_unit_test(libvirt_test_driver_serves_what_it_can),
		cmocka_unit_test(missed_beats_are_skipped_and_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

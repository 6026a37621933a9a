/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Host figures from the files of hosts that do not exist. */
#include "host-files.h"
#include "plans.h"
#include "process.h"
#include "samples.h"
#include "stage.h"

#include <poll.h>

#include "collect/kernel/host.h"
#include "collect/kernel/host_vendor.h"
#include "collect/kernel/proc_text.h"
#include "collect/kernel/sampler.h"
#include "conf/conf.h"
#include "util/clock.h"
#include "util/strbuf.h"

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
	assert_u64(list, "host.mem.used", 400);
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
	assert_false(find(list, "host.swap.in")->available);
	metric_list_unref(list);
	host_free(host);
	fixture_done(&f);
	spec_set_unref(specs);
}

static struct plan *plan_with_period(
	const struct plan *before, struct spec_set *specs, int64_t period_ns)
{
	const struct plan_settings settings = {
		.period_ns = period_ns, .slow_period_ns = period_ns, .action_path = "/bin"
	};

	return plan_new(before, specs, &settings);
}

static bool has_rate(struct host *host, const struct plan *plan, double *ret)
{
	struct metric_list *list = host_sample(host, plan);
	const struct metric *m = find(list, "host.page.fault.rate");
	bool have = m->available;

	*ret = m->value.real;
	metric_list_unref(list);
	return have;
}

/* What the daemon's own start costs is no rate, nor is what falls between two samples in a row. */
static void a_rate_needs_a_distance(void **state)
{
	(void)state;
	struct spec_set *specs = all_of(COLLECTOR_HOST);
	_cleanup_plan_ struct plan *slow = plan_with_period(NULL, specs, 3600 * NS_PER_S);
	_cleanup_plan_ struct plan *fast = plan_with_period(slow, specs, 2 * NS_PER_MS);
	double rate = 0, again = 0;
	struct fixture f;

	fixture_init(&f);
	fixture_add(&f, "proc/vmstat", "pgpgin 1000\npgfault 1000\n");
	struct host *host = host_new(f.fd);
	int64_t start = clock_mono_ns();

	assert_false(has_rate(host, slow, &rate));
	fixture_add(&f, "proc/vmstat", "pgpgin 1000\npgfault 2000\n");
	assert_false(has_rate(host, slow, &rate));
	while (!has_rate(host, fast, &rate))
		poll(NULL, 0, 1);
	/* over all of the time since the first sample */
	assert_true(rate > 0 && rate <= 1000 / 0.001);
	assert_true(rate * (double)(clock_mono_ns() - start) / 1e9 >= 999);
	fixture_add(&f, "proc/vmstat", "pgpgin 1000\npgfault 9000\n");
	assert_true(has_rate(host, slow, &again));
	assert_true(again >= rate && again <= rate); /* the last one stands */
	host_free(host);
	fixture_done(&f);
	spec_set_unref(specs);
}

static void assert_shown(const struct view *view, const char *name, uint64_t expected)
{
	const struct metric *m = snapshot_find(view->host, name);

	assert_non_null(m);
	assert_true(m->available);
	assert_int_equal(m->value.u, expected);
}

/*
 * The kernel takes back some of what it counted as waiting, when a CPU goes, or where a
 * hypervisor below is at fault.  Who reads a counter twice must not see it fall.
 */
static void what_is_called_a_counter_never_falls(void **state)
{
	(void)state;
	static const struct {
		const char *stat;
		uint64_t idle, iowait, steal, switches; /* ticks, and a number */
	} steps[] = {
		{ "cpu  100 0 50 9000 400 0 1 50 0 0\nctxt 100\n", 9000, 400, 50, 100 },
		{ "cpu  101 0 50 8990 399 0 1 40 0 0\nctxt 99\n", 9000, 400, 50, 100 },
		{ "cpu  102 0 50 9001 402 0 1 45 0 0\nctxt 101\n", 9001, 402, 50, 101 },
		{ "cpu  103 0 50 4000 10 0 1 0 0 0\nctxt 102\n", 9001, 402, 50, 102 },
	};
	const uint64_t tick = (uint64_t)NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK);
	struct spec_set *specs = all_of(COLLECTOR_HOST);
	_cleanup_plan_ struct plan *plan = plan_of(specs);
	struct fixture f;

	fixture_init(&f);
	struct host *host = host_new(f.fd);
	struct stage s;

	stage_init(&s, plan);
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		fixture_add(&f, "proc/stat", steps[i].stat);
		board_update(s.board, NULL, LANE_HOST, host_sample(host, plan));
		board_publish(s.board);
		_cleanup_view_ struct view *view = tree_view(s.tree);

		assert_shown(view, "host.cpu.user", (100 + i) * tick);
		assert_shown(view, "host.cpu.idle", steps[i].idle * tick);
		assert_shown(view, "host.cpu.iowait", steps[i].iowait * tick);
		assert_shown(view, "host.cpu.steal", steps[i].steal * tick);
		assert_shown(view, "host.context.switches", steps[i].switches);
	}
	stage_done(&s);
	host_free(host);
	fixture_done(&f);
	spec_set_unref(specs);
}

/* B8: nothing that sysfs says makes counts vanish. */
static void cpus_are_counted_without_sysfs(void **state)
{
	(void)state;
	static const char *const online[] = { NULL, "", "\n", "none\n", "-1\n" };
	struct spec_set *specs = all_of(COLLECTOR_HOST);
	_cleanup_plan_ struct plan *plan = plan_of(specs);

	for (size_t i = 0; i < ARRAY_LEN(online); i++) {
		struct fixture f;

		fixture_init(&f);
		fixture_add(&f, "proc/stat",
			"cpu  4 0 4 4 4 0 0 0 0 0\ncpu0 1 0 1 1 1 0 0 0 0 0\n"
			"cpu2 1 0 1 1 1 0 0 0 0 0\ncpu11 1 0 1 1 1 0 0 0 0 0\nctxt 9\n");
		if (online[i])
			fixture_add(&f, "sys/devices/system/cpu/online", online[i]);
		struct host *host = host_new(f.fd);
		struct metric_list *list = host_sample(host, plan);

		assert_u64(list, "host.cpu.count", 3);
		assert_u64(list, "host.cpu.cores", 3);
		assert_u64(list, "host.cpu.sockets", 1);
		metric_list_unref(list);
		host_free(host);
		fixture_done(&f);
	}
	spec_set_unref(specs);
}

/* Seen after live migrations: less than nothing, as an unsigned number.  And old kernels. */
static void times_that_cannot_be_are_unavailable(void **state)
{
	(void)state;
	static const struct {
		const char *stat;
		bool steal, guest;
	} cases[] = {
		{ "cpu  100 0 50 9000 400 0 1 18446744073709551615 7 0\n", false, true },
		{ "cpu  100 0 50 9000 400 0 1 18446744073709551616 7 0\n", false, true },
		{ "cpu  100 0 50 9000 400 0 1 1844674407370955 7 0\n", false, true },
		{ "cpu  100 0 50 9000 400 0 1 3 7 0\n", true, true },
		{ "cpu  100 0 50 9000 400 0 1 3\n", true, false },
		{ "cpu  100 0 50 9000 400 0 1\n", false, false },
	};
	const uint64_t tick = (uint64_t)NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK);
	struct spec_set *specs = all_of(COLLECTOR_HOST);
	_cleanup_plan_ struct plan *plan = plan_of(specs);

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct fixture f;

		fixture_init(&f);
		fixture_add(&f, "proc/stat", cases[i].stat);
		struct host *host = host_new(f.fd);
		struct metric_list *list = host_sample(host, plan);

		assert_u64(list, "host.cpu.time", 150 * tick);
		assert_u64(list, "host.cpu.iowait", 400 * tick);
		assert_int_equal(find(list, "host.cpu.steal")->available, cases[i].steal);
		assert_int_equal(find(list, "host.cpu.guest")->available, cases[i].guest);
		metric_list_unref(list);
		host_free(host);
		fixture_done(&f);
	}
	spec_set_unref(specs);
}

/* What the page cache takes up is neither used nor lost: as free(1) has it. */
static void used_and_free_memory_are_those_of_free(void **state)
{
	(void)state;
	_cleanup_strbuf_ struct strbuf mistakes = STRBUF_INIT;
	struct conf_report report = { .text = &mistakes };
	struct conf *conf = NULL;
	struct fixture f;

	assert_int_equal(conf_load(CONF_DIR "/vhostmd.conf", &report, &conf), 0);
	_cleanup_plan_ struct plan *plan = plan_of(conf->specs);

	fixture_init(&f);
	fixture_add(&f, "proc/meminfo",
		"MemTotal:       32768000 kB\nMemFree:          500000 kB\n"
		"MemAvailable:   28672000 kB\nBuffers:          200000 kB\n"
		"Cached:         27000000 kB\nSReclaimable:     700000 kB\n");
	struct host *host = host_new(f.fd);
	struct metric_list *list = host_sample(host, plan);

	assert_u64(list, "TotalPhyMem", 32000);
	assert_u64(list, "UsedMem", 4000);
	assert_u64(list, "FreeMem", 28000);
	metric_list_unref(list);
	host_free(host);
	fixture_done(&f);
	conf_unref(conf);
}

/* What distributions say of themselves, and what their packages say. */
static const struct {
	const char *release, *vendor;
} releases[] = {
	{ "NAME=\"SLES\"\nVERSION=\"15-SP5\"\nID=\"sles\"\nID_LIKE=\"suse\"\n"
	  "CPE_NAME=\"cpe:/o:suse:sles:15:sp5\"\n",
		"SUSE LLC" },
	{ "NAME=\"SLES_SAP\"\nID=\"sles_sap\"\n", "SUSE LLC" },
	{ "NAME=\"SL-Micro\"\nID=\"sl-micro\"\nID_LIKE=\"suse\"\n", "SUSE LLC" },
	{ "NAME=\"SUSE Something\"\nID=\"something\"\n"
	  "CPE_NAME=\"cpe:2.3:o:suse:something:16.0:*:*:*:*:*:*:*\"\n",
		"SUSE LLC" },
	{ "NAME=\"openSUSE Leap\"\nID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n",
		"openSUSE" },
	{ "NAME=\"Red Hat Enterprise Linux\"\nID=\"rhel\"\nID_LIKE=\"fedora\"\n",
		"Red Hat, Inc." },
	{ "NAME=\"Red Hat Enterprise Linux\"\nID=rhel\nVENDOR_NAME=\"Red Hat\"\n",
		"Red Hat, Inc." },
	{ "NAME=\"Fedora Linux\"\nID=fedora\nVENDOR_NAME='Fedora'\n", "Fedora Project" },
	{ "NAME=\"CentOS Stream\"\nID=\"centos\"\nID_LIKE=\"rhel fedora\"\n", "CentOS" },
	{ "NAME=\"AlmaLinux\"\nID=\"almalinux\"\nID_LIKE=\"rhel centos fedora\"\n",
		"AlmaLinux" },
	{ "NAME=\"Rocky Linux\"\nID=\"rocky\"\nVENDOR_NAME=\"RESF\"\n",
		"Rocky Enterprise Software Foundation" },
	{ "NAME=\"Oracle Linux Server\"\nID=\"ol\"\nID_LIKE=\"fedora\"\n",
		"Oracle America" },
	{ "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\n"
	  "ID=debian\n",
		"Debian" },
	{ "NAME=\"Ubuntu\"\nID=ubuntu\nID_LIKE=debian\n", "Canonical Ltd." },
	/* who is not known speaks for himself, and not for whom he resembles */
	{ "NAME=\"Some Linux\"\nVENDOR_NAME=\"Some Company\"\nID=some\nID_LIKE=suse\n",
		"Some Company" },
	{ "VENDOR_NAME=\"\"\nNAME=Some Linux\nID=some\n", "Some Linux" },
	{ "NAME=\"Some Linux\"", "Some Linux" },
};

static void the_vendor_is_who_makes_the_system(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(releases); i++) {
		struct fixture f;

		fixture_init(&f);
		/* either place will do: os-release(5) */
		if (i % 2)
			fixture_add(&f, "usr/lib/os-release", releases[i].release);
		else
			fixture_add(&f, "etc/os-release", releases[i].release);
		_cleanup_free_ char *vendor = host_vendor(f.fd);

		assert_non_null(vendor);
		assert_string_equal(vendor, releases[i].vendor);
		fixture_done(&f);
	}
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

/* ---- VMs' memory ---- */

/* Waits for the lane's figure, as it is published. */
static bool shows(struct tree *tree, const char *name, uint64_t expected)
{
	int64_t deadline = clock_mono_ns() + 20 * NS_PER_S;
	bool shown = false;

	while (!shown && clock_mono_ns() < deadline) {
		_cleanup_view_ struct view *view = tree_view(tree);
		const struct metric *m = snapshot_find(view->host, name);

		shown = m && m->available && m->value.u == expected;
		poll(NULL, 0, 2);
	}
	return shown;
}

/* The VM of process.h has 10 pages of its own, and started 77.77 s after the host. */
static void check_vm(const char *status, uint64_t huge_kib)
{
	const uint64_t kib = 10 * (uint64_t)sysconf(_SC_PAGESIZE) / 1024 + huge_kib;
	const int64_t started = clock_mono_ns() - clock_ns(CLOCK_BOOTTIME) +
		7777 * NS_PER_S / sysconf(_SC_CLK_TCK);
	struct stage s;
	struct spec_set *specs = spec_set_new(1);
	struct fixture f;

	specs->n = 0;
	want(specs, "memory", "host.vms.memory", METRIC_UINT64, NULL);
	_cleanup_plan_ struct plan *plan = plan_of(specs);

	add_process(&f);
	if (status)
		fixture_add(&f, "proc/4711/status", status);
	stage_init(&s, plan);
	const struct sampler_params params = {
		.board = s.board, .registry = s.registry, .root_fd = f.fd
	};
	struct sampler *sampler = sampler_new(&params);

	assert_int_equal(sampler_start(sampler, fill_nothing, NULL), 0);
	run_unref(registry_report(
		s.registry, registry_order(s.registry), &ident, HYPERVISOR_QEMU));
	if (!shows(s.tree, "memory", kib))
		fail_msg("not %llu KiB", (unsigned long long)kib);
	_cleanup_view_ struct view *view = tree_view(s.tree);

	/* known now; on a host that is younger than that, when it was first heard of */
	assert_in_range(
		view->vms[0]->started_mono_ns, 1, started > 0 ? started + NS_PER_S : 1);
	sampler_stop(sampler);
	sampler_free(sampler);
	stage_done(&s);
	fixture_done(&f);
	spec_set_unref(specs);
}

static void huge_pages_are_memory_that_vms_use(void **state)
{
	(void)state;
	check_vm("Name:\tqemu-system-x86\nGroups:\t107 109 \nVmRSS:\t      40 kB\n"
		 "HugetlbPages:\t 2097152 kB\nThreads:\t4\n",
		2097152);
	check_vm("Name:\tqemu-system-x86\nVmRSS:\t      40 kB\n"
		 "HugetlbPages:\t       0 kB\nThreads:\t4\n",
		0);
	/* kernels without huge pages; a status that is hidden */
	check_vm("Name:\tqemu-system-x86\nVmRSS:\t      40 kB\nThreads:\t4\n", 0);
	check_vm(NULL, 0);
}

/* The short way to numbers gives the very same ones. */
static void real_numbers_are_as_written(void **state)
{
	(void)state;
	static const char *const odd[] = { "0.1", "12345678.123456", "0.1234567",
		"123456789012345", "1234567890123456.5", "7", "7.", ".5", "00.50" };
	static const char *const none[] = { "", ".", "x", "1.2.3", "-1" };
	double v = 0;

	for (unsigned i = 0; i < 200000; i += 7) {
		char text[32];
		const char *p = text;

		snprintf(text, sizeof(text), "%u.%0*u ", i, 1 + (int)(i % 6), i % 10);
		assert_true(proc_take_real(&p, &v) && v == strtod(text, NULL));
		assert_true(p == text + strlen(text) - 1);
	}
	for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
		const char *p = odd[i];

		assert_true(proc_take_real(&p, &v) && !*p);
		assert_true(v == strtod(odd[i], NULL));
	}
	for (size_t i = 0; i < ARRAY_LEN(none); i++) {
		const char *p = none[i];

		assert_false(proc_take_real(&p, &v));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(host_figures_are_the_kernels),
		cmocka_unit_test(real_numbers_are_as_written),
		cmocka_unit_test(a_rate_needs_a_distance),
		cmocka_unit_test(what_is_called_a_counter_never_falls),
		cmocka_unit_test(times_that_cannot_be_are_unavailable),
		cmocka_unit_test(used_and_free_memory_are_those_of_free),
		cmocka_unit_test(the_vendor_is_who_makes_the_system),
		cmocka_unit_test(broken_files_make_figures_unavailable),
		cmocka_unit_test(cpus_are_counted_without_sysfs),
		cmocka_unit_test(huge_pages_are_memory_that_vms_use),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

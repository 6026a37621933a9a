/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files that cannot be opened for a while, as descriptors are used up, in the fast lane: the
 * host's, and those of a VM that appears meanwhile.  What is shown is true at any time, and
 * once there are descriptors again all of it is there, as if nothing had been.
 */
#include "fake-time.h"
#include "host-files.h"
#include "plans.h"
#include "samples.h"
#include "stage.h"

#include <dirent.h>
#include <errno.h>
#include <stdatomic.h>

#include "collect/kernel/host.h"
#include "collect/kernel/sampler.h"
#include "core/fact.h"
#include "core/snapshot.h"
#include "core/value.h"
#include "model/description.h"
#include "util/clock.h"
#include "util/strbuf.h"

#define UUID_TEXT "00010203-0405-0607-0809-0a0b0c0d0e0f"
#define FOR_EVER (1 << 30)

/* ---- what cannot be opened ---- */

static atomic_int n_opens, refuse_from = FOR_EVER, refuse_to = FOR_EVER;
static atomic_int refuse_error;

/* Whatever the compiler makes of openat(): with large files, with checks. */
int __real_openat(int dirfd, const char *path, int flags, ...);
int __wrap_openat(int dirfd, const char *path, int flags, ...);
int __wrap_openat64(int dirfd, const char *path, int flags, ...);
int __wrap___openat_2(int dirfd, const char *path, int flags);
int __wrap___openat64_2(int dirfd, const char *path, int flags);

static int play_openat(int dirfd, const char *path, int flags, mode_t mode)
{
	/* only reading is what the program does */
	if ((flags & O_ACCMODE) == O_RDONLY) {
		int n = atomic_fetch_add(&n_opens, 1);

		if (n >= atomic_load(&refuse_from) && n < atomic_load(&refuse_to)) {
			errno = atomic_load(&refuse_error);
			return -1;
		}
	}
	return __real_openat(dirfd, path, flags, mode);
}

int __wrap_openat(int dirfd, const char *path, int flags, ...)
{
	va_list args;

	va_start(args, flags);
	mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;

	va_end(args);
	return play_openat(dirfd, path, flags, mode);
}

int __wrap_openat64(int dirfd, const char *path, int flags, ...)
{
	va_list args;

	va_start(args, flags);
	mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;

	va_end(args);
	return play_openat(dirfd, path, flags, mode);
}

int __wrap___openat_2(int dirfd, const char *path, int flags)
{
	return play_openat(dirfd, path, flags, 0);
}

int __wrap___openat64_2(int dirfd, const char *path, int flags)
{
	return play_openat(dirfd, path, flags, 0);
}

/* From now on the @from-th, counted from 0, and the following are refused, @n in all. */
static void refuse(int error, int from, int n)
{
	atomic_store(&refuse_to, 0);
	atomic_store(&n_opens, 0);
	atomic_store(&refuse_error, error);
	atomic_store(&refuse_from, from);
	atomic_store(&refuse_to, from + n);
}

static bool was_refused(void)
{
	return atomic_load(&n_opens) > atomic_load(&refuse_from);
}

static unsigned count_descriptors(void)
{
	_cleanup_closedir_ DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	return n;
}

/* ---- a host with a VM ---- */

static void add_host(struct fixture *f)
{
	add_host_fixture(f);
	fixture_add(f, "proc/sys/kernel/sched_schedstats", "1\n");
	fixture_add(f, "proc/sys/kernel/random/boot_id", "x\n");
	fixture_add(f, "proc/self/statm", "1000 200 30\n");
	fixture_add(f, "sys/devices/system/cpu/cpu0/cpufreq/base_frequency", "2500000\n");
	fixture_add(f, "sys/devices/system/cpu/cpu0/acpi_cppc/nominal_freq", "2600\n");
	/* two cores a socket, so that each that is not counted is missed */
	for (int cpu = 1; cpu < 4; cpu += 2) {
		char path[96];

		snprintf(path, sizeof(path),
			"sys/devices/system/cpu/cpu%d/topology/core_id", cpu);
		fixture_add(f, path, "1\n");
	}
}

#define SCOPE "machine.slice/machine-qemu\\x2d3\\x2da.scope"
#define AT(file) "sys/fs/cgroup/" SCOPE "/" file

static void add_cgroup(struct fixture *f)
{
	fixture_add(f, "proc/4711/cgroup", "0::/" SCOPE "/libvirt/emulator\n");
	fixture_add(f, AT("cpu.stat"),
		"usage_usec 3000\nuser_usec 1000\nsystem_usec 2000\nnr_periods 0\n"
		"nr_throttled 0\nthrottled_usec 0\n");
	fixture_add(f, AT("cpu.max"), "max 100000\n");
	fixture_add(f, AT("cpu.weight"), "250\n");
	fixture_add(f, AT("memory.current"), "4096\n");
	fixture_add(f, AT("cpu.pressure"),
		"some avg10=1.00 avg60=2.00 avg300=3.00 total=40\n");
	for (int vcpu = 0; vcpu < 2; vcpu++) {
		char path[128];

		snprintf(path, sizeof(path), AT("libvirt/vcpu%d/cpu.max"), vcpu);
		fixture_add(f, path, "50000 100000\n");
		snprintf(path, sizeof(path), AT("libvirt/vcpu%d/cpu.stat"), vcpu);
		fixture_add(f, path, "nr_periods 10\nnr_throttled 2\nthrottled_usec 7\n");
	}
}

static void set_vcpus(struct fixture *f, unsigned n)
{
	char path[96], text[256];

	for (unsigned i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "proc/4711/task/%u/comm", 4712 + i);
		snprintf(text, sizeof(text), "CPU %u/KVM\n", i);
		fixture_add(f, path, text);
		snprintf(path, sizeof(path), "proc/4711/task/%u/schedstat", 4712 + i);
		fixture_add(f, path, "1000 10 1\n");
		snprintf(path, sizeof(path), "proc/4711/task/%u/sched", 4712 + i);
		fixture_add(f, path, "wait_sum  :  2.500000\n");
	}
	snprintf(text, sizeof(text),
		"4711 (qemu) S 1 2 3 0 -1 138412416 500 0 7 0 100 200 0 0 20 0 %u 0 7777 "
		"1458028544 10 18446744073709551615 1 2\n",
		n + 1);
	fixture_add(f, "proc/4711/stat", text);
}

static void add_vm(struct fixture *f)
{
	static const char args[] = "qemu\0-uuid\0" UUID_TEXT;

	fixture_add(f, "run/libvirt/qemu/a.pid", "4711\n");
	fixture_add(f, "proc/4711/io",
		"syscr: 3\nsyscw: 4\nread_bytes: 5\nwrite_bytes: 60\n"
		"cancelled_write_bytes: 10\n");
	fixture_add(f, "proc/4711/status", "Name:\tqemu\nHugetlbPages:\t    2048 kB\n");
	fixture_add(f, "proc/4711/task/4711/comm", "qemu\n");
	set_vcpus(f, 2);
	_cleanup_close_ int fd =
		openat(f->fd, "proc/4711/cmdline", O_WRONLY | O_CREAT, 0644);

	assert_int_equal(write(fd, args, sizeof(args)), sizeof(args));
	add_cgroup(f);
}

/* ---- the program ---- */

#define PERIOD_NS NS_PER_S

static struct vm_ident ident = { .id = 3,
	.name = "a",
	.uuid = { { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 } } };

struct program {
	struct fixture f;
	struct spec_set *specs;
	struct tree *tree;
	struct registry *registry;
	struct board *board;
	struct sampler *sampler;
};

/* Everything that there is but what only libvirt has. */
static struct spec_set *everything(void)
{
	struct spec_set *specs = spec_set_new(512);

	specs->n = 0;
	for (size_t i = 0; catalogue_at(i); i++)
		want(specs, catalogue_at(i)->name, catalogue_at(i)->name,
			catalogue_at(i)->type, NULL);
	return specs;
}

/* Until it waits for the next beat. */
static void start_program(struct program *p)
{
	const struct plan_settings settings = { .period_ns = PERIOD_NS,
		.slow_period_ns = PERIOD_NS };

	fake_time_reset();
	refuse(0, FOR_EVER - 1, 1);
	p->specs = everything();
	p->tree = tree_new();
	p->registry = registry_new();
	_cleanup_plan_ struct plan *plan = plan_new(NULL, p->specs, &settings);

	p->board = board_new(p->tree, p->registry, plan);
	const struct sampler_params params = {
		.board = p->board, .registry = p->registry, .root_fd = p->f.fd
	};

	p->sampler = sampler_new(&params);
	assert_int_equal(sampler_start(p->sampler, fill_nothing, NULL), 0);
	fake_advance(PERIOD_NS);
}

/* It runs, or is described again. */
static void start_vm(struct program *p)
{
	struct run *run = registry_report(
		p->registry, registry_order(p->registry), &ident, HYPERVISOR_QEMU);
	struct description *d = description_new();

	d->nics = xcalloc(1, sizeof(*d->nics));
	d->nics[d->n_nics++] = xstrdup("lo");
	d->vcpus_max = 2;
	registry_describe(p->registry, run, d);
	run_unref(run);
}

static void stop_program(struct program *p)
{
	sampler_stop(p->sampler);
	sampler_free(p->sampler);
	board_free(p->board);
	registry_free(p->registry);
	tree_free(p->tree);
	spec_set_unref(p->specs);
}

static int setup(void **state)
{
	static struct program p;

	fixture_init(&p.f);
	add_host(&p.f);
	add_vm(&p.f);
	fixture_add(&p.f, "sys/class/net/lo/ifindex", "1\n");
	*state = &p;
	return 0;
}

static int teardown(void **state)
{
	struct program *p = *state;

	fixture_done(&p->f);
	return 0;
}

/* ---- what is shown ---- */

static bool same_text(const struct value *a, const struct value *b)
{
	_cleanup_strbuf_ struct strbuf x = STRBUF_INIT, y = STRBUF_INIT;

	value_format(a, &x);
	value_format(b, &y);
	return !strcmp(strbuf_str(&x), strbuf_str(&y));
}

/* Those that differ from one sample to the next. */
static bool may_differ(const char *name)
{
	static const char *const some[] = { "host.time", "host.vms.", "host.overcommit.",
		"host.sample.", "vhostmd.", "sample.", "snapshot.", "net.",
		"host.page.in.rate", "host.page.fault.rate" };

	for (size_t i = 0; i < ARRAY_LEN(some); i++)
		if (strstr(name, some[i]) == name)
			return true;
	return false;
}

/*
 * How many of @model's metrics @shown lacks.  Fails if one has another value: nothing may
 * be untrue.
 */
static unsigned compare(const struct snapshot *model, const struct snapshot *shown)
{
	unsigned lacking = 0;

	for (size_t i = 0; i < model->n; i++) {
		const struct metric *m = snapshot_metric(model, i);
		const struct metric *s =
			shown ? snapshot_find(shown, m->label->name) : NULL;

		if (!m->available)
			continue;
		if (!s || !s->available)
			lacking++;
		else if (!may_differ(m->label->name) && !same_text(&m->value, &s->value))
			fail_msg("%s is not what it was", m->label->name);
	}
	return lacking;
}

struct lacking {
	unsigned of_host, of_vm;
};

static struct lacking compare_views(const struct view *model, struct tree *tree)
{
	_cleanup_view_ struct view *shown = tree_view(tree);

	return (struct lacking){ compare(model->host, shown->host),
		compare(model->vms[0], shown->n_vms ? shown->vms[0] : NULL) };
}

/* What is shown where nothing is refused. */
static struct view *model_view(struct program *p)
{
	start_program(p);
	start_vm(p);
	fake_advance(30 * PERIOD_NS);
	struct view *view = tree_view(p->tree);

	stop_program(p);
	assert_int_equal(view->n_vms, 1);
	return view;
}

/* Lets time pass and looks all the while.  Return: what was lacking in the end. */
static struct lacking watch(struct program *p, const struct view *model, int64_t ns)
{
	struct lacking lacking = { 0 };

	for (int64_t at = 0; at < ns; at += PERIOD_NS) {
		fake_advance(PERIOD_NS);
		lacking = compare_views(model, p->tree);
	}
	return lacking;
}

/* ---- tests ---- */

static void a_vm_that_appears_without_descriptors_is_known_once_there_are_some(
	void **state)
{
	struct program *p = *state;
	_cleanup_view_ struct view *model = model_view(p);

	unsigned before = count_descriptors();

	start_program(p);
	refuse(EMFILE, 0, FOR_EVER);
	start_vm(p);
	(void)watch(p, model, 60 * PERIOD_NS);
	assert_true(was_refused());
	assert_int_equal(fake_logged("descriptors"), 1);
	refuse(0, FOR_EVER - 1, 1);
	struct lacking lacking = watch(p, model, 5 * PERIOD_NS);

	assert_int_equal(lacking.of_vm, 0);
	assert_int_equal(lacking.of_host, 0);
	stop_program(p);
	assert_int_equal(count_descriptors(), before);
}

/* How many files are opened for a new VM, until all is known. */
static int count_opens(struct program *p)
{
	start_program(p);
	refuse(0, FOR_EVER - 1, 1);
	start_vm(p);
	fake_settle();
	int n = atomic_load(&n_opens);

	stop_program(p);
	return n;
}

/* Each one is refused, with the @n - 1 that follow. */
static void refuse_each(struct program *p, int error, int n)
{
	_cleanup_view_ struct view *model = model_view(p);
	unsigned before = count_descriptors();
	int n_files = count_opens(p);

	assert_true(n_files > 30);
	for (int at = 0; at < n_files; at++) {
		start_program(p);
		refuse(error, at, n);
		start_vm(p);
		struct lacking lacking = watch(p, model, 3 * PERIOD_NS);

		refuse(0, FOR_EVER - 1, 1);
		lacking = watch(p, model, 3 * PERIOD_NS);
		if (lacking.of_vm || lacking.of_host)
			fail_msg("%u and %u lacking after %d", lacking.of_vm,
				lacking.of_host, at);
		assert_int_equal(fake_logged("descriptors"), 1);
		stop_program(p);
		assert_int_equal(count_descriptors(), before);
	}
}

static void any_file_of_a_new_vm_may_fail_for_want_of_descriptors(void **state)
{
	refuse_each(*state, EMFILE, 1);
	refuse_each(*state, ENFILE, 3);
	refuse_each(*state, EMFILE, 40);
}

static void what_is_known_already_needs_no_descriptors(void **state)
{
	struct program *p = *state;
	_cleanup_view_ struct view *model = model_view(p);

	start_program(p);
	start_vm(p);
	fake_advance(10 * PERIOD_NS);
	refuse(EMFILE, 0, FOR_EVER);
	for (int i = 0; i < 60; i++) {
		struct lacking lacking = watch(p, model, PERIOD_NS);

		assert_int_equal(lacking.of_vm, 0);
		assert_in_range(lacking.of_host, 0, 1);
	}
	assert_int_equal(fake_logged("descriptors"), 1);
	refuse(0, FOR_EVER - 1, 1);
	assert_int_equal(watch(p, model, 2 * PERIOD_NS).of_host, 0);
	stop_program(p);
}

static void a_second_look_without_descriptors_loses_nothing(void **state)
{
	struct program *p = *state;
	_cleanup_view_ struct view *model = model_view(p);
	int n_files = count_opens(p);

	start_program(p);
	start_vm(p);
	fake_advance(10 * PERIOD_NS);
	for (int at = 0; at < n_files; at++) {
		refuse(EMFILE, at, FOR_EVER);
		start_vm(p);
		assert_int_equal(watch(p, model, 2 * PERIOD_NS).of_vm, 0);
	}
	stop_program(p);
}

static void a_vcpu_that_is_plugged_without_descriptors_is_seen_soon_after(void **state)
{
	struct program *p = *state;

	start_program(p);
	start_vm(p);
	fake_advance(10 * PERIOD_NS);
	refuse(EMFILE, 0, FOR_EVER);
	set_vcpus(&p->f, 3);
	fake_advance(10 * PERIOD_NS);
	assert_true(was_refused());
	refuse(0, FOR_EVER - 1, 1);
	fake_advance(2 * PERIOD_NS);
	_cleanup_view_ struct view *shown = tree_view(p->tree);
	const struct metric *vcpus = snapshot_find(shown->vms[0], "vcpu.current");
	const struct metric *delay = snapshot_find(shown->vms[0], "vcpu.2.delay");

	assert_true(vcpus && vcpus->available && vcpus->value.u == 3);
	assert_true(delay && delay->available);
	stop_program(p);
}

static void a_file_that_is_not_there_or_not_ours_costs_its_own_figures(void **state)
{
	static const int errors[] = { ENOENT, EACCES };
	struct program *p = *state;
	_cleanup_view_ struct view *model = model_view(p);
	unsigned before = count_descriptors();

	int n_files = count_opens(p);

	for (size_t i = 0; i < ARRAY_LEN(errors); i++)
		for (int at = 0; at < n_files; at++) {
			start_program(p);
			refuse(errors[i], at, 1);
			start_vm(p);
			fake_advance(3 * PERIOD_NS);
			_cleanup_view_ struct view *shown = tree_view(p->tree);

			assert_int_equal(shown->n_vms, 1);
			assert_in_range(compare(model->host, shown->host), 0, 1);
			assert_int_equal(fake_logged("descriptors"), 0);
			stop_program(p);
			assert_int_equal(count_descriptors(), before);
		}
}

/* The host alone, from its first sample. */
static void the_host_is_counted_again_if_descriptors_were_lacking(void **state)
{
	struct program *p = *state;
	struct spec_set *specs = all_of(COLLECTOR_HOST);
	_cleanup_plan_ struct plan *plan = plan_of(specs);
	unsigned before = count_descriptors();
	bool refused = true;

	refuse(0, FOR_EVER - 1, 1);
	for (int at = 0; refused; at++) {
		struct host *host = host_new(p->f.fd);

		refuse(EMFILE, at, 1);
		struct metric_list *list = host_sample(host, plan);

		refused = was_refused();
		refuse(0, FOR_EVER - 1, 1);
		for (int i = 0; i < 2; i++) {
			static const struct {
				const char *name;
				uint64_t value;
			} figures[] = { { "host.cpu.count", 4 },
				{ "host.cpu.sockets", 2 }, { "host.cpu.cores", 4 },
				{ "host.cpu.frequency", 2500 },
				{ "host.mem.total", 1000 }, { "host.page.in", 1000 } };

			for (size_t k = 0; k < ARRAY_LEN(figures); k++)
				if (i || find(list, figures[k].name)->available)
					assert_u64(
						list, figures[k].name, figures[k].value);
			metric_list_unref(list);
			list = host_sample(host, plan);
		}
		metric_list_unref(list);
		host_free(host);
		assert_int_equal(count_descriptors(), before);
	}
	spec_set_unref(specs);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_vm_that_appears_without_descriptors_is_known_once_there_are_some),
		TEST(any_file_of_a_new_vm_may_fail_for_want_of_descriptors),
		TEST(what_is_known_already_needs_no_descriptors),
		TEST(a_second_look_without_descriptors_loses_nothing),
		TEST(a_vcpu_that_is_plugged_without_descriptors_is_seen_soon_after),
		TEST(a_file_that_is_not_there_or_not_ours_costs_its_own_figures),
		TEST(the_host_is_counted_again_if_descriptors_were_lacking),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What does not apply, to this host or this VM, against what cannot be had now: each
 * collector says so, and readers see nothing of it.
 */
#include "fast-sample.h"
#include "host-files.h"
#include "plans.h"
#include "process.h"
#include "samples.h"

#include <poll.h>
#include <stdatomic.h>

#include "collect/kernel/fast_list.h"
#include "collect/kernel/fast_vm.h"
#include "collect/kernel/host.h"
#include "collect/kernel/qemu_proc.h"
#include "collect/libvirt/domain_xml.h"
#include "collect/libvirt/stats.h"
#include "core/snapshot.h"
#include "model/description.h"
#include "model/domain.h"
#include "model/run.h"
#include "util/cleanup.h"

static bool is_absent(const struct metric_list *list, const char *name)
{
	const struct metric *m = find(list, name);

	assert_false(m->available && m->absent);
	return m->absent;
}

static bool is_unavailable(const struct metric_list *list, const char *name)
{
	const struct metric *m = find(list, name);

	return !m->available && !m->absent;
}

static bool has_value(const struct metric_list *list, const char *name)
{
	return find(list, name)->available;
}

/* ---- what readers see ---- */

static struct metric_list *one(struct spec_set *specs, uint32_t slot, struct fact fact)
{
	struct metric_list_builder *b = metric_list_builder_new(specs, 5);

	metric_list_builder_add_fact(b, slot, NULL, &fact);
	return metric_list_builder_finish(b);
}

/* As of the lanes' lists, the first of which serves. */
static struct snapshot *snapshot_of(struct metric_list *first, struct metric_list *second)
{
	static const struct vm_ident vm = { .id = 1, .name = "a", .uuid = { { 1 } } };
	struct metric_list *lists[] = { first, second };

	return snapshot_new(&vm, 7, lists, ARRAY_LEN(lists), 0);
}

static void nobody_sees_what_does_not_apply(void **state)
{
	(void)state;
	struct spec_set *specs = spec_set_new(4);
	struct fact value = { .have = true, .value = value_u64(3) };

	specs->n = 0;
	want(specs, "wait", "domain.vcpu.wait", METRIC_UINT64, NULL);
	want(specs, "time", "domain.vcpu.time", METRIC_UINT64, NULL);
	want(specs, "names", "sample.unavailable", METRIC_STRING, NULL);
	struct metric_list *absent = one(specs, 0, (struct fact){ .absent = true }),
			   *other = one(specs, 0, value),
			   *missing = one(specs, 1, (struct fact){ 0 });
	struct snapshot *s = snapshot_of(absent, missing),
			*o = snapshot_of(absent, other), *v = snapshot_of(other, missing);

	assert_null(snapshot_find(s, "wait"));
	assert_false(snapshot_find(s, "time")->available);
	assert_string_equal(snapshot_find(s, "names")->value.s, "time");
	/* who says that there is none is believed */
	assert_null(snapshot_find(o, "wait"));
	assert_string_equal(snapshot_find(o, "names")->value.s, "");
	/* a name that comes is another shape, by which directories are known */
	assert_int_equal(snapshot_find(v, "wait")->value.u, 3);
	assert_true(s->shape != v->shape);
	snapshot_unref(s);
	snapshot_unref(o);
	snapshot_unref(v);

	/* also under another configuration */
	struct spec_set *later = spec_set_new(4);

	later->n = 0;
	want(later, "time", "domain.vcpu.time", METRIC_UINT64, NULL);
	want(later, "wait", "domain.vcpu.wait", METRIC_UINT64, NULL);
	struct metric_list *rebased = metric_list_rebase(absent, later);

	assert_true(is_absent(rebased, "wait"));
	assert_int_equal(rebased->metrics[0].label->slot, 1);
	/* it has come now, and not when it was said to be absent */
	struct metric_list *now = one(later, 1, (struct fact){ 0 });

	now->metrics[0].changed_ns = 9;
	metric_list_carry(now, rebased);
	assert_int_equal(now->metrics[0].changed_ns, 9);
	metric_list_unref(now);
	metric_list_unref(rebased);
	metric_list_unref(absent);
	metric_list_unref(other);
	metric_list_unref(missing);
	spec_set_unref(later);
	spec_set_unref(specs);
}

/* ---- the host ---- */

static void what_the_hosts_kernel_lacks_is_absent(void **state)
{
	(void)state;
	struct spec_set *specs = all_of(COLLECTOR_HOST);
	_cleanup_plan_ struct plan *plan = plan_of(specs);
	struct fixture f;

	fixture_init(&f);
	add_host_fixture(&f);
	fixture_add(&f, "proc/pressure/cpu", "some avg10=1 avg60=2 avg300=3 total=4\n");
	fixture_add(&f, "proc/meminfo", "MemTotal: 1000 kB\nMemFree: 300 kB\n");
	struct host *host = host_new(f.fd);
	struct metric_list *list = host_sample(host, plan);

	assert_true(has_value(list, "host.pressure.cpu.some.total"));
	assert_true(is_absent(list, "host.pressure.cpu.full.total")); /* old kernels */
	assert_true(is_absent(list, "host.pressure.memory.some.avg10"));
	assert_true(has_value(list, "host.mem.free"));
	assert_true(is_absent(list, "host.hugepages.size"));
	assert_true(is_absent(list, "host.swap.used"));
	assert_true(is_absent(list, "host.cpu.frequency"));
	/* a rate comes with the second sample */
	assert_true(is_unavailable(list, "host.page.in.rate"));
	metric_list_unref(list);

	/* what comes to be is there */
	fixture_add(
		&f, "proc/pressure/memory", "some avg10=1 avg60=2 avg300=3 total=4\n");
	fixture_add(&f, "proc/meminfo", "HugePages_Free: 2\nMemTotal: 1000 kB\nSwapTo");
	fixture_add(&f, "proc/loadavg", "");
	list = host_sample(host, plan);
	assert_true(has_value(list, "host.pressure.memory.some.avg10"));
	assert_true(has_value(list, "host.hugepages.free"));
	/* what ends early could not be read to its end */
	assert_true(is_unavailable(list, "host.hugepages.size"));
	assert_true(is_unavailable(list, "host.load.1"));
	metric_list_unref(list);
	host_free(host);
	fixture_done(&f);
	spec_set_unref(specs);
}

/* ---- a VM's process ---- */

struct vm {
	struct fixture f;
	struct run *run;
	struct fast_vm *fv;
	struct vm_sample scratch;
};

static void vm_init(struct vm *vm)
{
	*vm = (struct vm){ 0 };
	add_process(&vm->f);
	fixture_add(&vm->f, "proc/4711/cgroup", "0::/user.slice\n");
	vm->run = run_new(&ident, HYPERVISOR_QEMU);
	vm->fv = fast_vm_new(vm->run, NULL);
}

static void vm_done(struct vm *vm)
{
	fast_vm_free(vm->fv);
	run_unref(vm->run);
	vm_sample_done(&vm->scratch);
	fixture_done(&vm->f);
}

/* @reads: what its process is opened for. */
static struct metric_list *vm_sample_for(
	struct vm *vm, const struct plan *plan, uint64_t reads)
{
	struct qemu_proc *proc = NULL;

	assert_int_equal(qemu_proc_open(vm->f.fd, &ident, reads, &proc), 0);
	fast_vm_hand_process(vm->fv, proc);
	(void)fast_vm_take_in(vm->fv);
	return fast_vm_sample(vm->fv, plan, NULL, NULL, &vm->scratch);
}

static struct spec_set *of_a_process(void)
{
	struct spec_set *specs = spec_set_new(16);

	specs->n = 0;
	want(specs, "pressure", "pressure.cpu.some.avg10", METRIC_REAL64, NULL);
	want(specs, "memory", "cgroup.memory.current", METRIC_UINT64, NULL);
	want(specs, "throttled", "usage.throttled", METRIC_REAL64, NULL);
	want(specs, "short", "usage.memory.pressure", METRIC_REAL64, NULL);
	want(specs, "read", "process.io.read.bytes", METRIC_UINT64, NULL);
	want(specs, "wait*", "vcpu.*.wait", METRIC_UINT64, NULL);
	want(specs, "waits", "domain.vcpu.wait", METRIC_UINT64, NULL);
	want(specs, "waiting", "usage.wait", METRIC_REAL64, NULL);
	want(specs, "ninth", "vcpu.9.delay", METRIC_UINT64, NULL);
	want(specs, "use", "usage.cpu", METRIC_REAL64, NULL);
	want(specs, "delay*", "vcpu.*.delay", METRIC_UINT64, NULL);
	return specs;
}

static const char *const of_no_cgroup[] = { "pressure", "memory", "throttled", "short" };

static void what_a_process_has_none_of_is_absent(void **state)
{
	(void)state;
	struct spec_set *specs = of_a_process();
	_cleanup_plan_ struct plan *plan = plan_of(specs);
	const uint64_t uncounted = plan->vm_reads & ~READS(WAIT);
	struct vm vm;

	vm_init(&vm);
	assert_int_equal(unlinkat(vm.f.fd, "proc/4711/io", 0), 0);
	struct metric_list *list = vm_sample_for(&vm, plan, uncounted);

	for (size_t i = 0; i < ARRAY_LEN(of_no_cgroup); i++)
		assert_true(is_absent(list, of_no_cgroup[i]));
	assert_true(is_absent(list, "read"));
	assert_true(is_absent(list, "wait*"));
	assert_true(is_absent(list, "waits"));
	assert_true(is_absent(list, "waiting"));
	assert_true(is_absent(list, "ninth"));
	assert_true(is_unavailable(list, "use")); /* until the second sample */
	assert_true(has_value(list, "delay1"));
	metric_list_unref(list);

	/* the kernel counts now */
	fixture_add(&vm.f, "proc/4711/io", "read_bytes: 5\n");
	poll(NULL, 0, 20); /* over less time rates stand */
	list = vm_sample_for(&vm, plan, plan->vm_reads);
	assert_true(has_value(list, "wait0"));
	assert_true(has_value(list, "waits"));
	assert_true(has_value(list, "read"));
	assert_true(is_unavailable(list, "waiting"));
	metric_list_unref(list);
	vm_done(&vm);
	spec_set_unref(specs);
}

/* Nobody knows yet what there is of what a new configuration asks for. */
static void what_was_not_looked_for_is_not_absent(void **state)
{
	(void)state;
	struct spec_set *specs = of_a_process();
	_cleanup_plan_ struct plan *plan = plan_of(specs);
	struct vm vm;

	vm_init(&vm);
	struct metric_list *list = vm_sample_for(&vm, plan, READS(VCPUS));

	for (size_t i = 0; i < ARRAY_LEN(of_no_cgroup); i++)
		assert_true(is_unavailable(list, of_no_cgroup[i]));
	assert_true(is_unavailable(list, "read"));
	metric_list_unref(list);
	vm_done(&vm);
	spec_set_unref(specs);
}

static void a_kernel_without_schedstats_counts_no_delay(void **state)
{
	(void)state;
	struct spec_set *specs = of_a_process();
	_cleanup_plan_ struct plan *plan = plan_of(specs);
	struct metric_list *list = NULL;
	struct vm vm;

	vm_init(&vm);
	assert_int_equal(unlinkat(vm.f.fd, "proc/4711/task/4712/schedstat", 0), 0);
	assert_int_equal(unlinkat(vm.f.fd, "proc/4711/task/4713/schedstat", 0), 0);
	/* once its threads have their names, so that it is sure */
	for (int i = 0; i < 8; i++) {
		metric_list_unref(list);
		list = i ? fast_vm_sample(vm.fv, plan, NULL, NULL, &vm.scratch)
			 : vm_sample_for(&vm, plan, plan->vm_reads);
	}
	assert_true(is_absent(list, "delay*"));
	assert_true(is_absent(list, "waits"));
	metric_list_unref(list);
	vm_done(&vm);
	spec_set_unref(specs);
}

/* ---- limits ---- */

static void a_limit_that_is_not_set_is_told_as_unlimited(void **state)
{
	(void)state;
	static const char xml[] =
		"<domain><memory>2048</memory><vcpu>2</vcpu><memtune><soft_limit>1024"
		"</soft_limit></memtune><devices><disk/><disk><iotune><read_iops_sec>5"
		"</read_iops_sec></iotune></disk></devices></domain>";
	struct spec_set *specs = spec_set_new(16);
	struct run *run = run_new(&ident, HYPERVISOR_QEMU);
	struct description *d = description_new();

	specs->n = 0;
	want(specs, "none", "domain.unlimited", METRIC_STRING, NULL);
	want(specs, "hard", "memtune.hard_limit", METRIC_UINT64, NULL);
	want(specs, "soft", "memtune.soft_limit", METRIC_UINT64, NULL);
	want(specs, "the quota", "cputune.quota", METRIC_UINT64, NULL);
	want(specs, "reserved", "memtune.min_guarantee", METRIC_UINT64, NULL);
	want(specs, "iops*", "block.*.iotune.read_iops_sec", METRIC_UINT64, NULL);
	want(specs, "first", "block.0.iotune.read_iops_sec", METRIC_UINT64, NULL);
	want(specs, "MHz", "domain.cpu.limit.frequency", METRIC_UINT64, NULL);
	_cleanup_plan_ struct plan *plan = plan_of(specs);
	struct metric_list *list = domain_list(plan, run, NULL, 0, 1);

	/* its description is not known yet */
	assert_true(is_unavailable(list, "none"));
	assert_true(is_unavailable(list, "hard"));
	assert_true(is_unavailable(list, "first"));
	metric_list_unref(list);

	assert_int_equal(domain_xml_parse(xml, "x", NULL, d), 0);
	list = domain_list(plan, run, d, 0, 1);
	assert_true(is_absent(list, "hard"));
	assert_true(is_absent(list, "reserved"));
	assert_true(is_absent(list, "first"));
	assert_true(is_absent(list, "MHz"));
	assert_u64(list, "soft", 1024);
	assert_u64(list, "iops1", 5);
	assert_null(find_or_null(list, "iops0"));
	assert_string_equal(find(list, "none")->value.s, "hard the%20quota iops0 first");
	metric_list_unref(list);
	description_unref(d);
	run_unref(run);
	spec_set_unref(specs);
}

/* ---- libvirt ---- */

static void add(virDomainStatsRecord *record, const char *field, uint64_t value)
{
	virTypedParameter *p = &record->params[record->nparams++];

	strncpy(p->field, field, sizeof(p->field) - 1);
	p->type = VIR_TYPED_PARAM_ULLONG;
	p->value.ul = value;
}

static void what_libvirt_does_not_name_is_absent(void **state)
{
	(void)state;
	struct spec_set *specs = spec_set_new(16);
	virTypedParameter params[8] = { 0 };
	virDomainStatsRecord record = { .params = params };
	struct run *run = run_new(&ident, HYPERVISOR_OTHER);
	struct vm_counters last = { 0 };

	specs->n = 0;
	want(specs, "unused", "balloon.unused", METRIC_UINT64, NULL);
	want(specs, "cache", "perf.cmt", METRIC_UINT64, NULL);
	want(specs, "read*", "block.*.rd.bytes", METRIC_UINT64, NULL);
	want(specs, "fifth", "block.5.rd.bytes", METRIC_UINT64, NULL);
	want(specs, "use", "usage.cpu", METRIC_REAL64, NULL);
	want(specs, "steal", "usage.steal", METRIC_REAL64, NULL);
	_cleanup_plan_ struct plan *plan = plan_of(specs);

	add(&record, "cpu.time", 100);
	add(&record, "vcpu.current", 1);
	add(&record, "vcpu.0.time", 90);
	add(&record, "block.0.rd.bytes", 7);
	struct metric_list *list =
		virt_stats_convert(plan, run, &record, 0, true, &last, 5, NS_PER_S);

	assert_true(is_absent(list, "unused"));
	assert_true(is_absent(list, "cache"));
	assert_true(is_absent(list, "fifth"));
	assert_u64(list, "read0", 7);
	assert_true(is_unavailable(list, "use"));
	assert_true(is_absent(list, "steal")); /* an old libvirt has no delays */
	metric_list_unref(list);

	/* a driver that has no vCPUs */
	record.nparams = 1;
	list = virt_stats_convert(plan, run, &record, 0, true, &last, 6, 2 * NS_PER_S);
	assert_true(is_absent(list, "use"));
	metric_list_unref(list);
	vm_counters_done(&last);
	run_unref(run);
	spec_set_unref(specs);
}

/* A VM that never answered has whatever libvirt may have of it; which, is not known now. */
static void what_a_silent_vm_has_is_unavailable(void **state)
{
	(void)state;
	struct spec_set *specs = spec_set_new(16);
	struct fast_about about = { .process = PROCESS_SOUGHT, .slow_age_ns = -1 };

	specs->n = 0;
	want(specs, "unused", "balloon.unused", METRIC_UINT64, NULL);
	want(specs, "cpu", "cpu.time", METRIC_UINT64, NULL);
	want(specs, "read*", "block.*.rd.bytes", METRIC_UINT64, NULL);
	want(specs, "threads", "process.threads", METRIC_UINT32, NULL);
	want(specs, "age", "sample.slow.age", METRIC_REAL64, NULL);
	_cleanup_plan_ struct plan *plan = plan_of(specs);
	struct metric_list *list = fast_list_about(plan, &about, 1);

	/* nobody had the time to ask */
	assert_null(find_or_null(list, "unused"));
	assert_true(is_unavailable(list, "threads"));
	assert_true(is_unavailable(list, "age"));
	metric_list_unref(list);

	about.stale = true;
	about.process = PROCESS_ABSENT;
	about.known = READS(CPU);
	list = fast_list_about(plan, &about, 1);
	assert_true(is_unavailable(list, "unused"));
	assert_null(find_or_null(list, "cpu")); /* the kernel's */
	assert_null(find_or_null(list, "read*"));
	assert_true(is_absent(list, "threads"));
	metric_list_unref(list);
	spec_set_unref(specs);
}

static void what_nobody_asks_libvirt_for_has_no_age(void **state)
{
	(void)state;
	struct spec_set *specs = spec_set_new(4);
	const struct fast_about about = { .known = READS(CPU), .slow_age_ns = -1 };

	specs->n = 0;
	want(specs, "cpu", "cpu.time", METRIC_UINT64, NULL);
	want(specs, "age", "sample.slow.age", METRIC_REAL64, NULL);
	want(specs, "stale", "sample.stale", METRIC_UINT32, NULL);
	_cleanup_plan_ struct plan *plan = plan_of(specs);
	struct metric_list *list = fast_list_about(plan, &about, 1);

	assert_true(is_absent(list, "age"));
	assert_u64(list, "stale", 0);
	metric_list_unref(list);
	spec_set_unref(specs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_sees_what_does_not_apply),
		cmocka_unit_test(what_the_hosts_kernel_lacks_is_absent),
		cmocka_unit_test(what_a_process_has_none_of_is_absent),
		cmocka_unit_test(what_was_not_looked_for_is_not_absent),
		cmocka_unit_test(a_kernel_without_schedstats_counts_no_delay),
		cmocka_unit_test(a_limit_that_is_not_set_is_told_as_unlimited),
		cmocka_unit_test(what_libvirt_does_not_name_is_absent),
		cmocka_unit_test(what_a_silent_vm_has_is_unavailable),
		cmocka_unit_test(what_nobody_asks_libvirt_for_has_no_age),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

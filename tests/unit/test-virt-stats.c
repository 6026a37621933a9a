/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From libvirt's typed parameters to metrics: patterns, indices, sums, conversions. */
#include "plans.h"
#include "samples.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collect/libvirt/stats.h"
#include "model/run.h"
#include "model/vm_sample.h"
#include "util/clock.h"
#include "util/limits.h"

static void add(virDomainStatsRecord *record, const char *field, int type, uint64_t value)
{
	virTypedParameter *p = &record->params[record->nparams++];

	memset(p->field, 0, sizeof(p->field));
	strncpy(p->field, field, sizeof(p->field) - 1);
	p->type = type;
	if (type == VIR_TYPED_PARAM_BOOLEAN)
		p->value.b = (char)value;
	else if (type == VIR_TYPED_PARAM_UINT)
		p->value.ui = (unsigned)value;
	else
		p->value.ul = value;
}

static void parameters_become_metrics(void **state)
{
	(void)state;
	struct spec_set *specs = spec_set_new(16);
	virTypedParameter params[32] = { 0 };
	virDomainStatsRecord record = { .params = params };
	struct run *vm =
		run_new(&(struct vm_ident){ .id = 4, .name = "vm" }, HYPERVISOR_OTHER);
	struct vm_counters last = { 0 };

	specs->n = 0;
	want(specs, "cpu", "cpu.time", METRIC_REAL64, "s");
	want(specs, "vcpu*.delay", "vcpu.*.delay", METRIC_UINT64, NULL);
	want(specs, "first", "vcpu.0.delay", METRIC_UINT64, NULL);
	want(specs, "halted.*", "vcpu.*.halted", METRIC_UINT32, NULL);
	want(specs, "bank.*.*", "cpu.cache.monitor.*.bank.*.bytes", METRIC_UINT32, NULL);
	want(specs, "own.*", "vm.*.sum", METRIC_UINT64, NULL);
	want(specs, "own.vcpu.*.*", "vcpu.*.*.sum", METRIC_UINT64, NULL);
	want(specs, "sum", "domain.vcpu.delay", METRIC_UINT64, NULL);
	want(specs, "wait", "domain.vcpu.wait", METRIC_UINT64, NULL);
	want(specs, "use", "usage.cpu", METRIC_REAL64, NULL);
	want(specs, "threads", "process.threads", METRIC_UINT32, NULL);
	want(specs, "small", "balloon.current", METRIC_INT32, "B");
	want(specs, "none", "balloon.unused", METRIC_UINT64, NULL);
	_cleanup_plan_ struct plan *plan = plan_of(specs);

	assert_int_equal(virt_stats_groups(plan, 0),
		VIR_DOMAIN_STATS_CPU_TOTAL | VIR_DOMAIN_STATS_VCPU |
			VIR_DOMAIN_STATS_BALLOON | VIR_DOMAIN_STATS_VM);
	add(&record, "cpu.time", VIR_TYPED_PARAM_ULLONG, UINT64_C(1500000000));
	add(&record, "vcpu.current", VIR_TYPED_PARAM_UINT, 2);
	add(&record, "vcpu.1.delay", VIR_TYPED_PARAM_ULLONG, 20);
	add(&record, "vcpu.0.delay", VIR_TYPED_PARAM_ULLONG, 10);
	add(&record, "vcpu.0.halted", VIR_TYPED_PARAM_BOOLEAN, 1);
	add(&record, "vcpu.0.exits.sum", VIR_TYPED_PARAM_ULLONG, 7);
	add(&record, "vm.remote_tlb_flush.sum", VIR_TYPED_PARAM_ULLONG, 8);
	add(&record, "vm..sum", VIR_TYPED_PARAM_ULLONG, 6);
	add(&record, "vcpu.0..sum", VIR_TYPED_PARAM_ULLONG, 5);
	add(&record, "cpu.cache.monitor.3.bank.12.bytes", VIR_TYPED_PARAM_UINT, 9);
	add(&record, "balloon.current", VIR_TYPED_PARAM_ULLONG, 4u << 20);
	add(&record, "balloon.rss", VIR_TYPED_PARAM_ULLONG, 77);
	add(&record, "unknown.thing", VIR_TYPED_PARAM_ULLONG, 1);
	struct metric_list *list =
		virt_stats_convert(plan, vm, &record, 0, true, &last, 5, NS_PER_S);

	assert_true(find(list, "cpu")->value.real > 1.49);
	assert_u64(list, "vcpu0.delay", 10);
	assert_u64(list, "vcpu1.delay", 20);
	assert_string_equal(find(list, "vcpu1.delay")->label->source, "vcpu.1.delay");
	assert_string_equal(find(list, "vcpu1.delay")->label->index, "1");
	assert_u64(list, "first", 10);
	assert_u64(list, "halted.0", 1);
	assert_u64(list, "bank.3.12", 9);
	assert_u64(list, "own.remote_tlb_flush", 8);
	assert_u64(list, "own.vcpu.0.exits", 7);
	assert_null(find_or_null(list, "own.")); /* QEMU may name one so */
	assert_null(find_or_null(list, "own.vcpu.0."));
	assert_u64(list, "sum", 30);
	assert_false(find(list, "wait")->available);
	assert_false(find(list, "none")->available);
	assert_false(find(list, "small")->available); /* 4 GiB do not fit an int32 */
	assert_false(find(list, "use")->available);   /* a rate needs two samples */
	assert_null(find_or_null(list, "threads"));   /* the fast lane's */
	assert_int_equal(atomic_load(&vm->vcpus), 2);
	assert_int_equal(atomic_load(&vm->rss_kib), 77);
	assert_int_equal(atomic_load(&vm->balloon_kib), 4u << 20);
	metric_list_unref(list);

	/* half a second of two vCPUs' two seconds */
	record.params[0].value.ul += NS_PER_S / 2;
	list = virt_stats_convert(plan, vm, &record, 0, true, &last, 6, 2 * NS_PER_S);
	assert_true(find(list, "use")->value.real > 24.9);
	assert_true(find(list, "use")->value.real < 25.1);
	metric_list_unref(list);
	vm_counters_done(&last);
	run_unref(vm);
	spec_set_unref(specs);
}

/* QEMU's own names, other ones each time: those that have no room are left out, no others. */
static void a_vm_invents_so_many_names_and_no_more(void **state)
{
	(void)state;
	const unsigned at_once = LIMIT_VM_LABELS / 2;
	struct spec_set *specs = spec_set_new(2);
	virTypedParameter *params = xcalloc(at_once + 1, sizeof(*params));
	struct run *vm = run_new(
		&(struct vm_ident){ .uuid = { { 1 } }, .name = "vm" }, HYPERVISOR_OTHER);
	struct vm_counters last = { 0 };

	specs->n = 0;
	want(specs, "own.*", "vm.*.sum", METRIC_UINT64, NULL);
	want(specs, "cpu", "cpu.time", METRIC_UINT64, NULL);
	_cleanup_plan_ struct plan *plan = plan_of(specs);

	for (unsigned round = 0; round < 4; round++) {
		virDomainStatsRecord record = { .params = params };

		for (unsigned i = 0; i < at_once; i++) {
			char field[32];

			snprintf(field, sizeof(field), "vm.n%u.sum", at_once * round + i);
			add(&record, field, VIR_TYPED_PARAM_ULLONG, i);
		}
		add(&record, "cpu.time", VIR_TYPED_PARAM_ULLONG, 7);
		_cleanup_metric_list_ struct metric_list *list = virt_stats_convert(
			plan, vm, &record, 0, true, &last, 5, NS_PER_S);

		assert_u64(list, "cpu", 7);
		assert_int_equal(list->n_refused, round < 2 ? 0 : at_once);
		assert_int_equal(list->n, round < 2 ? at_once + 1 : 1);
	}
	vm_counters_done(&last);
	run_unref(vm);
	free(params);
	spec_set_unref(specs);
}

static void add_text(virDomainStatsRecord *record, const char *field, char *text)
{
	add(record, field, VIR_TYPED_PARAM_STRING, 0);
	record->params[record->nparams - 1].value.s = text;
}

static const char *device_of(const struct metric_list *list, const char *name)
{
	const char *device = metric_device(find(list, name));

	return device ? device : "none";
}

/* However libvirt orders what it says of them. */
static void disks_and_interfaces_are_known_by_name(void **state)
{
	(void)state;
	static char vdb[] = "vdb", vdz[] = "vdz", tap[] = "vnet7";
	struct spec_set *specs = spec_set_new(8);
	virTypedParameter params[16] = { 0 };
	virDomainStatsRecord record = { .params = params };
	struct run *vm =
		run_new(&(struct vm_ident){ .id = 4, .name = "vm" }, HYPERVISOR_OTHER);
	struct vm_counters last = { 0 };

	specs->n = 0;
	want(specs, "rd.*", "block.*.rd.bytes", METRIC_UINT64, NULL);
	want(specs, "first", "block.0.rd.bytes", METRIC_UINT64, NULL);
	want(specs, "rx.*", "net.*.rx.bytes", METRIC_UINT64, NULL);
	want(specs, "time.*", "vcpu.*.time", METRIC_UINT64, NULL);
	want(specs, "blocks", "block.count", METRIC_UINT32, NULL);
	want(specs, "unused", "balloon.unused", METRIC_UINT64, NULL);
	_cleanup_plan_ struct plan *plan = plan_of(specs);

	add(&record, "block.count", VIR_TYPED_PARAM_UINT, 3);
	add_text(&record, "block.0.name", vdb);
	add(&record, "block.0.rd.bytes", VIR_TYPED_PARAM_ULLONG, 1);
	add(&record, "block.10.rd.bytes", VIR_TYPED_PARAM_ULLONG, 3);
	add(&record, "block.1.rd.bytes", VIR_TYPED_PARAM_ULLONG, 2);
	add_text(&record, "block.1.name", vdz);
	add_text(&record, "net.0.name", tap);
	add(&record, "net.0.rx.bytes", VIR_TYPED_PARAM_ULLONG, 4);
	add(&record, "vcpu.0.time", VIR_TYPED_PARAM_ULLONG, 5);
	struct metric_list *list =
		virt_stats_convert(plan, vm, &record, 0, true, &last, 5, NS_PER_S);

	assert_string_equal(device_of(list, "rd.0"), "vdb");
	assert_string_equal(device_of(list, "first"), "vdb");
	assert_string_equal(device_of(list, "rd.1"), "vdz");
	assert_string_equal(device_of(list, "rd.10"), "none");
	assert_string_equal(device_of(list, "rx.0"), "vnet7");
	assert_string_equal(device_of(list, "time.0"), "none");
	assert_string_equal(device_of(list, "blocks"), "none");
	assert_string_equal(device_of(list, "unused"), "none");
	metric_list_unref(list);
	vm_counters_done(&last);
	run_unref(vm);
	spec_set_unref(specs);
}

/* An answer with nothing of a monitor's in it may be one that passed it by. */
static void what_is_perhaps_there_is_not_absent(void **state)
{
	(void)state;
	struct spec_set *specs = spec_set_new(8);
	virTypedParameter params[8] = { 0 };
	virDomainStatsRecord record = { .params = params };
	struct run *vm =
		run_new(&(struct vm_ident){ .id = 4, .name = "vm" }, HYPERVISOR_OTHER);
	struct vm_counters last = { 0 };

	specs->n = 0;
	want(specs, "rd.*", "block.*.rd.reqs", METRIC_UINT64, NULL);
	want(specs, "blocks", "block.count", METRIC_UINT32, NULL);
	want(specs, "unused", "balloon.unused", METRIC_UINT64, NULL);
	want(specs, "cpu", "cpu.time", METRIC_UINT64, NULL);
	want(specs, "poll", "cpu.haltpoll.fail.time", METRIC_UINT64, NULL);
	_cleanup_plan_ struct plan *plan = plan_of(specs);

	add(&record, "block.count", VIR_TYPED_PARAM_UINT, 1);
	add(&record, "net.0.rd.reqs", VIR_TYPED_PARAM_ULLONG, 1);
	add(&record, "block.0.rd.reqs.other", VIR_TYPED_PARAM_ULLONG, 1);
	assert_false(virt_stats_of_monitor(&record));
	struct metric_list *list =
		virt_stats_convert(plan, vm, &record, 0, false, &last, 5, NS_PER_S);

	assert_u64(list, "blocks", 1);
	assert_false(find(list, "unused")->available);
	assert_false(find(list, "unused")->absent);
	assert_false(find(list, "poll")->available);
	assert_false(find(list, "poll")->absent);
	assert_null(find_or_null(list, "rd.*"));
	assert_true(find(list, "cpu")->absent); /* no monitor knows that */
	metric_list_unref(list);

	list = virt_stats_convert(plan, vm, &record, 0, true, &last, 6, 2 * NS_PER_S);
	assert_true(find(list, "unused")->absent);
	assert_true(find(list, "poll")->absent);
	assert_true(find(list, "rd.*")->absent);
	metric_list_unref(list);

	add(&record, "block.10.rd.reqs", VIR_TYPED_PARAM_ULLONG, 1);
	assert_true(virt_stats_of_monitor(&record));
	vm_counters_done(&last);
	run_unref(vm);
	spec_set_unref(specs);
}

/* What the fast lane serves is neither asked for nor said to be unavailable. */
static void what_is_covered_is_left_out(void **state)
{
	(void)state;
	struct spec_set *specs = spec_set_new(8);
	virTypedParameter params[8] = { 0 };
	virDomainStatsRecord record = { .params = params };
	struct run *vm =
		run_new(&(struct vm_ident){ .id = 4, .name = "vm" }, HYPERVISOR_OTHER);
	struct vm_counters last = { 0 };

	specs->n = 0;
	want(specs, "cpu", "cpu.time", METRIC_UINT64, NULL);
	want(specs, "poll", "cpu.haltpoll.fail.time", METRIC_UINT64, NULL);
	want(specs, "delay", "vcpu.0.delay", METRIC_UINT64, NULL);
	want(specs, "sum", "domain.vcpu.delay", METRIC_UINT64, NULL);
	want(specs, "rx", "net.*.rx.bytes", METRIC_UINT64, NULL);
	want(specs, "blocks", "block.count", METRIC_UINT32, NULL);
	_cleanup_plan_ struct plan *plan = plan_of(specs);
	const uint64_t all = READS_EITHER & ~READS(NICS);

	assert_int_equal(virt_stats_groups(plan, READS_EITHER),
		VIR_DOMAIN_STATS_CPU_TOTAL | VIR_DOMAIN_STATS_BLOCK);
	assert_int_equal(virt_stats_groups(plan, all),
		VIR_DOMAIN_STATS_CPU_TOTAL | VIR_DOMAIN_STATS_BLOCK |
			VIR_DOMAIN_STATS_INTERFACE);
	add(&record, "block.count", VIR_TYPED_PARAM_UINT, 3);
	struct metric_list *list =
		virt_stats_convert(plan, vm, &record, all, true, &last, 5, NS_PER_S);

	assert_null(find_or_null(list, "cpu"));
	assert_null(find_or_null(list, "delay"));
	assert_null(find_or_null(list, "sum"));
	assert_false(find(list, "poll")->available);
	assert_u64(list, "blocks", 3);
	metric_list_unref(list);
	vm_counters_done(&last);
	run_unref(vm);
	spec_set_unref(specs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parameters_become_metrics),
		cmocka_unit_test(a_vm_invents_so_many_names_and_no_more),
		cmocka_unit_test(disks_and_interfaces_are_known_by_name),
		cmocka_unit_test(what_is_perhaps_there_is_not_absent),
		cmocka_unit_test(what_is_covered_is_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

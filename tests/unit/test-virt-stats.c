/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From libvirt's typed parameters to metrics: patterns, indices, sums, conversions. */
#include "test.h"

#include <string.h>

#include "collect/virt_stats.h"
#include "core/catalogue.h"
#include "core/metric_list.h"
#include "core/spec.h"
#include "core/unit.h"
#include "util/mem.h"

static void want(struct spec_set *specs, const char *name, const char *source,
	enum metric_type type, const char *unit)
{
	const struct catalogue_entry *e = catalogue_find(source);

	assert_non_null(e);
	specs->specs[specs->n++] = (struct metric_spec){ .name = xstrdup(name),
		.context = e->context,
		.type = type,
		.guest = true,
		.source = xstrdup(source),
		.entry = e,
		.convert = unit ? unit_find(unit) : NULL };
}

static void add(virDomainStatsRecord *record, const char *field, int type, uint64_t value)
{
	virTypedParameter *p = &record->params[record->nparams++];

	strncpy(p->field, field, sizeof(p->field) - 1);
	p->type = type;
	if (type == VIR_TYPED_PARAM_BOOLEAN)
		p->value.b = (char)value;
	else if (type == VIR_TYPED_PARAM_UINT)
		p->value.ui = (unsigned)value;
	else
		p->value.ul = value;
}

static const struct metric *find(const struct metric_list *list, const char *name)
{
	for (size_t i = 0; i < list->n; i++)
		if (!strcmp(list->metrics[i].name, name))
			return &list->metrics[i];
	return NULL;
}

static void assert_u64(const struct metric_list *list, const char *name, uint64_t value)
{
	const struct metric *m = find(list, name);

	if (!m || !m->available || m->value.u != value)
		fail_msg("%s is missing or wrong", name);
}

static void parameters_become_metrics(void **state)
{
	(void)state;
	struct spec_set *specs = spec_set_new(16);
	virTypedParameter params[32] = { 0 };
	virDomainStatsRecord record = { .params = params };
	struct vm_ident vm = { .id = 4, .name = "vm" };
	struct virt_totals totals = { 0 };

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
	want(specs, "id", "domain.id", METRIC_INT32, NULL);
	want(specs, "small", "balloon.current", METRIC_INT32, "B");
	want(specs, "none", "balloon.unused", METRIC_UINT64, NULL);
	struct virt_plan *plan = virt_plan_new(specs);

	assert_int_equal(virt_plan_groups(plan),
		VIR_DOMAIN_STATS_STATE | VIR_DOMAIN_STATS_CPU_TOTAL |
			VIR_DOMAIN_STATS_VCPU | VIR_DOMAIN_STATS_BALLOON |
			VIR_DOMAIN_STATS_VM);
	add(&record, "cpu.time", VIR_TYPED_PARAM_ULLONG, UINT64_C(1500000000));
	add(&record, "vcpu.current", VIR_TYPED_PARAM_UINT, 2);
	add(&record, "vcpu.1.delay", VIR_TYPED_PARAM_ULLONG, 20);
	add(&record, "vcpu.0.delay", VIR_TYPED_PARAM_ULLONG, 10);
	add(&record, "vcpu.0.halted", VIR_TYPED_PARAM_BOOLEAN, 1);
	add(&record, "vcpu.0.exits.sum", VIR_TYPED_PARAM_ULLONG, 7);
	add(&record, "vm.remote_tlb_flush.sum", VIR_TYPED_PARAM_ULLONG, 8);
	add(&record, "cpu.cache.monitor.3.bank.12.bytes", VIR_TYPED_PARAM_UINT, 9);
	add(&record, "balloon.current", VIR_TYPED_PARAM_ULLONG, 4u << 20);
	add(&record, "balloon.rss", VIR_TYPED_PARAM_ULLONG, 77);
	add(&record, "unknown.thing", VIR_TYPED_PARAM_ULLONG, 1);
	struct metric_list *list = virt_stats_convert(plan, &vm, &record, -1, 5, &totals);

	assert_true(find(list, "cpu")->value.real > 1.49);
	assert_u64(list, "vcpu0.delay", 10);
	assert_u64(list, "vcpu1.delay", 20);
	assert_string_equal(find(list, "vcpu1.delay")->source, "vcpu.1.delay");
	assert_string_equal(find(list, "vcpu1.delay")->index, "1");
	assert_u64(list, "first", 10);
	assert_u64(list, "halted.0", 1);
	assert_u64(list, "bank.3.12", 9);
	assert_u64(list, "own.remote_tlb_flush", 8);
	assert_u64(list, "own.vcpu.0.exits", 7);
	assert_u64(list, "sum", 30);
	assert_false(find(list, "wait")->available);
	assert_false(find(list, "none")->available);
	assert_false(find(list, "small")->available); /* 4 GiB do not fit an int32 */
	assert_int_equal(find(list, "id")->value.i, 4);
	assert_int_equal(totals.vms, 1);
	assert_int_equal(totals.vcpus, 2);
	assert_int_equal(totals.memory_kib, 77);
	metric_list_unref(list);
	virt_plan_free(plan);
	spec_set_unref(specs);
}

static void the_hosts_part_needs_a_connection(void **state)
{
	(void)state;
	struct spec_set *specs = spec_set_new(4);
	struct virt_totals totals = { 3, 7, 1024 };

	specs->n = 0;
	want(specs, "product", "host.virt.product", METRIC_STRING, NULL);
	want(specs, "count", "host.vms.count", METRIC_UINT32, NULL);
	want(specs, "vcpus", "host.vms.vcpus", METRIC_UINT32, NULL);
	want(specs, "memory", "host.vms.memory", METRIC_UINT64, "MiB");
	struct virt_plan *plan = virt_plan_new(specs);
	struct metric_list *list = virt_stats_host(plan, "QEMU 7.2.0", &totals, 5);

	assert_string_equal(find(list, "product")->value.s, "QEMU 7.2.0");
	assert_u64(list, "count", 3);
	assert_u64(list, "vcpus", 7);
	assert_u64(list, "memory", 1);
	metric_list_unref(list);
	list = virt_stats_host(plan, NULL, NULL, 5);
	for (size_t i = 0; i < list->n; i++)
		assert_false(list->metrics[i].available);
	metric_list_unref(list);
	virt_plan_free(plan);
	spec_set_unref(specs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parameters_become_metrics),
		cmocka_unit_test(the_hosts_part_needs_a_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

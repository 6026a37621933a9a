/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/kernel/fast_plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collect/kernel/qemu_cgroup.h"
#include "core/metric_list.h"
#include "core/spec.h"
#include "util/mem.h"
#include "util/parse.h"

#define EVERY (-1)

/* A source of the configuration that the fast lane knows, in the configuration's order. */
struct item {
	uint32_t slot;
	enum vm_key key;
	enum vm_cover cover;
	int number; /* of the vCPU or interface that is meant, or EVERY */
};

struct fast_plan {
	struct spec_set *specs;
	struct item *items,
		*about; /* about: COLLECTOR_SAMPLE, key is an enum sample_key */
	size_t n_items, n_about;
	unsigned needs;
	bool wants_links;
};

static bool is_vcpu_key(int key)
{
	return key >= VM_VCPU_STATE && key <= VM_VCPU_DELAY;
}

static bool is_nic_key(int key)
{
	return key >= VM_NET_NAME;
}

static bool between(int key, int first, int last)
{
	return key >= first && key <= last;
}

static unsigned needs_of(int key)
{
	if (between(key, VM_CPU_TIME, VM_CPU_SYSTEM))
		return NEED_CGROUP_CPU;
	if (between(key, VM_IO_READ, VM_IO_WRITE_CALLS))
		return NEED_PROC_IO;
	if (between(key, VM_THROTTLE_PERIODS, VM_THROTTLED_TIME))
		return NEED_THROTTLE;
	if (key == VM_CGROUP_MEMORY)
		return NEED_CGROUP_MEMORY;
	if (between(key, VM_PRESSURE_CPU_SOME_AVG10, VM_PRESSURE_CPU_FULL_TOTAL))
		return NEED_PRESSURE_CPU;
	if (between(key, VM_PRESSURE_MEMORY_SOME_AVG10, VM_PRESSURE_MEMORY_FULL_TOTAL))
		return NEED_PRESSURE_MEMORY;
	if (between(key, VM_PRESSURE_IO_SOME_AVG10, VM_PRESSURE_IO_FULL_TOTAL))
		return NEED_PRESSURE_IO;
	if (key == VM_USAGE_CPU)
		return NEED_CGROUP_CPU | NEED_VCPUS;
	if (key == VM_USAGE_THROTTLED)
		return NEED_THROTTLE | NEED_VCPUS;
	if (key == VM_USAGE_MEMORY_PRESSURE)
		return NEED_PRESSURE_MEMORY;
	if (key == VM_VCPU_WAIT || key == VM_VCPUS_WAIT || key == VM_USAGE_WAIT)
		return NEED_VCPUS | NEED_WAIT;
	if (key == VM_VCPU_CURRENT || is_vcpu_key(key) ||
		between(key, VM_VCPUS_TIME, VM_USAGE_STEAL))
		return NEED_VCPUS;
	return 0;
}

/* The number in a source that has one where its entry has '*'. */
static int number_of(const struct metric_spec *spec)
{
	const char *digits = spec->source + strcspn(spec->source, "0123456789*");
	uint64_t n = 0;

	if (!strchr(spec->entry->name, '*') || *digits == '*')
		return EVERY;
	return parse_u64_at(&digits, &n) == 0 && n <= INT32_MAX ? (int)n : INT32_MAX;
}

static bool is_ours(const struct catalogue_entry *e)
{
	return e->collector == COLLECTOR_KERNEL || e->collector == COLLECTOR_USAGE ||
		(e->collector == COLLECTOR_LIBVIRT && e->key >= 0);
}

struct fast_plan *fast_plan_new(struct spec_set *specs)
{
	struct fast_plan *plan = xcalloc(1, sizeof(*plan));

	plan->specs = spec_set_ref(specs);
	plan->items = xcalloc(specs->n, sizeof(*plan->items));
	plan->about = xcalloc(specs->n, sizeof(*plan->about));
	/* host.vms.vcpus and domain.cpu.limit ask for it, whatever else does */
	plan->needs = NEED_VCPUS;
	for (size_t i = 0; i < specs->n; i++) {
		const struct catalogue_entry *e = specs->specs[i].entry;

		if (!e)
			continue;
		struct item item = { .slot = (uint32_t)i,
			.key = (enum vm_key)e->key,
			.cover = e->cover,
			.number = number_of(&specs->specs[i]) };

		if (e->collector == COLLECTOR_SAMPLE)
			plan->about[plan->n_about++] = item;
		if (!is_ours(e))
			continue;
		plan->items[plan->n_items++] = item;
		plan->needs |= needs_of(e->key);
		plan->wants_links |= is_nic_key(e->key);
	}
	return plan;
}

void fast_plan_free(struct fast_plan *plan)
{
	if (!plan)
		return;
	spec_set_unref(plan->specs);
	free(plan->items);
	free(plan->about);
	free(plan);
}

struct spec_set *fast_plan_specs(const struct fast_plan *plan)
{
	return plan->specs;
}

unsigned fast_plan_needs(const struct fast_plan *plan)
{
	return plan->needs;
}

bool fast_plan_wants_links(const struct fast_plan *plan)
{
	return plan->wants_links;
}

/* Adds a vCPU's or an interface's value under the right name. */
static void add_numbered(struct metric_list_builder *b, const struct item *item,
	unsigned number, const struct value *value)
{
	char index[16];

	snprintf(index, sizeof(index), "%u", number);
	metric_list_builder_add_source(
		b, item->slot, item->number == EVERY ? index : NULL, value);
}

static void add_missing(struct metric_list_builder *b, const struct item *item)
{
	metric_list_builder_add_source(b, item->slot, NULL, NULL);
}

static struct fact vcpu_fact(const struct vcpu_sample *v, enum vm_key key)
{
	switch (key) {
	case VM_VCPU_TIME:
		return (struct fact){ v->have_time, value_u64(v->time_ns) };
	case VM_VCPU_DELAY:
		return (struct fact){ v->have_delay, value_u64(v->delay_ns) };
	case VM_VCPU_WAIT:
		return (struct fact){ v->have_wait, value_u64(v->wait_ns) };
	default:
		return (struct fact){ true, value_i64(1) }; /* VIR_VCPU_RUNNING */
	}
}

static void add_vcpus(struct metric_list_builder *b, const struct item *item,
	const struct vm_sample *sample)
{
	bool any = false;

	for (size_t i = 0; i < sample->n_vcpus; i++) {
		const struct vcpu_sample *v = &sample->vcpus[i];

		if (item->number != EVERY && (unsigned)item->number != v->number)
			continue;
		struct fact fact = vcpu_fact(v, item->key);

		add_numbered(b, item, v->number, fact.have ? &fact.value : NULL);
		any = true;
	}
	if (!any && item->number != EVERY)
		add_missing(b, item);
}

static void add_nics(struct metric_list_builder *b, const struct item *item,
	const struct vm_sample *sample)
{
	bool any = false;

	for (size_t i = 0; i < sample->n_nics; i++) {
		const struct nic_sample *nic = &sample->nics[i];

		if (item->number != EVERY && (unsigned)item->number != nic->number)
			continue;
		struct value value = item->key == VM_NET_NAME
			? value_string(nic->name)
			: value_u64(nic->counters[item->key - VM_NET_RX_BYTES]);

		add_numbered(b, item, nic->number, nic->have ? &value : NULL);
		any = true;
	}
	if (!any && item->number != EVERY)
		add_missing(b, item);
}

struct metric_list *fast_plan_list(
	const struct fast_plan *plan, const struct vm_sample *sample)
{
	struct metric_list_builder *b =
		metric_list_builder_new(plan->specs, sample->time_ns);

	for (size_t i = 0; i < plan->n_items; i++) {
		const struct item *item = &plan->items[i];

		if ((item->cover & sample->cover) != item->cover)
			continue; /* libvirt's to say */
		if (is_nic_key((int)item->key)) {
			add_nics(b, item, sample);
		} else if (is_vcpu_key((int)item->key)) {
			add_vcpus(b, item, sample);
		} else {
			const struct fact *fact = &sample->facts[item->key];

			metric_list_builder_add_source(
				b, item->slot, NULL, fact->have ? &fact->value : NULL);
		}
	}
	return metric_list_builder_finish(b);
}

static void add_about(struct metric_list_builder *b, const struct item *item,
	int64_t slow_age_ns, bool stale)
{
	struct value age = value_real((double)slow_age_ns / 1e9);
	struct value flag = value_u64(stale);

	if ((enum sample_key)item->key == SAMPLE_STALE)
		metric_list_builder_add_source(b, item->slot, NULL, &flag);
	else
		metric_list_builder_add_source(
			b, item->slot, NULL, slow_age_ns >= 0 ? &age : NULL);
}

struct metric_list *fast_plan_about(const struct fast_plan *plan, bool lone,
	int64_t slow_age_ns, bool stale, int64_t time_ns)
{
	struct metric_list_builder *b = metric_list_builder_new(plan->specs, time_ns);

	for (size_t i = 0; i < plan->n_about; i++)
		add_about(b, &plan->about[i], slow_age_ns, stale);
	for (size_t i = 0; lone && i < plan->n_items; i++)
		if (plan->items[i].cover == COVER_KERNEL)
			add_missing(b, &plan->items[i]);
	if (metric_list_builder_count(b))
		return metric_list_builder_finish(b);
	metric_list_builder_free(b);
	return NULL;
}

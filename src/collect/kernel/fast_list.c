/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/kernel/fast_list.h"

#include <stdio.h>

#include "core/catalogue.h"
#include "core/metric_list.h"
#include "model/plan.h"

static bool is_vcpu_key(int key)
{
	return key >= VM_VCPU_STATE && key <= VM_VCPU_DELAY;
}

static bool is_nic_key(int key)
{
	return key >= VM_NET_NAME;
}

/* Adds a vCPU's or an interface's value under the right name. */
static void add_numbered(struct metric_list_builder *b, const struct plan_item *item,
	unsigned number, const struct value *value)
{
	char index[16];

	snprintf(index, sizeof(index), "%u", number);
	metric_list_builder_add_source(
		b, item->slot, item->number == PLAN_EACH ? index : NULL, value);
}

static void add_missing(struct metric_list_builder *b, const struct plan_item *item)
{
	metric_list_builder_add_source(b, item->slot, NULL, NULL);
}

static struct fact vcpu_fact(const struct vcpu_sample *v, int key)
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

static void add_vcpus(struct metric_list_builder *b, const struct plan_item *item,
	const struct vm_sample *sample)
{
	bool any = false;

	for (size_t i = 0; i < sample->n_vcpus; i++) {
		const struct vcpu_sample *v = &sample->vcpus[i];

		if (item->number != PLAN_EACH && (unsigned)item->number != v->number)
			continue;
		struct fact fact = vcpu_fact(v, item->key);

		add_numbered(b, item, v->number, fact.have ? &fact.value : NULL);
		any = true;
	}
	if (!any && item->number != PLAN_EACH)
		add_missing(b, item);
}

static void add_iothreads(struct metric_list_builder *b, const struct plan_item *item,
	const struct vm_sample *sample)
{
	bool any = false;

	for (size_t i = 0; i < sample->n_iothreads; i++) {
		const struct vcpu_sample *t = &sample->iothreads[i];
		struct value value = value_u64(t->time_ns);

		if (item->number != PLAN_EACH && (unsigned)item->number != t->number)
			continue;
		add_numbered(b, item, t->number, t->have_time ? &value : NULL);
		any = true;
	}
	if (!any && item->number != PLAN_EACH)
		add_missing(b, item);
}

static void add_nics(struct metric_list_builder *b, const struct plan_item *item,
	const struct vm_sample *sample)
{
	bool any = false;

	for (size_t i = 0; i < sample->n_nics; i++) {
		const struct nic_sample *nic = &sample->nics[i];

		if (item->number != PLAN_EACH && (unsigned)item->number != nic->number)
			continue;
		struct value value = item->key == VM_NET_NAME
			? value_string(nic->name)
			: value_u64(nic->counters[item->key - VM_NET_RX_BYTES]);

		add_numbered(b, item, nic->number, nic->have ? &value : NULL);
		any = true;
	}
	if (!any && item->number != PLAN_EACH)
		add_missing(b, item);
}

struct metric_list *fast_list(const struct plan *plan, const struct vm_sample *sample)
{
	const struct plan_part *part = &plan->parts[PLAN_KERNEL];
	struct metric_list_builder *b =
		metric_list_builder_new(plan->specs, sample->time_ns);

	for (size_t i = 0; i < part->n; i++) {
		const struct plan_item *item = &part->items[i];

		if (item->either && !plan_kernel_serves(item, sample->known))
			continue; /* libvirt's to say */
		if (is_nic_key(item->key)) {
			add_nics(b, item, sample);
		} else if (is_vcpu_key(item->key)) {
			add_vcpus(b, item, sample);
		} else if (item->key == VM_IOTHREAD_TIME) {
			add_iothreads(b, item, sample);
		} else {
			const struct fact *fact = &sample->facts[item->key];

			metric_list_builder_add_source(
				b, item->slot, NULL, fact->have ? &fact->value : NULL);
		}
	}
	return metric_list_builder_finish(b);
}

static void add_about(struct metric_list_builder *b, const struct plan_item *item,
	int64_t slow_age_ns, bool stale)
{
	struct value age = value_real((double)slow_age_ns / 1e9);
	struct value flag = value_u64(stale);

	if (item->key == SAMPLE_STALE)
		metric_list_builder_add_source(b, item->slot, NULL, &flag);
	else
		metric_list_builder_add_source(
			b, item->slot, NULL, slow_age_ns >= 0 ? &age : NULL);
}

struct metric_list *fast_list_about(const struct plan *plan, bool lone,
	int64_t slow_age_ns, bool stale, int64_t time_ns)
{
	const struct plan_part *about = &plan->parts[PLAN_ABOUT],
			       *kernel = &plan->parts[PLAN_KERNEL];
	struct metric_list_builder *b = metric_list_builder_new(plan->specs, time_ns);

	for (size_t i = 0; i < about->n; i++)
		add_about(b, &about->items[i], slow_age_ns, stale);
	for (size_t i = 0; lone && i < kernel->n; i++)
		if (!kernel->items[i].either)
			add_missing(b, &kernel->items[i]);
	if (metric_list_builder_count(b))
		return metric_list_builder_finish(b);
	metric_list_builder_free(b);
	return NULL;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/kernel/fast_list.h"

#include <string.h>

#include "core/catalogue.h"
#include "core/metric_list.h"
#include "model/plan.h"

static bool is_vcpu_key(int key)
{
	return key >= VM_VCPU_STATE && key <= VM_VCPU_DELAY_MAX;
}

static bool is_nic_key(int key)
{
	return key >= VM_NET_NAME && key <= VM_NET_TX_DROP;
}

static bool is_disk_key(int key)
{
	return key >= VM_HOSTDISK_NODE && key <= VM_HOSTDISK_FL_TIMES;
}

/* Adds a vCPU's, an interface's or a disk's value under the right name. */
static void add_numbered(struct metric_list_builder *b, const struct plan_item *item,
	unsigned number, const struct fact *fact)
{
	char text[16], *index = text + sizeof(text) - 1;

	*index = '\0';
	do
		*--index = (char)('0' + number % 10);
	while (number /= 10);
	metric_list_builder_add_fact(
		b, item->slot, item->number == PLAN_EACH ? index : NULL, fact);
}

static struct fact vcpu_fact(const struct vcpu_sample *v, int key)
{
	struct fact fact = { 0 };

	if (key == VM_VCPU_STATE)
		fact_set(&fact, value_i64(1)); /* VIR_VCPU_RUNNING */
	else if (key == VM_VCPU_TIME && v->have_time)
		fact_set(&fact, value_u64(v->time_ns));
	else if (key == VM_VCPU_DELAY && v->have_delay)
		fact_set(&fact, value_u64(v->delay_ns));
	else if (key == VM_VCPU_WAIT && v->have_wait)
		fact_set(&fact, value_u64(v->wait_ns));
	else if (key >= VM_VCPU_DELAY_P50 && v->spread.have)
		fact_set(&fact, value_u64(v->spread.ns[key - VM_VCPU_DELAY_P50]));
	return fact;
}

static bool is_counted(const struct vm_sample *sample, int key)
{
	return key == VM_VCPU_TIME         ? !sample->uncounted.time
		: key == VM_VCPU_DELAY     ? !sample->uncounted.delay
		: key == VM_VCPU_WAIT      ? !sample->uncounted.wait
		: key >= VM_VCPU_DELAY_P50 ? !sample->uncounted.spread
					   : true;
}

static void add_vcpus(struct metric_list_builder *b, const struct plan_item *item,
	const struct vm_sample *sample)
{
	size_t n = is_counted(sample, item->key) ? sample->n_vcpus : 0;
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		const struct vcpu_sample *v = &sample->vcpus[i];

		if (item->number != PLAN_EACH && (unsigned)item->number != v->number)
			continue;
		struct fact fact = vcpu_fact(v, item->key);

		add_numbered(b, item, v->number, &fact);
		any = true;
	}
	if (!any)
		metric_list_builder_add_absent(b, item->slot);
}

static void add_iothreads(struct metric_list_builder *b, const struct plan_item *item,
	const struct vm_sample *sample)
{
	bool any = false;

	for (size_t i = 0; i < sample->n_iothreads; i++) {
		const struct vcpu_sample *t = &sample->iothreads[i];
		const struct fact fact = { .have = t->have_time,
			.value = value_u64(t->time_ns) };

		if (item->number != PLAN_EACH && (unsigned)item->number != t->number)
			continue;
		add_numbered(b, item, t->number, &fact);
		any = true;
	}
	if (!any && sample->iothreads_known)
		metric_list_builder_add_absent(b, item->slot);
	else if (!any && item->number != PLAN_EACH)
		metric_list_builder_add(b, item->slot, NULL, NULL);
}

static void add_nics(struct metric_list_builder *b, const struct plan_item *item,
	const struct vm_sample *sample)
{
	bool any = false;

	for (size_t i = 0; i < sample->n_nics; i++) {
		const struct nic_sample *nic = &sample->nics[i];

		if (item->number != PLAN_EACH && (unsigned)item->number != nic->number)
			continue;
		struct fact fact = { .have = nic->have };

		fact.value = item->key == VM_NET_NAME
			? value_string(nic->name)
			: value_u64(nic->counters[item->key - VM_NET_RX_BYTES]);
		metric_list_builder_set_device(b, nic->name);
		add_numbered(b, item, nic->number, &fact);
		any = true;
	}
	metric_list_builder_set_device(b, NULL);
	if (!any)
		metric_list_builder_add_absent(b, item->slot);
}

static struct fact disk_fact(const struct disk_sample *disk, int key)
{
	struct fact fact = { 0 };

	if (key == VM_HOSTDISK_NODE && disk->node)
		fact_set(&fact, value_string(disk->node));
	else if (key != VM_HOSTDISK_NODE &&
		disk->known >> (key - VM_HOSTDISK_RD_REQS) & 1)
		fact_set(&fact, value_u64(disk->figures[key - VM_HOSTDISK_RD_REQS]));
	return fact;
}

/* A disk that is no device of the host has no number here. */
static void add_disks(struct metric_list_builder *b, const struct plan_item *item,
	const struct vm_sample *sample)
{
	bool any = false;

	for (size_t i = 0; i < sample->n_disks; i++) {
		const struct disk_sample *disk = &sample->disks[i];

		if (item->number != PLAN_EACH && (unsigned)item->number != disk->number)
			continue;
		if (item->key != VM_HOSTDISK_NODE &&
			!(disk->counted >> (item->key - VM_HOSTDISK_RD_REQS) & 1))
			continue;
		const struct fact fact = disk_fact(disk, item->key);

		metric_list_builder_set_device(b, disk->name);
		add_numbered(b, item, disk->number, &fact);
		any = true;
	}
	metric_list_builder_set_device(b, NULL);
	if (!any && sample->disks_known)
		metric_list_builder_add_absent(b, item->slot);
	else if (!any && item->number != PLAN_EACH)
		metric_list_builder_add(b, item->slot, NULL, NULL);
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
		if (is_nic_key(item->key))
			add_nics(b, item, sample);
		else if (is_disk_key(item->key))
			add_disks(b, item, sample);
		else if (is_vcpu_key(item->key))
			add_vcpus(b, item, sample);
		else if (item->key == VM_IOTHREAD_TIME)
			add_iothreads(b, item, sample);
		else
			metric_list_builder_add_fact(
				b, item->slot, NULL, &sample->facts[item->key]);
	}
	return metric_list_builder_finish(b);
}

static void add_about(struct metric_list_builder *b, const struct plan_item *item,
	const struct fast_about *about, bool asked)
{
	struct fact fact = { .absent = !asked };

	if (item->key == SAMPLE_STALE)
		fact_set(&fact, value_u64(about->stale));
	else if (about->slow_age_ns >= 0)
		fact_set(&fact, value_real((double)about->slow_age_ns / 1e9));
	metric_list_builder_add_fact(b, item->slot, NULL, &fact);
}

/* What the fast lane alone has. */
static void add_process(struct metric_list_builder *b, const struct plan *plan,
	const struct fast_about *about)
{
	const struct plan_part *part = &plan->parts[PLAN_KERNEL];
	const struct fact fact = { .absent = about->process == PROCESS_ABSENT };

	for (size_t i = 0; i < part->n; i++)
		if (!part->items[i].either)
			metric_list_builder_add_fact(b, part->items[i].slot, NULL, &fact);
}

/* What libvirt may have; which numbers there are is for itself to say. */
static void add_unanswered(struct metric_list_builder *b, const struct plan *plan,
	const struct fast_about *about)
{
	const struct plan_part *part = &plan->parts[PLAN_LIBVIRT];

	for (size_t i = 0; i < part->n; i++)
		if (!plan_kernel_serves(&part->items[i], about->known) &&
			!strchr(part->items[i].spec->source, '*'))
			metric_list_builder_add_source(
				b, part->items[i].slot, NULL, NULL);
}

struct metric_list *fast_list_about(
	const struct plan *plan, const struct fast_about *about, int64_t time_ns)
{
	const struct plan_part *part = &plan->parts[PLAN_ABOUT];
	struct metric_list_builder *b = metric_list_builder_new(plan->specs, time_ns);
	bool asked = plan_libvirt_reads(plan, about->known) != 0;

	for (size_t i = 0; i < part->n; i++)
		add_about(b, &part->items[i], about, asked);
	if (about->process != PROCESS_SAMPLED)
		add_process(b, plan, about);
	if (about->stale)
		add_unanswered(b, plan, about);
	if (metric_list_builder_count(b))
		return metric_list_builder_finish(b);
	metric_list_builder_free(b);
	return NULL;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model/plan.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/catalogue.h"
#include "core/grants.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/refs.h"

/* The first number in a source that has one where its entry has '*'. */
static int number_of(const struct metric_spec *spec)
{
	const char *digits = spec->source + strcspn(spec->source, "0123456789*");
	uint64_t n = 0;

	if (!strchr(spec->entry->name, '*') || *digits == '*')
		return PLAN_EACH;
	return parse_u64_at(&digits, &n) == 0 && n <= INT32_MAX ? (int)n : INT32_MAX;
}

/* True if libvirt's lane can stand in for the kernel's, or is the only one. */
static bool libvirt_has(const struct catalogue_entry *e)
{
	return !(e->reads & READS_KERNEL);
}

static void add(struct plan *plan, enum plan_part_number number, uint32_t slot)
{
	struct plan_part *part = &plan->parts[number];
	const struct metric_spec *spec = &plan->specs->specs[slot];
	const struct catalogue_entry *e = spec->entry;
	uint64_t reads = e ? e->reads : READS_NOTHING;

	part->items[part->n++] = (struct plan_item){ .spec = spec,
		.slot = slot,
		.key = e ? e->key : -1,
		.number = e ? number_of(spec) : PLAN_EACH,
		.either =
			!e || e->key < 0 || !libvirt_has(e) ? 0 : reads & READS_EITHER };
	part->reads |= reads;
}

static void add_source(struct plan *plan, uint32_t slot, const struct catalogue_entry *e)
{
	switch (e->collector) {
	case COLLECTOR_HOST:
		add(plan, PLAN_HOST, slot);
		break;
	case COLLECTOR_FLEET:
		add(plan, PLAN_FLEET, slot);
		break;
	case COLLECTOR_DOMAIN:
		add(plan, PLAN_DOMAIN, slot);
		break;
	case COLLECTOR_KERNEL:
		add(plan, PLAN_KERNEL, slot);
		break;
	case COLLECTOR_LIBVIRT:
		if (e->key >= 0)
			add(plan, PLAN_KERNEL, slot);
		add(plan, PLAN_LIBVIRT, slot);
		break;
	case COLLECTOR_USAGE:
		add(plan, PLAN_KERNEL, slot);
		if (libvirt_has(e))
			add(plan, PLAN_LIBVIRT, slot);
		break;
	case COLLECTOR_SAMPLE:
		add(plan, PLAN_ABOUT, slot);
		break;
	case COLLECTOR_SNAPSHOT: /* made when it is published */
	case COLLECTOR_COUNT:
		break;
	}
}

static int compare_sources(const void *a, const void *b)
{
	const struct plan_item *const *x = a, *const *y = b;
	int c = strcmp((*x)->spec->source, (*y)->spec->source);

	return c ? c : (*x)->slot < (*y)->slot ? -1 : (*x)->slot > (*y)->slot;
}

static void sort_sources(struct plan *plan)
{
	const struct plan_part *part = &plan->parts[PLAN_LIBVIRT];

	plan->by_source = xcalloc(part->n, sizeof(*plan->by_source));
	for (size_t i = 0; i < part->n; i++)
		plan->by_source[i] = &part->items[i];
	if (part->n)
		qsort((void *)plan->by_source, part->n, sizeof(*plan->by_source),
			compare_sources);
}

static bool same_specs(const struct spec_set *a, const struct spec_set *b)
{
	bool same = a->n == b->n;

	for (size_t i = 0; same && i < a->n; i++)
		same = spec_equal(&a->specs[i], &b->specs[i]);
	return same;
}

struct plan *plan_new(const struct plan *before, struct spec_set *specs,
	const struct plan_settings *settings)
{
	static _Atomic uint64_t plans;
	struct plan *plan = xcalloc(1, sizeof(*plan));
	bool same = before && same_specs(before->specs, specs);

	refs_init(&plan->refs);
	plan->number = atomic_fetch_add(&plans, 1) + 1;
	plan->specs = spec_set_ref(same ? before->specs : specs);
	plan->settings = *settings;
	plan->settings.grants = grants_ref(settings->grants);
	plan->settings.action_path =
		settings->action_path ? xstrdup(settings->action_path) : NULL;
	for (size_t i = 0; i < PLAN_PART_COUNT; i++)
		plan->parts[i].items =
			xcalloc(plan->specs->n, sizeof(*plan->parts[i].items));
	plan->fingerprints = xcalloc(plan->specs->n, sizeof(*plan->fingerprints));
	for (uint32_t slot = 0; slot < plan->specs->n; slot++) {
		const struct metric_spec *spec = &plan->specs->specs[slot];

		plan->fingerprints[slot] = spec_fingerprint(spec);
		if (spec->entry)
			add_source(plan, slot, spec->entry);
		if (spec->action)
			add(plan, PLAN_ACTIONS, slot);
	}
	plan->vm_reads = plan->parts[PLAN_KERNEL].reads | plan->parts[PLAN_DOMAIN].reads |
		plan->parts[PLAN_FLEET].reads;
	sort_sources(plan);
	return plan;
}

struct plan *plan_ref(struct plan *plan)
{
	refs_take(&plan->refs);
	return plan;
}

void plan_unref(struct plan *plan)
{
	if (!plan || !refs_drop(&plan->refs))
		return;
	for (size_t i = 0; i < PLAN_PART_COUNT; i++)
		free(plan->parts[i].items);
	free((void *)plan->by_source);
	free(plan->fingerprints);
	free((void *)(uintptr_t)plan->settings.action_path);
	grants_unref(plan->settings.grants);
	spec_set_unref(plan->specs);
	free(plan);
}

bool plan_seldom_apart(const struct plan *plan)
{
	return plan->settings.balloon_period_ns > plan->settings.slow_period_ns;
}

uint64_t plan_libvirt_reads(const struct plan *plan, uint64_t known)
{
	const struct plan_part *part = &plan->parts[PLAN_LIBVIRT];
	/* for host.vms.* and domain.cpu.limit */
	uint64_t reads =
		(plan->parts[PLAN_FLEET].reads | plan->parts[PLAN_DOMAIN].reads) &
		READS_EITHER & ~known;

	for (size_t i = 0; i < part->n; i++)
		if (!plan_kernel_serves(&part->items[i], known))
			reads |= part->items[i].spec->entry->reads;
	return reads;
}

const struct plan_item *const *plan_find_source(
	const struct plan *plan, const char *source, size_t *ret_n)
{
	size_t low = 0, high = plan->parts[PLAN_LIBVIRT].n, end;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (strcmp(plan->by_source[mid]->spec->source, source) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	for (end = low; end < plan->parts[PLAN_LIBVIRT].n &&
		!strcmp(plan->by_source[end]->spec->source, source);
		end++)
		;
	*ret_n = end - low;
	return end > low ? &plan->by_source[low] : NULL;
}

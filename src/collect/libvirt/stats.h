/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From libvirt's statistics of one domain to the metrics that the configuration asks for.
 * A plan is made once for each configuration, immutable afterwards and
 * reference-counted; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <libvirt/libvirt.h>

struct metric_list;
struct spec_set;
struct virt_plan;
struct run;
struct vm_counters;

/* Keeps a reference to @specs. */
struct virt_plan *virt_plan_new(struct spec_set *specs);
struct virt_plan *virt_plan_ref(struct virt_plan *plan);
void virt_plan_unref(struct virt_plan *plan); /* NULL is accepted */

/* The configuration that it was made for; borrowed. */
struct spec_set *virt_plan_specs(const struct virt_plan *plan);

/*
 * The statistics groups (VIR_DOMAIN_STATS_*) to ask for of a VM of which the fast lane
 * serves @cover (enum vm_cover); 0: none.
 */
unsigned virt_plan_groups(const struct virt_plan *plan, unsigned cover);

/*
 * One domain's metrics, less what the fast lane covers.  Tells @vm its size where the fast
 * lane does not.
 * @last: counters of the sample before, moves on; @time_ns, @mono_ns: taken before libvirt
 * was asked.  Return: a list owned by the caller.
 */
struct metric_list *virt_stats_convert(const struct virt_plan *plan, struct run *vm,
	const virDomainStatsRecord *record, unsigned cover, struct vm_counters *last,
	int64_t time_ns, int64_t mono_ns);

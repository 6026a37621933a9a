/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From libvirt's statistics of one domain to the metrics that the configuration asks for.
 * A plan is made once for each configuration and immutable afterwards; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <libvirt/libvirt.h>

#include "core/snapshot.h"

struct metric_list;
struct spec_set;
struct virt_plan;

/* Keeps a reference to @specs. */
struct virt_plan *virt_plan_new(struct spec_set *specs);
void virt_plan_free(struct virt_plan *plan); /* NULL is accepted */

/* The statistics groups that the plan needs: VIR_DOMAIN_STATS_*. */
unsigned virt_plan_groups(const struct virt_plan *plan);

/* What one domain adds to host.vms.*. */
struct virt_totals {
	uint64_t vms, vcpus, memory_kib;
};

/*
 * One domain's metrics.
 * @root_fd: for qemu_proc_delays() where libvirt has no vcpu.N.delay; -1: do not try.
 * @time_ns: real time, taken before libvirt was asked.  @totals: added to.
 * Return: a list owned by the caller.
 */
struct metric_list *virt_stats_convert(const struct virt_plan *plan,
	const struct vm_ident *vm, const virDomainStatsRecord *record, int root_fd,
	int64_t time_ns, struct virt_totals *totals);

/*
 * The host's part: host.virt.product and host.vms.*.
 * @product: NULL if there is no connection; @totals: NULL likewise.
 */
struct metric_list *virt_stats_host(const struct virt_plan *plan, const char *product,
	const struct virt_totals *totals, int64_t time_ns);

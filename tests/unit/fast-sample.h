/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the fast lane makes of a VM. */
#pragma once

#include "collect/kernel/fast_list.h"
#include "collect/kernel/fast_vm.h"

/* fast_vm_measure(), and what became of it: a list owned by the caller; NULL if there is no process. */
static inline struct metric_list *fast_vm_sample(struct fast_vm *fv,
	const struct plan *plan, const struct link_stats *links,
	const struct disk_stats *disks, struct vm_sample *scratch)
{
	return fast_vm_measure(fv, plan, links, disks, scratch) == SAMPLE_NONE
		? NULL
		: fast_list(plan, scratch);
}

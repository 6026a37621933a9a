/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From libvirt's statistics of one domain to the metrics that the configuration asks for.
 * Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <libvirt/libvirt.h>

struct metric_list;
struct plan;
struct run;
struct vm_counters;

/*
 * The statistics groups (VIR_DOMAIN_STATS_*) to ask for of a VM of which the kernel's lane
 * knows @known (READS() of READS_EITHER); 0: none.
 */
unsigned virt_stats_groups(const struct plan *plan, uint64_t known);

/* True if there is more to ask often than READS_SELDOM, which has a period of its own. */
bool virt_stats_apart(const struct plan *plan, uint64_t known);

/* Those of them without what is for READS_SELDOM alone. */
unsigned virt_stats_often(const struct plan *plan, uint64_t known);

/* Of what a QEMU can be asked for, what costs it least, as it is one short command. */
#define VIRT_STATS_PULSE VIR_DOMAIN_STATS_IOTHREAD

/*
 * True if all that a QEMU is to be asked for changes only when one of its home threads has run
 * (model/home_threads.h).
 */
bool virt_stats_by_home(const struct plan *plan, uint64_t known);

/*
 * True if a record tells what a monitor alone knows, of a disk.  False says nothing: there may
 * be none.
 */
bool virt_stats_of_monitor(const virDomainStatsRecord *record);

/*
 * One domain's metrics, less those that the kernel's lane serves, which knows @known.  Tells
 * @vm its size where that lane does not.
 * @whole: what the record does not name is not there; else what a monitor may know of that
 * cannot be had now.
 * @last: counters of the sample before, moves on; @time_ns, @mono_ns: taken before libvirt
 * was asked.  Return: a list owned by the caller.
 */
struct metric_list *virt_stats_convert(const struct plan *plan, struct run *vm,
	const virDomainStatsRecord *record, uint64_t known, bool whole,
	struct vm_counters *last, int64_t time_ns, int64_t mono_ns);

/*
 * The same with READS_SELDOM apart.  @ret_seldom: a list of that, owned by the caller; NULL: it was not
 * asked for.  Return: a list of the rest.
 */
struct metric_list *virt_stats_convert_apart(const struct plan *plan, struct run *vm,
	const virDomainStatsRecord *record, uint64_t known, bool whole,
	struct vm_counters *last, int64_t time_ns, int64_t mono_ns,
	struct metric_list **ret_seldom);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The cgroup that libvirt made for a QEMU domain, version 1, 2 or both, through descriptors
 * that are kept open (kernel: Documentation/admin-guide/cgroup-v2.rst, scheduler/sched-bwc.rst).
 * One thread at a time.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "model/vm_sample.h"

/* What a file of pressures tells while nothing of it can change. */
struct calm {
	bool known; /* it told what is below when it was read last, and no averages */
	bool lasts; /* and twice in a row, while nobody ran */
	unsigned samples;   /* since it was read */
	uint64_t totals[2]; /* some, full */
};

struct qemu_cgroup {
	int cpu_stat;      /* version 2: usage, user, system */
	int cpu_usage;     /* version 1: cpuacct.usage */
	int cpu_times;     /* version 1: cpuacct.stat */
	uint64_t id;       /* of the group that counts times; 0: none does */
	struct fact usage; /* of the last sample */
	int64_t usage_mono_ns;
	bool slept; /* nothing of the VM ran between the last two samples */
	int memory;
	int pressure[3]; /* cpu, memory, io */
	struct calm calm[3];
	/* quotas: the VM's directory, and cpu.stat of it, of those below and of those above */
	int quota_dir;
	struct quota_group *groups; /* those above come first */
	size_t n_groups, cap_groups, n_above;
	unsigned turn;      /* counts samples: which groups to look at */
	unsigned relist_in; /* samples until those below are listed again */
	bool relist;        /* they may be others now */
	bool listed;        /* all of them, and those above, at least once */
	bool uncounted;     /* none of them tells of periods: there is no controller */
};

#define QEMU_CGROUP_INIT                                                                 \
	((struct qemu_cgroup){ .cpu_stat = -1,                                           \
		.cpu_usage = -1,                                                         \
		.cpu_times = -1,                                                         \
		.memory = -1,                                                            \
		.quota_dir = -1,                                                         \
		.pressure = { -1, -1, -1 } })

/*
 * Opens what must be read for @reads (core/catalogue.h) of the cgroup that @text, the
 * process' /proc/<pid>/cgroup, names.  A process that shares a cgroup with others has none
 * of its own; then nothing is opened.  @root_fd: the directory that holds sys/fs/cgroup.
 */
void qemu_cgroup_open(
	int root_fd, const char *text, uint64_t reads, struct qemu_cgroup *cg);
void qemu_cgroup_done(struct qemu_cgroup *cg);

/*
 * Adds what can be read to @out: VM_CPU_*, VM_THROTTLE*, VM_CGROUP_MEMORY, VM_PRESSURE_*.
 * Groups below the VM's that come and go, and a quota that is set on one for the first time,
 * are noticed within some samples.
 * Return: false if the VM's group is no more: the process must be in another one.
 */
bool qemu_cgroup_sample(struct qemu_cgroup *cg, struct vm_sample *out);

/*
 * True if the last sample found that nothing of the VM, no thread of its process and nobody else in
 * its group, has run since the one before.  Nothing changed then that only they can change.
 * (Where a processor has no tick, nohz_full, that of who runs on it is counted each second.)
 */
bool qemu_cgroup_slept(const struct qemu_cgroup *cg);

/* A thread that may have a group of its own came or went: list them with the next sample. */
void qemu_cgroup_relist(struct qemu_cgroup *cg);

/* True if its cgroup counts the VM's time; then nobody else's figure may stand in for it. */
bool qemu_cgroup_has_time(const struct qemu_cgroup *cg);
bool qemu_cgroup_has_modes(const struct qemu_cgroup *cg); /* user and system time */

/* READS(), of those that it was opened for, of what its cgroup has no file for. */
uint64_t qemu_cgroup_absent(const struct qemu_cgroup *cg, uint64_t reads);

/*
 * The VM's weight: cpu.weight (1 to 10000) or cpu.shares (2 to 262144).
 * Return: 0, or -ENOENT if it has no cgroup of its own.
 */
int qemu_cgroup_shares(int root_fd, const char *text, uint64_t *ret);

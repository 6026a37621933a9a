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

struct qemu_cgroup {
	int cpu_stat;  /* version 2: usage, user, system */
	int cpu_usage; /* version 1: cpuacct.usage */
	int cpu_times; /* version 1: cpuacct.stat */
	int memory;
	int pressure[3]; /* cpu, memory, io */
	int *throttle;   /* cpu.stat of each group with a quota */
	size_t n_throttle, cap_throttle;
	bool has_cpu; /* throttling can be known */
};

#define QEMU_CGROUP_INIT                                                                 \
	((struct qemu_cgroup){ .cpu_stat = -1,                                           \
		.cpu_usage = -1,                                                         \
		.cpu_times = -1,                                                         \
		.memory = -1,                                                            \
		.pressure = { -1, -1, -1 } })

/*
 * Opens what must be read for @reads (core/catalogue.h) of the cgroup that @text, the
 * process' /proc/<pid>/cgroup, names.  A process that shares a cgroup with others has none
 * of its own; then nothing is opened.  @root_fd: the directory that holds sys/fs/cgroup.
 */
void qemu_cgroup_open(
	int root_fd, const char *text, uint64_t reads, struct qemu_cgroup *cg);
void qemu_cgroup_done(struct qemu_cgroup *cg);

/* Adds what can be read to @out: VM_CPU_*, VM_THROTTLE*, VM_CGROUP_MEMORY, VM_PRESSURE_*. */
void qemu_cgroup_sample(const struct qemu_cgroup *cg, struct vm_sample *out);

/*
 * The VM's weight: cpu.weight (1 to 10000) or cpu.shares (2 to 262144).
 * Return: 0, or -ENOENT if it has no cgroup of its own.
 */
int qemu_cgroup_shares(int root_fd, const char *text, uint64_t *ret);

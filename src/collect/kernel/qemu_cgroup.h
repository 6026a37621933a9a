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

/* What is asked of the cgroup; also how qemu_proc is asked. */
enum qemu_need {
	NEED_CGROUP_CPU = 1 << 0,
	NEED_CGROUP_MEMORY = 1 << 1,
	NEED_THROTTLE = 1 << 2,
	NEED_PRESSURE_CPU = 1 << 3,
	NEED_PRESSURE_MEMORY = 1 << 4,
	NEED_PRESSURE_IO = 1 << 5,
	NEED_PROC_IO = 1 << 6,
	NEED_VCPUS = 1 << 7,
	NEED_WAIT = 1 << 8, /* the kernel counts waiting: kernel.sched_schedstats is 1 */
};

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
 * Opens what @needs asks for of the cgroup that @text, the process' /proc/<pid>/cgroup,
 * names.  A process that shares a cgroup with others has none of its own; then nothing is
 * opened.  @root_fd: the directory that holds sys/fs/cgroup.
 */
void qemu_cgroup_open(
	int root_fd, const char *text, unsigned needs, struct qemu_cgroup *cg);
void qemu_cgroup_done(struct qemu_cgroup *cg);

/* Adds what can be read to @out: VM_CPU_*, VM_THROTTLE*, VM_CGROUP_MEMORY, VM_PRESSURE_*. */
void qemu_cgroup_sample(const struct qemu_cgroup *cg, struct vm_sample *out);

/*
 * The VM's weight: cpu.weight (1 to 10000) or cpu.shares (2 to 262144).
 * Return: 0, or -ENOENT if it has no cgroup of its own.
 */
int qemu_cgroup_shares(int root_fd, const char *text, uint64_t *ret);

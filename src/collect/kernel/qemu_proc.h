/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One QEMU process as the kernel shows it: the files of /proc/<pid> and of the VM's cgroup,
 * found once and kept open, so that a sample is a few reads that nobody can hold up.  A kept
 * descriptor belongs to that process for ever: after its end reads fail, whoever gets the
 * pid next.  One thread at a time; may move from one thread to another.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "collect/kernel/qemu_cgroup.h"
#include "core/snapshot.h"

struct qemu_proc;

/*
 * Finds the process of a VM through run/libvirt/qemu/<name>.pid, makes sure by its command
 * line that it runs the VM of that uuid, or, as the uuid there may be another one
 * (<hwuuid>), of that name, and opens what must be read for @reads (core/catalogue.h).
 * @root_fd: the directory that holds proc, run and sys, "/" or a fixture; borrowed for the
 * result's life.
 * Return: 0; -ENOENT (no pid file, or no such process); -ESRCH (the pid is another
 * process'); -EACCES (hidden from us); -errno.
 */
int qemu_proc_open(
	int root_fd, const struct vm_ident *vm, uint64_t reads, struct qemu_proc **ret);
void qemu_proc_free(struct qemu_proc *proc); /* NULL is accepted */

/* A descriptor of the process' stat file, the caller's to close; -1 if there is no more. */
int qemu_proc_stat_fd(const struct qemu_proc *proc);

/* Its process id; more than 0. */
int qemu_proc_pid(const struct qemu_proc *proc);

/* When the process started, in clock ticks since the host booted. */
uint64_t qemu_proc_start_ticks(const struct qemu_proc *proc);

/*
 * Adds the process' and the cgroup's figures to @out, and to what it knows READS(CPU),
 * READS(RSS), and READS(VCPUS) if the vCPUs' threads are there.  Threads that came or went
 * are noticed.  Return: 0, or -ESRCH if the process has ended.
 */
int qemu_proc_sample(struct qemu_proc *proc, struct vm_sample *out);

/* qemu_cgroup_slept() */
bool qemu_proc_slept(const struct qemu_proc *proc);

/* The VM's weight for the processor; see qemu_cgroup_shares(). */
int qemu_proc_shares(const struct qemu_proc *proc, uint64_t *ret);

/* True if the process @pid is there and is the one that started then.  Any thread. */
bool qemu_proc_runs(int root_fd, int pid, uint64_t start_ticks);

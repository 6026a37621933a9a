/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a libvirt older than 7.2 does not say: the delay of each vCPU, from the schedstat
 * file of its thread.  Any thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * Reads the delay of vCPUs 0 to @n - 1 of the QEMU domain @name.
 * @root_fd: the directory that holds proc and run, "/" or a fixture.
 * The process is found through run/libvirt/qemu/<name>.pid, its vCPU threads by their
 * names ("CPU 0/KVM", "CPU 0/TCG").  Second field of /proc/<pid>/task/<tid>/schedstat:
 * nanoseconds on a run queue (kernel: Documentation/scheduler/sched-stats).
 * @ret_delay_ns: @n entries; UINT64_MAX where there is no such thread.
 * Return: 0, or -errno if the process cannot be found or read.
 */
int qemu_proc_delays(int root_fd, const char *name, uint64_t *ret_delay_ns, size_t n);

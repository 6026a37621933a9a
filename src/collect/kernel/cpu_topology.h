/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How many processors, cores and sockets a host uses, as sysfs has it on all architectures.
 * Counts what is distinct, and trusts no number to be unique: core ids repeat within a
 * package, those of packages within a book, and either may be -1 for all.  Any thread.
 */
#pragma once

#include <stddef.h>

struct cpu_counts {
	size_t cpus, cores, sockets; /* 0 only if no CPU is online */
};

/*
 * @root_fd: the directory that holds sys; @online: the CPUs to look at, a list such as
 * "0-3,8" (cpuset(7)); it is read as far as it is one.
 */
void cpu_topology_count(int root_fd, const char *online, struct cpu_counts *ret);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Finds what the fast lane samples: the process of each run of the registry, and the
 * interfaces and devices of the host that its description names.  On a thread of its own, because opening files of
 * a process can take long when that process is in trouble; it samples nothing, but hands
 * over what it found (collect/kernel/fast_vm.h) and calls @found.
 */
#pragma once

#include <stdbool.h>

struct board;
struct delay_source;
struct finder;
struct registry;
struct shortage;

struct finder_params {
	struct registry *registry;
	struct board *board;         /* its configuration says what to open */
	int root_fd;                 /* holds proc, sys and run; borrowed */
	struct shortage *shortage;   /* to be told */
	struct delay_source *delays; /* likewise: what the configuration asks for */

	/* Something was handed over.  From the finder's thread; must not block. */
	void (*found)(void *ctx);
	void *ctx;
};

/* Return: NULL with a logged error if there is no thread to be had. */
struct finder *finder_start(const struct finder_params *params);
void finder_stop(struct finder *finder); /* frees; NULL is accepted */

/* There may be something to do: VMs, descriptions or the configuration have changed. */
void finder_wake(struct finder *finder);

/*
 * True if the kernel counts waiting (kernel.sched_schedstats), which may change.
 * @known: what was known before, if it cannot be read for want of descriptors.
 */
bool finder_waits_counted(int root_fd, bool known);

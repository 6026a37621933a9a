/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The figures that `vhostmdctl top` shows, as sources of the catalogue, and how they are called
 * in metrics.prom.  Immutable after top_figures_new(); knows nothing of VMs or terminals.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* What there is one of for each figure of its kind. */
enum top_scope {
	TOP_HOST,
	TOP_VM,
	TOP_VCPU, /* these are of a VM, too */
	TOP_DISK,
	TOP_NET,
	TOP_SCOPES
};

/* Who samples it, and so when (vhostmd(8), SAMPLING). */
enum top_lane { TOP_FAST, TOP_SLOW, TOP_LANES };

enum top_host_figure {
	TOP_HOST_CPUS,
	TOP_HOST_CPU_TIME,
	TOP_HOST_CPU_STEAL,
	TOP_HOST_LOAD,
	TOP_HOST_MEMORY_TOTAL,
	TOP_HOST_MEMORY_USED,
	TOP_HOST_SWAP_USED,
	TOP_HOST_PRESSURE_CPU,
	TOP_HOST_PRESSURE_MEMORY,
	TOP_HOST_PRESSURE_IO,
	TOP_HOST_FIGURES
};

enum top_vm_figure {
	TOP_VM_STATE,
	TOP_VM_VCPUS,
	TOP_VM_CPU_TIME,
	TOP_VM_CPU_USAGE,
	TOP_VM_DELAY,
	TOP_VM_STEAL_USAGE,
	TOP_VM_THROTTLED,
	TOP_VM_THROTTLED_USAGE,
	TOP_VM_RSS,
	TOP_VM_CHARGED,
	TOP_VM_BALLOON,
	TOP_VM_PRESSURE,
	TOP_VM_PRESSURE_USAGE,
	TOP_VM_PRESSURE_AVG10,
	TOP_VM_SWAP_IN,
	TOP_VM_SWAP_OUT,
	TOP_VM_STALE,
	TOP_VM_THREADS,
	TOP_VM_FIGURES
};

enum top_vcpu_figure { TOP_VCPU_STATE, TOP_VCPU_TIME, TOP_VCPU_DELAY, TOP_VCPU_FIGURES };

enum top_disk_figure {
	TOP_DISK_READ_BYTES,
	TOP_DISK_WRITTEN_BYTES,
	TOP_DISK_READS,
	TOP_DISK_WRITES,
	TOP_DISK_FLUSHES,
	TOP_DISK_READ_TIME,
	TOP_DISK_WRITE_TIME,
	TOP_DISK_FLUSH_TIME,
	TOP_DISK_FIGURES
};

enum top_net_figure {
	TOP_NET_RECEIVED_BYTES,
	TOP_NET_SENT_BYTES,
	TOP_NET_RECEIVED_PACKETS,
	TOP_NET_SENT_PACKETS,
	TOP_NET_RECEIVED_DROPS,
	TOP_NET_SENT_DROPS,
	TOP_NET_FIGURES
};

struct top_figure {
	const char *source; /* of the catalogue; static */
	enum top_scope scope;
	size_t at; /* its place among those of its scope */
	enum top_lane lane;
	bool by_kernel; /* a VM that has it is sampled by the fast lane */
	/* of the catalogue */
	bool is_counter;
	char *family;
};

struct top_figures;

struct top_figures *top_figures_new(void);
void top_figures_free(struct top_figures *figures); /* NULL is accepted */

/* The figure of a family, NULL if it is not shown. */
const struct top_figure *top_figures_find(
	const struct top_figures *figures, const char *family);

/* All of a scope, by their place. */
const struct top_figure *const *top_figures_of(
	const struct top_figures *figures, enum top_scope scope, size_t *ret_n);

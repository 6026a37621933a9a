/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Is this VM held back, and by what: an opinion from two snapshots of what the host says.
 *
 * Pure: no clock, no files, nothing of the guest's own.  Each cause is judged by the time that
 * the VM lost by it, as figures of the host tell; a figure that is not told, was reset in between
 * or cannot be true makes its cause "not known", never "none".  vm-dump-metrics(1) describes the
 * thresholds and where they are from.  Memory that is short ends the program.  Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct vhostmd_snapshot;

enum why_cause {
	WHY_STEAL,        /* of a vCPU: it was ready to run and got no processor */
	WHY_QUOTA,        /* a quota of CPU time stopped it */
	WHY_MEMORY,       /* its process on the host waited for memory */
	WHY_BALLOON,      /* the balloon holds memory of it */
	WHY_DISK_LATENCY, /* of a disk: requests take long */
	WHY_DISK_LIMIT,   /* of a disk: as much as its limit permits is done */
	WHY_HOST_CPU, /* the host has fewer CPUs than it promised, and all of them are busy */
	WHY_HOST_STEAL,  /* the host is a VM itself, and waits for processors */
	WHY_HOST_MEMORY, /* the host is short of memory */
	WHY_CAUSE_COUNT
};

/* From good to bad, but for what is not known. */
enum why_degree { WHY_UNKNOWN, WHY_NONE, WHY_SOME, WHY_MUCH };

/* What there is to be seen of a cause; each may be missing. */
enum why_figure {
	WHY_LOST,          /* %: what the degree is judged by, see why.c */
	WHY_WAITED,        /* s */
	WHY_RAN,           /* s */
	WHY_STOPPED,       /* s */
	WHY_LIMIT_CPUS,    /* how many of the host's CPUs it may keep busy */
	WHY_RESIDENT,      /* bytes that its process has on the host */
	WHY_HARD_LIMIT,    /* bytes that that one may have */
	WHY_CURRENT,       /* bytes that the balloon leaves */
	WHY_MAXIMUM,       /* bytes without it */
	WHY_USABLE,        /* bytes of those left that the guest could still use */
	WHY_LATENCY,       /* s: mean of a request, of the kind that takes longest */
	WHY_REQUESTS,      /* how many of that kind */
	WHY_RATE,          /* of what is limited, each second */
	WHY_LIMIT,         /* of the same */
	WHY_OVERCOMMIT,    /* promised, as a multiple of what there is */
	WHY_HOST_BUSY,     /* %: of the host's CPUs */
	WHY_HOST_PRESSURE, /* %: of the time something on the host waited for memory */
	WHY_FIGURE_COUNT
};

/* What is found of one cause, or of one of its vCPUs or disks. */
struct why_entry {
	enum why_cause cause;
	enum why_degree degree;
	long number;     /* of the vCPU or disk in the metrics' names; -1: the whole VM */
	char device[32]; /* a disk's name in the VM's configuration; "" */
	/* of a disk: which requests take longest, and libvirt's name of the nearest limit; NULL */
	const char *kind, *limit;
	double figures[WHY_FIGURE_COUNT]; /* NAN: missing */
	/* WHY_UNKNOWN: which metric, or pattern of metrics, and why: enum vhostmd_error */
	char metric[64];
	int error;
	bool is_stale; /* the host does not get an answer from the VM's monitor */
};

struct why_report {
	int error; /* the snapshots cannot be compared: enum vhostmd_error; no entries then */
	double seconds;            /* between them */
	struct why_entry *entries; /* of a cause together, and at least one of each */
	size_t n, cap;
};

/* Fills in *@ret, which is the caller's, for why_done(). */
void why_look(const struct vhostmd_snapshot *before, const struct vhostmd_snapshot *now,
	struct why_report *ret);
void why_done(struct why_report *r);

/* The worst of a cause; WHY_UNKNOWN if nothing is bad, and not all of it is known. */
enum why_degree why_degree_of(const struct why_report *r, enum why_cause cause);

/* The same of all causes. */
enum why_degree why_verdict(const struct why_report *r);

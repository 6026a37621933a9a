/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One run of a VM, from its start to its end: who it is, the few facts that collectors tell
 * each other, and a place for what each of them keeps of it.  Made by the registry
 * (model/registry.h), shared by all, reference-counted; another run of the same VM is
 * another one.  What somebody keeps in his place is freed with the run, so that nobody needs
 * a table of VMs of his own, nor to be told that one is gone before he lets go of it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/snapshot.h"
#include "util/cleanup.h"

struct description;

/* Whose place; each is guarded as its owner says. */
enum run_place {
	PLACE_BOARD,    /* model/board: the newest lists of each lane */
	PLACE_KERNEL,   /* collect/kernel: process, cgroup, counters */
	PLACE_DESCRIBE, /* collect/libvirt/describe: what is to be read, and when */
	PLACE_SLOW,     /* collect/libvirt/slow: when to ask, and what it answered */
	RUN_PLACE_COUNT,
};

/* Which kind of process runs it. */
enum hypervisor {
	HYPERVISOR_OTHER, /* none that is known: libvirt's figures alone */
	HYPERVISOR_QEMU,
};

struct run {
	_Atomic unsigned refs;

	/* immutable */
	struct vm_ident ident; /* owns the name */
	uint64_t key;          /* uuid_key() */
	enum hypervisor hypervisor;
	int64_t since_mono_ns; /* it was first heard of */

	_Atomic bool gone; /* it has ended; set once, by the registry */
	/* registry.reports */
	uint64_t order; /* of the last report of it */
	/* what it is made of, the newest; guarded by registry.lock: registry_description() */
	struct description *description;

	/* told by the fast lane */
	_Atomic uint64_t
		known; /* READS() of READS_EITHER: what it serves in libvirt's place */
	/* told by whoever samples them; 0: not known */
	_Atomic uint64_t vcpus, rss_kib, balloon_kib;
	/* told by who finds the process; 0: not known.  The session never changes. */
	_Atomic uint64_t session, shares;
	_Atomic int64_t
		started_mono_ns; /* its process; of another hypervisor's: since_mono_ns */
	_Atomic int stat_fd;     /* /proc/<pid>/stat of its process; -1: not known */
	_Atomic int pid;         /* of its process; 0: not known */
	_Atomic uint64_t start_ticks; /* since boot; set before pid */
	_Atomic bool
		no_process; /* there is none that can be read, and none is looked for */

	/*
	 * Monotonic; 0: it runs.  Its process is gone, which libvirt has not told yet: it is
	 * not shown any more, and when libvirt goes on naming it, that is another run.
	 */
	_Atomic int64_t ended_mono_ns;

	/* told by the slow lane */
	_Atomic int64_t slow_mono_ns; /* its last good sample was begun; 0: never */
	_Atomic bool silent;          /* the monitor does not answer */

	struct {
		void *_Atomic state;
		void (*free)(void *state);
	} places[RUN_PLACE_COUNT];
};

/* Copies @ident. */
struct run *run_new(const struct vm_ident *ident, enum hypervisor hypervisor);
struct run *run_ref(struct run *run);
void run_unref(struct run *run); /* NULL is accepted */

/* The one rule: true if @ident is of this run, and not of another of the same VM. */
bool run_is(const struct run *run, const struct vm_ident *ident);

/* What the owner of @place keeps, NULL if nothing yet. */
void *run_place(const struct run *run, enum run_place place);

/*
 * Puts something into a place that is empty; one thread at a time for each place.
 * @free: called with it when nobody refers to the run any more, on whichever thread.
 */
void run_set_place(
	struct run *run, enum run_place place, void *state, void (*free)(void *state));

/*
 * Its process was found: @start_ticks tells it from another one with that pid; @stat_fd,
 * open on its stat file, moves here, -1: none.  Any thread.
 */
void run_set_process(struct run *run, int pid, uint64_t start_ticks, int stat_fd);

/*
 * True if its process does not run now, so that its monitor cannot answer: it is stopped,
 * or waits where no signal reaches it.  False if that is not known.  Any thread.
 */
bool run_is_stopped(const struct run *run);

/* True if its process is known and has not ended.  Any thread. */
bool run_has_process(const struct run *run);

static inline void run_unref_p(struct run **run)
{
	run_unref(*run);
}
#define _cleanup_run_ _cleanup_(run_unref_p)

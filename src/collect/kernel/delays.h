/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The waits of vCPUs for processors, as the program in the kernel counts them: the reader's side of
 * bpf/delay_format.h.  Tells the program which threads are vCPUs, and reads what it counted, both in
 * mapped memory: no call, no right.  One thread.
 *
 * Each vCPU that is read has a place, which it keeps as long as it is read at every turn, also by
 * the next process that has the maps.  Nothing in them is believed: whoever had them before may have
 * written anything.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "collect/kernel/delay_spread.h"

struct delay_maps;
struct delay_pairs_reader;
struct delays;

/*
 * Maps them; the descriptors are closed.  @now_ns: monotonic.
 * Return: NULL if they cannot be mapped (errno).
 */
struct delays *delays_new(const struct delay_maps *maps, int64_t now_ns);
void delays_free(struct delays *d); /* NULL is accepted */

/* A turn begins and ends: vCPUs that were not read in between are gone. */
void delays_begin(struct delays *d);
void delays_end(struct delays *d, int64_t now_ns);

/*
 * A VM's process, before its vCPUs are read: without it nobody knows them, nor what others wait for.
 * @use: what the VM is told as, delay_vm_use(); 0: not yet, then it is found out, or one is given that
 * no VM had.
 * Return: false: there is no room for it.
 */
bool delays_tell_process(
	struct delays *d, uint32_t pid, uint64_t start_ticks, uint32_t *use);

/* Which VM waited for which.  Borrowed; its turns are the caller's. */
struct delay_pairs_reader *delays_pairs(struct delays *d);

/* What is known of a vCPU's thread. */
enum delay_known {
	DELAY_KNOWN, /* figures of the time since they were read before */
	DELAY_STOOD, /* that was just now: they are the same */
	DELAY_BEGUN, /* it was not read before */
	DELAY_UNSEEN, /* it ran, and the program has not seen it: it may have another number there */
	DELAY_NO_ROOM, /* there are too many */
	DELAY_DEAD,    /* nobody counts any more */
};

struct delay_thread {
	uint32_t tid;
	uint64_t start_ticks; /* when it started */
	uint64_t ran_ns;      /* for how long it has run; it need not be exact */
};

/*
 * @now_ns: monotonic.  @ret: set if they are known.
 * @spread: if so, and not DELAY_STOOD, what they are made of is added.
 */
enum delay_known delays_read(struct delays *d, const struct delay_thread *thread,
	int64_t now_ns, struct delay_figures *ret, struct delay_spread *spread);

struct delay_counts {
	size_t vcpus;   /* that have a place */
	size_t room;    /* places */
	size_t no_room; /* vCPUs that had none, in the last turn */
	uint64_t lost;  /* waits in these places that were not seen whole */
};

struct delay_counts delays_counts(const struct delays *d);

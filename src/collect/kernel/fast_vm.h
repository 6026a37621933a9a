/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the fast lane keeps of one run (PLACE_KERNEL): its process and cgroup through kept
 * descriptors, its interfaces, and the counters that rates are made of.  The finder
 * (collect/kernel/finder.h) hands over what it finds; the sampler takes it in and owns it
 * from then on.  Whatever is handed over, counters go on: nobody can see that a VM was
 * looked at again.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "collect/kernel/link_stats.h"
#include "model/vm_sample.h"

struct delay_source;
struct description;
struct disk_stats;
struct fast_disks;
struct fast_vm;
struct metric_list;
struct plan;
struct qemu_proc;
struct run;

/* What its description says, prepared for sampling; made by one thread, given to another. */
struct fast_description;

/* Takes a reference to @description. */
struct fast_description *fast_description_new(
	int root_fd, struct description *description);
void fast_description_free(struct fast_description *d); /* NULL is accepted */

/* For @run, which outlives it.  @delays: asked while it is sampled; NULL: nobody. */
struct fast_vm *fast_vm_new(struct run *run, struct delay_source *delays);
void fast_vm_free(void *fv); /* NULL is accepted */

/* ---- the finder's side ---- */

/* What the finder remembers of a run; his thread only. */
struct fast_search {
	struct description *seen; /* the one that was handed over, with a reference */
	struct fast_disks *disks; /* likewise; NULL: none were */
	uint64_t reads;           /* READS(): what the process was opened for */
	unsigned tries;           /* to find the process, in vain */
	int64_t not_before_ns;    /* monotonic; the next try; INT64_MAX: none */
	bool opened;              /* the process was found */
};

struct fast_search *fast_vm_search(struct fast_vm *fv);

/* What is handed over moves; the sampler takes it in with his next sample. */
void fast_vm_hand_process(struct fast_vm *fv, struct qemu_proc *proc);
void fast_vm_hand_description(struct fast_vm *fv, struct fast_description *d);
void fast_vm_hand_disks(struct fast_vm *fv, struct fast_disks *disks);

/* ---- the sampler's side ---- */

enum fast_news {
	NEWS_FIRST = 1 << 0, /* nobody asked before */
	NEWS_PROCESS = 1 << 1,
	NEWS_DESCRIPTION = 1 << 2,
	NEWS_DISKS = 1 << 3,
};

/* Takes in what was handed over.  Return: what that is; 0: nothing. */
unsigned fast_vm_take_in(struct fast_vm *fv);

/* True once its process was taken in. */
bool fast_vm_has_process(const struct fast_vm *fv);

/* What its description promises, KiB; 0: not known. */
uint64_t fast_vm_memory_kib(const struct fast_vm *fv);

/*
 * Samples.  @links: the last dump, NULL for none; @disks: the last read, likewise; @scratch:
 * memory that is used again, and holds what was learnt.
 * Tells the run what is known.
 * Return: SAMPLE_NONE if there is no process (any more); SAMPLE_SAME: each figure that @plan asks for is
 * what it was in the sample before.
 */
enum fast_sampled { SAMPLE_NONE, SAMPLE_SAME, SAMPLE_NEW };
enum fast_sampled fast_vm_measure(struct fast_vm *fv, const struct plan *plan,
	const struct link_stats *links, const struct disk_stats *disks,
	struct vm_sample *scratch);

/*
 * Identity and limits, if they may differ from those of the last call: see domain_list().
 * Return: a list owned by the caller; NULL if nothing is new.
 */
struct metric_list *fast_vm_domain(
	struct fast_vm *fv, const struct plan *plan, uint64_t host_mhz);

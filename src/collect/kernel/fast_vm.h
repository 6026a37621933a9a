/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The fast lane's state of one VM: its process and cgroup through kept descriptors, and
 * its interfaces.  One thread at a time; made by discovery, then owned by the sampler.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "collect/kernel/link_stats.h"
#include "model/vm_sample.h"

struct fast_plan;
struct fast_vm;
struct description;
struct metric_list;
struct vm;

/* What its description says, prepared for sampling; made by one thread, given to another. */
struct fast_description;
struct fast_description *fast_description_new(
	int root_fd, const struct description *domain);
void fast_description_free(struct fast_description *d); /* NULL is accepted */

/* Takes a reference to @vm. */
struct fast_vm *fast_vm_new(struct vm *vm);
void fast_vm_free(struct fast_vm *fv); /* NULL is accepted */

/* Which VM; borrowed. */
struct vm *fast_vm_vm(const struct fast_vm *fv);

/* Finds its process: see qemu_proc_open().  Without one only libvirt serves this VM. */
int fast_vm_open(struct fast_vm *fv, int root_fd, unsigned needs);

/* True once its process was found. */
bool fast_vm_has_process(const struct fast_vm *fv);

/* When its process started; see qemu_proc_start_ticks(). */
uint64_t fast_vm_start_ticks(const struct fast_vm *fv);
int fast_vm_shares(const struct fast_vm *fv, uint64_t *ret);

/* Puts a description in the place of what was known; it moves here. */
void fast_vm_describe(struct fast_vm *fv, struct fast_description *d);

/* Takes over what an older state of the same run knows: rates go on. */
void fast_vm_inherit(struct fast_vm *fv, struct fast_vm *old);

/*
 * Samples.  @links: the last dump, NULL for none; @scratch: memory that is used again.
 * Tells the VM what is covered.  @ret_changed: vCPUs came or went since the last time.
 * Return: a list owned by the caller; NULL if there is no process (any more).
 */
struct metric_list *fast_vm_sample(struct fast_vm *fv, const struct fast_plan *plan,
	const struct link_stats *links, struct vm_sample *scratch, bool *ret_changed);

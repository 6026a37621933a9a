/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The last snapshots of host and VMs in a flat form, so that a process that replaces this
 * one shows at once what was shown before.  Writing copies about twenty bytes for each metric
 * and formats nothing.  Loading believes nothing: the bytes may come from a process that went
 * bad, or from another build.  No I/O, no locks; any thread.
 *
 * Layout, version 4; numbers in the machine's order and without alignment, strings as
 * a 16-bit length, the bytes and a NUL:
 *
 *	header, the fingerprint of each spec, the sizes of disks, the host, the VMs
 *	the host or a VM: what is known of its run (a VM alone, with its name), the scope's
 *		head, its histograms, its metrics (those about its samples last), its other
 *		counters, those that never fell first
 *	a metric: head, and as its flags say time, number, index, device, name, unit, text
 *
 * The header is that of any version: magic, version, size.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/counters.h"
#include "model/run.h"
#include "util/cleanup.h"

struct metric_list;
struct past_size;
struct plan;
struct snapshot;
struct view;

/* ---- writing ---- */

struct checkpoint_writer;

/*
 * @buf: room for @size bytes, NULL if that is 0; @plan: the one that @view's metrics are of.
 * Both are borrowed until the end.
 */
struct checkpoint_writer *checkpoint_writer_new(
	void *buf, size_t size, const struct plan *plan, const struct view *view);

/* Before the host; sizes_copy(). */
void checkpoint_writer_add_sizes(
	struct checkpoint_writer *w, const struct past_size *sizes, size_t n);

/*
 * What was written of a scope, but of its run and about its samples, in two pieces: up to the one, and
 * from there on.
 */
struct checkpoint_part {
	size_t at, about, rest, end; /* from the checkpoint's beginning */
	uint64_t texts;     /* which ones it may refer to, before it and behind it */
	uint32_t n_metrics; /* of the first piece */
	bool written;       /* there was room, and it may be repeated */
};

/*
 * The host first, with NULL for @run, then each VM in any order.
 * @counters: the scope's, all of which are to go on; NULL: none.
 */
struct checkpoint_part checkpoint_writer_add(struct checkpoint_writer *w,
	const struct snapshot *snapshot, const struct run *run,
	const struct counters *counters);

/*
 * The same of a scope of which nothing changed since @part was written of it into @last, a checkpoint
 * of the same specs, but when it was sampled, and what is known about that (COLLECTOR_SAMPLE).  @part is
 * that of this checkpoint then.
 * Return: false if it cannot be repeated, as texts that it refers to would be others, for one; then
 * nothing was written.
 */
bool checkpoint_writer_repeat(struct checkpoint_writer *w,
	const struct snapshot *snapshot, const struct run *run, const void *last,
	struct checkpoint_part *part);

/*
 * True if @list, of LANE_ABOUT, says nothing but what checkpoint_writer_repeat() writes anew, or that
 * does not apply.
 */
bool checkpoint_list_is_about(const struct metric_list *list);

/*
 * Return: how long the checkpoint is, which is complete or has the first VMs that there was
 * room for; 0 if there was none for the host.  *@ret_needed: how long with all of them.
 * @w is freed.
 */
size_t checkpoint_writer_finish(struct checkpoint_writer *w, size_t *ret_needed);

/* ---- loading ---- */

struct checkpoint_scope {
	/* a VM's */
	struct vm_ident ident; /* the name lies in the checkpoint's bytes */
	enum hypervisor hypervisor;
	int pid; /* 0: not known */
	uint64_t start_ticks, session, shares;
	uint64_t vcpus, rss_kib, balloon_kib;
	int64_t since_mono_ns, slow_mono_ns; /* 0: libvirt need not be asked */
	int64_t started_mono_ns;             /* 0: not known */

	uint64_t shape;
	int64_t shape_ns, updated_mono_ns;
	/* of the metrics that the plan still has in that form; NULL: of none */
	struct metric_list *list;
	struct counters counters;
};

struct checkpoint {
	uint64_t generation;
	uint64_t vms_shape, vms_generation;
	int64_t vms_ns;
	size_t n_sizes; /* of disks, for sizes_inherit() */
	struct past_size *sizes;
	struct checkpoint_scope host;
	size_t n_vms;
	struct checkpoint_scope *vms;
};

/*
 * @bytes: exactly a checkpoint; nobody changes them, and they stay as long as the result is
 * used.  What is allocated is in proportion to @size.
 * Return: 0; -EPROTO if it is of another version; -EINVAL if anything in it cannot be.
 */
int checkpoint_load(
	const void *bytes, size_t size, const struct plan *plan, struct checkpoint **ret);
void checkpoint_free(struct checkpoint *cp); /* NULL is accepted */

static inline void checkpoint_free_p(struct checkpoint **cp)
{
	checkpoint_free(*cp);
}
#define _cleanup_checkpoint_ _cleanup_(checkpoint_free_p)

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where collectors put what they sampled, and the only writer of the snapshot tree.  The
 * board keeps, for the host and in each run's place, the newest list of each lane;
 * publishing turns what changed into snapshots of all that the registry's roster shows.
 * Publishes by itself when VMs appear or go.  Any thread; calls are short and do no I/O.  A
 * lane is one collector's share of a scope.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/snapshot.h"

struct blame;
struct board;
struct plan;
struct registry;
struct run;
struct sizes;

/* Where several have a metric, the first of them is shown. */
enum {
	/* what the process before this one showed, as far as nobody brought it since */
	LANE_INHERITED,
	LANE_HOST,    /* collect/kernel/sampler: the host */
	LANE_FLEET,   /* collect/kernel/sampler: all VMs together, vhostmd itself */
	LANE_DOMAIN,  /* collect/kernel/sampler: identity and limits, of model/domain */
	LANE_FAST,    /* collect/kernel/sampler: from the kernel */
	LANE_LIBVIRT, /* collect/libvirt/slow: from libvirt */
	LANE_SELDOM,  /* the same: READS_SELDOM of it */
	LANE_ABOUT, /* collect/kernel/sampler: about the samples; does not make them newer */
	LANE_ACTION_0, /* the action of slot i has lane LANE_ACTION_0 + i */
};

/* @plan: a reference is taken.  @tree and @registry outlive the board. */
struct board *board_new(struct tree *tree, struct registry *registry, struct plan *plan);
void board_free(struct board *board);

/*
 * Goes on counting publications from @generation, and keeps the newest number there before
 * anybody can see what it is the number of.  Before the first publication; NULL is accepted.
 */
void board_follow(struct board *board, _Atomic uint64_t *generation);

/*
 * Puts another plan, that is another configuration, in force and publishes; then tells all
 * listeners.  Samples of metrics that both ask for stay; lists that were sampled for other
 * metrics and come later are dropped.
 */
void board_set_plan(struct board *board, struct plan *plan);

/* The plan in force, with a reference for the caller. */
struct plan *board_plan(struct board *board);

/*
 * Who has to do something at once when another plan is in force; all others find it with
 * board_plan() at their next turn.  Called from the thread that sets it, without a lock.
 */
struct plan_listener {
	void (*on_plan)(void *ctx, const struct plan *plan);
	void *ctx;
};

/* Also from the thread that sets plans; before the first is set. */
void board_subscribe(struct board *board, struct plan_listener listener);

/*
 * Stores a lane's newest list, to be seen with the next publication.
 * @run: NULL for the host; @list: the reference moves to the board; nobody else has one, as
 * counters go on in it (model/counters.h).  Dropped if that run is over or other metrics are
 * asked for since.
 */
void board_update(
	struct board *board, struct run *run, size_t lane, struct metric_list *list);

/*
 * The lane's list of a VM is true still: it was sampled once more, at @time_ns (real time), and nothing
 * was another.
 * Return: false if it must be made anew: there is none, other metrics are asked for since, or a counter
 * has just fallen, or the VM is shown as another process left it.
 */
bool board_keep(struct board *board, struct run *run, size_t lane, int64_t time_ns);

/*
 * Which VM waited for which, for the host, to be seen with the next publication and until there is
 * another.  @blame: the reference moves to the board; NULL: that is not known.
 */
void board_set_blame(struct board *board, struct blame *blame);

/* Makes all updates since the last publication visible at once. */
void board_publish(struct board *board);

/* ---- from one process to the next ---- */

/*
 * Writes what is published, and what else must go on (runs, counters), as a checkpoint
 * (model/checkpoint.h): the host, then as many VMs as fit.  Any thread; board.lock is held.
 * Return: its length, 0 if there is not even room for the host; *@ret_needed: the length
 * with all VMs.
 */
size_t board_checkpoint(struct board *board, void *buf, size_t size, size_t *ret_needed);

/*
 * Where one goes before each publication can be seen.  Both are called under board.lock, and
 * must be short.
 */
struct board_sink {
	void *(*begin)(void *ctx, size_t *ret_size); /* where to write, and how much */
	void (*commit)(void *ctx, size_t size);      /* it is written */
	void *ctx;
};
void board_set_sink(struct board *board, struct board_sink sink);

/* The sizes of disks go on, too: are written, and inherited.  Before any of that; it outlives @board. */
void board_set_sizes(struct board *board, struct sizes *sizes);

struct board_inheritance {
	const void *bytes; /* of a checkpoint, not believed; NULL: there is none */
	size_t size;
	/* the last that readers may have seen, which a checkpoint may be older than; 0: not known */
	uint64_t generation;
	/* true if that process still runs, and is not another one with its pid */
	bool (*runs)(void *ctx, int pid, uint64_t start_ticks);
	void *ctx;
};

/*
 * Goes on where the process before ended: the VMs whose process still runs, and those of
 * which none was known, are in the registry, and all is published at once with the times
 * that it had.  Before anything is reported to the registry, stored or published.
 *
 * An inherited figure goes when a collector brings one in its place, or says that there is
 * none.  As long as its collector says that it cannot be had now (a rate needs two samples,
 * a process is looked for) or says nothing of it, it stays until that collector had two
 * periods from its first list on, and 3 s at least: then that is true.  So one that nobody
 * brings any more goes, however seldom its lane has its turn, and with a libvirt that never
 * answers its figures stay as they would have in the process before, with the age that they
 * have.  An action's figures stay until it ran.
 *
 * Return: 0; -EPROTO or -EINVAL if the checkpoint cannot be used: then nothing of it is, and
 * generations alone go on.
 */
int board_inherit(struct board *board, const struct board_inheritance *from);

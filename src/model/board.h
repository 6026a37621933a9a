/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where collectors put what they sampled, and the only writer of the snapshot tree.  The
 * board knows the running VMs and keeps, for the host and each VM, the newest list of each
 * lane; publishing turns what changed into snapshots.  Any thread; calls are short and do no
 * I/O.  A lane is one collector's share of a scope.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/snapshot.h"

struct board;

/* Where several have a metric, the first of them is shown. */
enum {
	LANE_HOST,   /* collect/kernel/sampler: the host */
	LANE_FLEET,  /* collect/kernel/sampler: all VMs together, vhostmd itself */
	LANE_DOMAIN, /* collect/libvirt/connection: identity and limits */
	LANE_FAST,   /* collect/kernel/sampler: from the kernel */
	LANE_ABOUT, /* collect/kernel/sampler: about the samples; does not make them newer */
	LANE_LIBVIRT,  /* collect/libvirt/slow: from libvirt */
	LANE_ACTION_0, /* the action of slot i has lane LANE_ACTION_0 + i */
};

/* @specs: the configuration; a reference is taken.  @tree outlives the board. */
struct board *board_new(struct tree *tree, struct spec_set *specs);
void board_free(struct board *board);

/*
 * Puts another configuration in force and publishes.  Samples of metrics that both ask for
 * stay; lists that were sampled for the old one and come later are dropped.
 */
void board_set_specs(struct board *board, struct spec_set *specs);

/* The configuration in force, with a reference for the caller. */
struct spec_set *board_specs(struct board *board);

/*
 * A VM runs.  Known ones keep their samples unless their id changed (another run).
 * Publishes if anything changed.  Return: true if it was not known with this id.
 */
bool board_vm_start(struct board *board, const struct vm_ident *vm);

/*
 * A VM is gone; publishes.  @id: of the run that ended, -1 for whichever.
 * Return: true if it was known.
 */
bool board_vm_stop(struct board *board, const struct uuid *uuid, int id);

/* Copies of all VMs' identities; the caller frees with board_vms_free(). */
size_t board_vms(struct board *board, struct vm_ident **ret);
void board_vms_free(struct vm_ident *vms, size_t n);

/*
 * Stores a lane's newest list, to be seen with the next publication.
 * @vm: NULL for the host; @list: the reference moves to the board.  Dropped if that run of
 * the VM is over or the configuration has changed since.
 */
void board_update(struct board *board, const struct vm_ident *vm, size_t lane,
	struct metric_list *list);

/* Makes all updates since the last publication visible at once. */
void board_publish(struct board *board);

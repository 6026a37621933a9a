/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The libvirt collector: a read-only connection that is made, lost and made again without
 * anybody else noticing; VMs by lifecycle event; statistics in bulk.  Three threads of its
 * own, so that a libvirt that does not answer costs the VMs' figures their freshness and
 * nothing else:
 *   events    runs libvirt's event loop; a VM appears on the board from here
 *   discover  asks for a new VM's channel and its first statistics
 *   stats     connects, and asks for all statistics each period, on threads that it leaves
 *             alone when a QEMU that hangs holds a call up; the next call passes it by
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/uuid.h"

struct board;
struct strbuf;
struct virt;

struct virt_params {
	struct board *board;
	const char *uri; /* NULL: the hypervisor of this host */
	int64_t period_ns;
	int root_fd; /* for qemu_proc_delays(); borrowed */

	/*
	 * A VM's channel is known: @path of the host's socket, NULL if it has none.  From the
	 * discover thread; must not block.
	 */
	void (*on_channel)(void *ctx, const struct uuid *uuid, const char *path);
	/* A VM is gone.  From any of the threads; must not block. */
	void (*on_gone)(void *ctx, const struct uuid *uuid);
	void *ctx;
};

/* Starts the threads; never fails for want of a libvirt. */
struct virt *virt_start(const struct virt_params *params);

/* Puts another period in force and samples at once; also after board_set_specs(). */
void virt_reload(struct virt *virt, int64_t period_ns);

/*
 * Stops and frees; waits for calls to libvirt for a bounded time.
 * Return: false if a call did not end: then threads and memory are left to process exit.
 */
bool virt_stop(struct virt *virt);

/* Appends the lines of the status file. */
void virt_status(struct virt *virt, struct strbuf *out);

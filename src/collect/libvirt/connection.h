/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What libvirt runs: a read-only connection that is made, lost and made again without
 * anybody else noticing, and VMs that appear and go by its events.  Each VM is discovered
 * once, and again when its devices or vCPUs change: its process first, for the fast lane
 * (collect/sampler), then its description, then it is handed to the slow lane
 * (collect/slow).  Three threads, so that a libvirt that does not answer costs news of VMs
 * and the slow lane's figures their freshness, and nothing else:
 *   events    runs libvirt's event loop; a VM appears on the board from here
 *   discover  finds processes, and asks for descriptions
 *   connect   connects, and compares the VMs with libvirt's list now and then
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/fact.h"
#include "util/uuid.h"

struct board;
struct sampler;
struct strbuf;
struct virt;

struct virt_params {
	struct board *board;
	struct sampler *sampler;
	const char *uri; /* NULL: the hypervisor of this host */
	int64_t period_ns, slow_period_ns;
	int root_fd; /* holds proc, run and sys; borrowed */

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

/* Puts other periods in force and samples at once; also after board_set_specs(). */
void virt_reload(struct virt *virt, int64_t period_ns, int64_t slow_period_ns);

/*
 * Stops and frees; waits for calls to libvirt for a bounded time.
 * Return: false if a call did not end: then threads and memory are left to process exit.
 */
bool virt_stop(struct virt *virt);

/*
 * For the sampler: sets FLEET_VIRT_PRODUCT, whose text is written to @product, and
 * FLEET_SELF_SLOW_*.  Any thread.  Return: false while libvirt was never reached.
 */
bool virt_fill(struct virt *virt, struct fact *facts, struct strbuf *product);

/* A VM must be discovered again; @uuid NULL: all of them.  Any thread. */
void virt_rediscover(struct virt *virt, const struct uuid *uuid);

/* Appends the lines of the status file. */
void virt_status(struct virt *virt, struct strbuf *out);

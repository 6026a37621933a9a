/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libvirt as a finder: a read-only connection that is made, lost and made again without
 * anybody else noticing, and VMs that it reports to the registry by libvirt's events and,
 * now and then, its list.  Describing them (collect/libvirt/describe) and asking for their
 * statistics (collect/libvirt/slow) have threads of their own, so that a libvirt that does
 * not answer costs news of VMs and the slow lane's figures their freshness, and nothing
 * else.  Two threads here:
 *   events    runs libvirt's event loop; a VM appears and goes here
 *   connect   connects, and asks for the list
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/fact.h"

struct board;
struct registry;
struct strbuf;
struct virt;

struct virt_params {
	struct board *board;
	struct registry *registry;
	int root_fd;     /* the directory that holds proc, "/" or a fixture; borrowed */
	const char *uri; /* NULL: the hypervisor of this host */

	/* The hypervisor's version is known.  From the connect thread; must not block. */
	void (*on_connected)(void *ctx);
	void *ctx;
};

/*
 * Starts the threads; does not fail for want of a libvirt.  When another plan is on the
 * board all VMs are asked at once.
 * Return: 0; -errno with a logged error if there are no threads to be had.  Where libvirt is
 * not part of the build *@ret is NULL, which all others accept.
 */
int virt_start(const struct virt_params *params, struct virt **ret);

/*
 * Stops: nothing is reported any more.  Waits for calls to libvirt for a bounded time.
 * Return: false if a call did not end: then threads and memory are left to process exit.
 */
bool virt_stop(struct virt *virt);
void virt_free(struct virt *virt); /* after virt_stop(), when nobody asks it any more */

/*
 * For the sampler: sets FLEET_VIRT_PRODUCT, whose text is written to @product, and
 * FLEET_SELF_SLOW_*; all that needs libvirt is absent if it is not part of the build.  Any
 * thread.  @virt: NULL while it is not started.  Return: false while libvirt was never reached.
 */
bool virt_fill(struct virt *virt, struct fact *facts, struct strbuf *product);

/* Appends the lines of the status file.  @virt: the same. */
void virt_status(struct virt *virt, struct strbuf *out);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Discovery: finds out about each VM what the lanes need, on a thread of its own.  Its
 * process comes first, which needs no libvirt, so that a new VM's figures are there at
 * once even in a burst of starts; then its description.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <libvirt/libvirt.h>

#include "core/snapshot.h"

struct discover;
struct slow;
struct virt_params;

/* @params: copied, with the exception of what they point to. */
struct discover *discover_start(const struct virt_params *params, struct slow *slow);

/* Return: false if a call to libvirt did not end until then; nothing may be freed. */
bool discover_stop(struct discover *d, int64_t deadline_mono_ns);

/*
 * Any thread; none of them waits for libvirt.
 *   connect     a connection is there; domains of it will follow
 *   disconnect  all domains are of a connection that is lost
 *   vm          a VM runs (@fresh: a run not known before) as domain @dom, of which a
 *               reference is taken
 *   gone        it does not run any more
 *   again       look at it again; @uuid NULL: at all
 */
void discover_connect(struct discover *d, virConnectPtr conn);
void discover_disconnect(struct discover *d);
void discover_vm(
	struct discover *d, const struct vm_ident *ident, bool fresh, virDomainPtr dom);
void discover_gone(struct discover *d, const struct uuid *uuid);
void discover_again(struct discover *d, const struct uuid *uuid);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A libvirt that does as it is told, linked in the real one's place: a small world of VMs,
 * events that come when and in the order they are sent, calls that are held and fail at
 * will, connections that break.  Whatever collect/libvirt calls is here; what is not here
 * does not link.  Of the test's thread, but for the vir* functions themselves.
 *
 * A call takes its answer from the world first, then it is held, then it fails: so a held
 * call's answer is old when it comes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "core/snapshot.h"

#define FAKE_VMS 8u
#define FAKE_ALL FAKE_VMS /* in place of a VM: all of them, or a call that is of none */

enum fake_call {
	FAKE_OPEN,
	FAKE_LIST,
	FAKE_IDENT, /* virDomainGetName(): stands for a thread that gets no processor */
	FAKE_XML,
	FAKE_STATS,
	FAKE_PULSE, /* for what costs least */
	FAKE_CONTROL,
	/* one that fails is passed by: FAKE_STATS lacks "balloon.unused", "block.0.rd.reqs" */
	FAKE_MONITOR,
	FAKE_CALL_COUNT,
};

/* No VM runs, nothing is held, nothing fails, the next connection is the first. */
void fake_libvirt_reset(void);

/* How many connections and domains somebody has references to. */
unsigned fake_objects(void);

/* ---- the world ---- */

void fake_uuid(unsigned vm, struct uuid *ret);
void fake_start_silently(unsigned vm); /* another id than all before; no event */
void fake_stop_silently(unsigned vm);
void fake_set_memory(unsigned vm, unsigned kib); /* what its description says */

/* The same with the event, to be delivered after those before. */
void fake_start(unsigned vm);
void fake_stop(unsigned vm);
void fake_balloon(unsigned vm, unsigned kib);
void fake_plug(unsigned vm, unsigned kib); /* two interfaces, too */
void fake_suspend(unsigned vm);

/* ---- calls ---- */

/* Calls of that kind that concern @vm do not come back any more. */
void fake_hold(enum fake_call call, unsigned vm);
void fake_release(enum fake_call call, unsigned vm);

/* They fail when they come back; VIR_ERR_OK: not any more. */
void fake_fail(enum fake_call call, unsigned vm, virErrorNumber code);

/* The driver does not know VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT. */
void fake_forbid_nowait(void);

/* How many were made, and how many are held now. */
unsigned fake_calls(enum fake_call call, unsigned vm);
unsigned fake_held(enum fake_call call);

/* How many FAKE_STATS asked a VM for its balloon, too. */
extern _Atomic unsigned fake_balloons[FAKE_VMS];

/* How many were made on connections that were broken already. */
unsigned fake_calls_in_vain(void);

/* ---- connections ---- */

/*
 * The connection in force breaks, which the program is told by event.  Calls that are made
 * on it fail, and so do those that are held, unless their answers had @arrived.
 */
void fake_break(bool arrived);

/* Each connection breaks as soon as it is made. */
void fake_break_each(bool on);

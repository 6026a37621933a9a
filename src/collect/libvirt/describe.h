/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads the description of each run, its domain's XML, when it appears, when libvirt says
 * that something of it changed, and now and then; reports it to the registry and hands the
 * run to the slow lane.  However often a guest moves its balloon, it is described for that
 * once in a period at most.  On a thread of its own, the only
 * one that waits for libvirt here.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <libvirt/libvirt.h>

struct describe;
struct plan;
struct registry;
struct run;
struct slow;

/* Return: NULL with a logged error if there is no thread to be had. */
struct describe *describe_start(
	struct registry *registry, struct slow *slow, const struct plan *plan);

/* Return: false if a call to libvirt did not end until then; nothing may be freed. */
bool describe_stop(struct describe *d, int64_t deadline_mono_ns);

/* After that, when nobody asks it for its count any more.  NULL is accepted. */
void describe_free(struct describe *d);

/* After a reload; what was described before may lack what the plan asks for. */
void describe_set_plan(struct describe *d, const struct plan *plan);

/*
 * Any thread; none of them waits for libvirt.
 *   connect     the connection in force: domains of any other are not taken
 *   put         a run and its domain, of which a reference is taken; it is described if it
 *               never was on this connection, and with the first event of one that a list named
 *               first: that may have come upon it while libvirt was starting it
 *   again       something of it changed; unless @at_once, which is for what only the host's
 *               administrator can cause, no sooner than a period after the last time
 *   gone        it has ended: its domain is let go of
 *   disconnect  no connection is in force: all domains are let go of, and answers that are
 *               under way dropped
 */
void describe_connect(struct describe *d, virConnectPtr conn);
void describe_put(struct describe *d, struct run *run, virDomainPtr dom, bool listed);
void describe_again(struct describe *d, const struct run *run, bool at_once);
void describe_gone(struct describe *d, const struct run *run);
void describe_disconnect(struct describe *d);

/* How many descriptions were asked for so far. */
uint64_t describe_count(struct describe *d);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The registry of running VMs: the only table of them, and the only rule for what is the
 * same run.  Whoever finds VMs (a finder: libvirt's events and lists) reports here; whoever
 * wants to know looks at the roster, or subscribes.  Any thread; does no I/O.
 *
 * Order.  A finder hears of VMs by events and by lists, and a list may be older than an
 * event that came while it was on its way.  So each report carries its order: a number that
 * is taken when the event comes in, or before the list is asked for.  What is known by a
 * later report is never undone by an earlier one.
 *
 * There is one finder at a time: its list, which it asks for now and then, ends what it does
 * not name, whoever reported that.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/run.h"
#include "util/cleanup.h"

struct registry;

/* All running VMs at one moment: immutable, reference-counted. */
struct roster {
	_Atomic unsigned refs;
	size_t n;
	struct run *runs[]; /* sorted by key */
};

struct registry *registry_new(void);
void registry_free(struct registry *registry); /* NULL is accepted */

/* The roster in force, with a reference for the caller. */
struct roster *registry_roster(struct registry *registry);
void roster_unref(struct roster *roster); /* NULL is accepted */

/* Borrowed from the roster; NULL if there is none. */
struct run *roster_find(const struct roster *roster, const struct uuid *uuid);

/* ---- who wants to know ---- */

enum registry_event {
	RUN_APPEARED,
	RUN_DESCRIBED,   /* it has a description, or another one */
	RUN_GONE,        /* not in the roster any more */
	REGISTRY_SETTLED /* the roster is another: behind all that appeared or are gone */
};

/*
 * @on_event: @run is NULL with REGISTRY_SETTLED.  One event at a time, in the order of what
 * happened, on the reporting thread; must be short, and must not report.
 */
struct registry_listener {
	void (*on_event)(void *ctx, enum registry_event event, struct run *run);
	void *ctx;
};

/*
 * They are told in the order in which they came.  Who comes when VMs run already is told of
 * them at once, as if they appeared now.
 */
void registry_subscribe(struct registry *registry, struct registry_listener listener);

/* ---- who finds ---- */

/* The next order. */
uint64_t registry_order(struct registry *registry);

/* Order for a list that will be asked for.  One list at a time. */
uint64_t registry_list_order(struct registry *registry);

/*
 * These runs were known to the process before this one, in whose place we are, and go on:
 * older than any report, so that the next list ends those that it does not name.  Before the
 * first report.  @runs: no two of the same VM; the references move here.
 */
void registry_inherit(struct registry *registry, struct run *const *runs, size_t n);

/*
 * A VM runs.  Return: its run, with a reference for the caller, known before or new; NULL if
 * a later report says otherwise, or there is no room.
 */
struct run *registry_report(struct registry *registry, uint64_t order,
	const struct vm_ident *ident, enum hypervisor hypervisor);

/* It does not run any more. */
void registry_report_gone(
	struct registry *registry, uint64_t order, const struct uuid *uuid);

/*
 * These VMs run, and no others.  @order: of registry_list_order().  O(n log n), one
 * REGISTRY_SETTLED.
 */
void registry_report_all(struct registry *registry, uint64_t order,
	const struct vm_ident *idents, size_t n, enum hypervisor hypervisor);

/* A run's description; the reference moves here. */
void registry_describe(
	struct registry *registry, struct run *run, struct description *description);

/* The newest, with a reference for the caller; NULL while it is not known. */
struct description *registry_description(struct registry *registry, struct run *run);

static inline void roster_unref_p(struct roster **roster)
{
	roster_unref(*roster);
}
#define _cleanup_roster_ _cleanup_(roster_unref_p)

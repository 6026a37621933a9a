/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model/registry.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "model/description.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/limits.h"
#include "util/lock.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/refs.h"
#include "util/search.h"

#define MAX_LISTENERS 8u

/*
 * libvirt takes its time to find out that a process is gone.  Who is still named after that,
 * by the same id, runs again: a libvirtd that was restarted counts from 1.
 */
#define ENDED_PATIENCE_NS (30 * NS_PER_S)

/* A VM that is gone, as an event said or as another has its name, while a list was on its way. */
struct farewell {
	struct uuid uuid;
	uint64_t order;
};

struct registry {
	_Atomic uint64_t last_order;

	/* one report at a time, with all that listeners do; outermost */
	struct lock reports; /* guards these */
	struct registry_listener listeners[MAX_LISTENERS];
	size_t n_listeners;
	struct farewell *farewells; /* since the last list was asked for */
	size_t n_farewells, cap_farewells;

	struct lock lock;      /* guards the rest and descriptions; innermost */
	struct roster *roster; /* replaced by who holds reports */
};

/* ---- rosters ---- */

static struct roster *roster_new(size_t n)
{
	struct roster *roster = xcalloc(1, sizeof(*roster) + n * sizeof(roster->runs[0]));

	refs_init(&roster->refs);
	return roster;
}

void roster_unref(struct roster *roster)
{
	if (!roster || !refs_drop(&roster->refs))
		return;
	for (size_t i = 0; i < roster->n; i++)
		run_unref(roster->runs[i]);
	free(roster);
}

struct roster *registry_roster(struct registry *registry)
{
	lock_take(&registry->lock);
	struct roster *roster = registry->roster;

	refs_take(&roster->refs);
	lock_release(&registry->lock);
	return roster;
}

static uint64_t key_at(const void *runs, size_t i)
{
	struct run *const *at = runs;

	return at[i]->key;
}

struct run *roster_find(const struct roster *roster, const struct uuid *uuid)
{
	size_t i = search_key(roster->runs, roster->n, key_at, uuid_key(uuid));

	return i < roster->n && !uuid_compare(&roster->runs[i]->ident.uuid, uuid)
		? roster->runs[i]
		: NULL;
}

static void put_in_force(struct registry *registry, struct roster *roster)
{
	lock_take(&registry->lock);
	struct roster *old = registry->roster;

	registry->roster = roster;
	lock_release(&registry->lock);
	roster_unref(old);
}

/* ---- telling ---- */

static void tell(struct registry *registry, enum registry_event event, struct run *run)
{
	for (size_t i = 0; i < registry->n_listeners; i++)
		registry->listeners[i].on_event(registry->listeners[i].ctx, event, run);
}

static void tell_gone(struct registry *registry, struct run *run)
{
	atomic_store(&run->gone, true);
	log_write(LOG_LEVEL_INFO, LOG_VM(run->ident), "VM '%s' is gone", run->ident.name);
	tell(registry, RUN_GONE, run);
}

static void tell_appeared(struct registry *registry, struct run *run, bool inherited)
{
	if (!inherited)
		log_write(LOG_LEVEL_INFO, LOG_VM(run->ident), "VM '%s' runs, id %d",
			run->ident.name, run->ident.id);
	tell(registry, RUN_APPEARED, run);
}

/* ---- changes of the roster, by who holds reports ---- */

struct change {
	struct run **fresh; /* in any order */
	struct run **gone;  /* in the order of the roster */
	size_t n_fresh, cap_fresh, n_gone, cap_gone;
	bool inherited; /* nothing new to anybody outside */
};

/* The reference moves into it. */
static void change_add_run(struct change *change, struct run *run, uint64_t order)
{
	run->order = order;
	change->fresh = xgrow(
		change->fresh, change->n_fresh, &change->cap_fresh, sizeof(struct run *));
	change->fresh[change->n_fresh++] = run;
}

static void change_add_fresh(struct change *change, const struct vm_ident *ident,
	enum hypervisor hypervisor, uint64_t order)
{
	change_add_run(change, run_new(ident, hypervisor), order);
}

static void change_add_gone(struct change *change, struct run *run)
{
	change->gone = xgrow(
		change->gone, change->n_gone, &change->cap_gone, sizeof(struct run *));
	change->gone[change->n_gone++] = run_ref(run);
}

static void change_done(struct change *change)
{
	for (size_t i = 0; i < change->n_fresh; i++)
		run_unref(change->fresh[i]);
	for (size_t i = 0; i < change->n_gone; i++)
		run_unref(change->gone[i]);
	free(change->fresh);
	free(change->gone);
}

static int compare_runs(const void *a, const void *b)
{
	struct run *const *x = a, *const *y = b;

	return ((*x)->key > (*y)->key) - ((*x)->key < (*y)->key);
}

static struct roster *changed_roster(
	const struct roster *old, const struct change *change)
{
	struct roster *roster = roster_new(old->n + change->n_fresh);
	size_t gone = 0;

	for (size_t i = 0; i < old->n; i++) {
		if (gone < change->n_gone && change->gone[gone] == old->runs[i])
			gone++;
		else
			roster->runs[roster->n++] = run_ref(old->runs[i]);
	}
	assert(gone == change->n_gone);
	for (size_t i = 0; i < change->n_fresh; i++)
		roster->runs[roster->n++] = run_ref(change->fresh[i]);
	if (change->n_fresh)
		qsort(roster->runs, roster->n, sizeof(struct run *), compare_runs);
	return roster;
}

/* Puts the change in force and tells it. */
static void apply(struct registry *registry, struct change *change)
{
	if (change->n_gone || change->n_fresh) {
		put_in_force(registry, changed_roster(registry->roster, change));
		for (size_t i = 0; i < change->n_gone; i++)
			tell_gone(registry, change->gone[i]);
		for (size_t i = 0; i < change->n_fresh; i++)
			tell_appeared(registry, change->fresh[i], change->inherited);
		tell(registry, REGISTRY_SETTLED, NULL);
	}
	change_done(change);
}

/* ---- reports ---- */

uint64_t registry_order(struct registry *registry)
{
	return atomic_fetch_add(&registry->last_order, 1) + 1;
}

uint64_t registry_list_order(struct registry *registry)
{
	lock_take(&registry->reports);
	registry->n_farewells = 0;
	uint64_t order = registry_order(registry);

	lock_release(&registry->reports);
	return order;
}

void registry_inherit(struct registry *registry, struct run *const *runs, size_t n)
{
	struct change change = { .inherited = true };

	lock_take(&registry->reports);
	uint64_t order = registry_order(registry);

	assert(!registry->roster->n);
	for (size_t i = 0; i < n; i++)
		change_add_run(&change, runs[i], order);
	if (n)
		log_info("%zu VMs still run", n);
	apply(registry, &change);
	lock_release(&registry->reports);
}

/* True if it was said to be gone after that. */
static bool left_after(
	const struct registry *registry, const struct uuid *uuid, uint64_t order)
{
	for (size_t i = 0; i < registry->n_farewells; i++)
		if (registry->farewells[i].order > order &&
			!uuid_compare(&registry->farewells[i].uuid, uuid))
			return true;
	return false;
}

static void say_farewell(
	struct registry *registry, const struct uuid *uuid, uint64_t order)
{
	registry->farewells = xgrow(registry->farewells, registry->n_farewells,
		&registry->cap_farewells, sizeof(*registry->farewells));
	registry->farewells[registry->n_farewells++] = (struct farewell){ *uuid, order };
}

/* libvirt's names are unique: true if another VM was reported by this one's name after that. */
static bool renamed_after(
	const struct roster *roster, const struct vm_ident *ident, uint64_t order)
{
	for (size_t i = 0; i < roster->n; i++)
		if (roster->runs[i]->order > order &&
			!strcmp(roster->runs[i]->ident.name, ident->name) &&
			uuid_compare(&roster->runs[i]->ident.uuid, &ident->uuid) != 0)
			return true;
	return false;
}

static bool ended_long_ago(const struct run *run)
{
	int64_t ended = atomic_load(&run->ended_mono_ns);

	return ended && clock_mono_ns() - ended > ENDED_PATIENCE_NS;
}

/* Tells a known run that it was reported.  Return: false if @ident is of none, or another. */
static bool confirm(struct run *known, const struct vm_ident *ident, uint64_t order)
{
	if (!known || !run_is(known, ident) || ended_long_ago(known))
		return false;
	if (order > known->order)
		known->order = order;
	return true;
}

struct run *registry_report(struct registry *registry, uint64_t order,
	const struct vm_ident *ident, enum hypervisor hypervisor)
{
	struct change change = { 0 };
	struct run *run = NULL;

	lock_take(&registry->reports);
	const struct roster *roster = registry->roster;
	struct run *known = roster_find(roster, &ident->uuid);

	if (confirm(known, ident, order)) {
		run = run_ref(known);
	} else if (!(known && known->order > order) &&
		!left_after(registry, &ident->uuid, order) &&
		!renamed_after(roster, ident, order) &&
		(known || roster->n < LIMIT_VMS)) {
		for (size_t i = 0; i < roster->n; i++) {
			struct run *other = roster->runs[i];

			if (other != known && strcmp(other->ident.name, ident->name) != 0)
				continue;
			/* a list that is on its way may have it still */
			if (other != known)
				say_farewell(registry, &other->ident.uuid, order);
			change_add_gone(&change, other);
		}
		change_add_fresh(&change, ident, hypervisor, order);
		run = run_ref(change.fresh[0]);
	}
	apply(registry, &change);
	lock_release(&registry->reports);
	return run;
}

void registry_report_gone(
	struct registry *registry, uint64_t order, const struct uuid *uuid)
{
	struct change change = { 0 };

	lock_take(&registry->reports);
	struct run *known = roster_find(registry->roster, uuid);

	say_farewell(registry, uuid, order);
	if (known && known->order < order)
		change_add_gone(&change, known);
	apply(registry, &change);
	lock_release(&registry->reports);
}

void registry_report_all(struct registry *registry, uint64_t order,
	const struct vm_ident *idents, size_t n, enum hypervisor hypervisor)
{
	struct change change = { 0 };

	lock_take(&registry->reports);
	const struct roster *roster = registry->roster;

	for (size_t i = 0; i < n; i++)
		(void)confirm(roster_find(roster, &idents[i].uuid), &idents[i], order);
	/* those that were not confirmed, nor reported since */
	for (size_t i = 0; i < roster->n; i++)
		if (roster->runs[i]->order < order)
			change_add_gone(&change, roster->runs[i]);
	size_t room = LIMIT_VMS - (roster->n - change.n_gone);

	for (size_t i = 0; i < n && change.n_fresh < room; i++) {
		const struct run *known = roster_find(roster, &idents[i].uuid);

		/* another run with a later report, or this one, stays */
		if (!(known && known->order >= order) &&
			!left_after(registry, &idents[i].uuid, order) &&
			!renamed_after(roster, &idents[i], order))
			change_add_fresh(&change, &idents[i], hypervisor, order);
	}
	apply(registry, &change);
	lock_release(&registry->reports);
}

void registry_describe(
	struct registry *registry, struct run *run, struct description *description)
{
	lock_take(&registry->reports);
	if (!atomic_load(&run->gone)) {
		lock_take(&registry->lock);
		struct description *old = run->description;

		run->description = TAKE_PTR(description);
		lock_release(&registry->lock);
		description_unref(old);
		tell(registry, RUN_DESCRIBED, run);
	}
	lock_release(&registry->reports);
	description_unref(description);
}

struct description *registry_description(struct registry *registry, struct run *run)
{
	lock_take(&registry->lock);
	struct description *d = description_ref(run->description);

	lock_release(&registry->lock);
	return d;
}

/* ---- life ---- */

struct registry *registry_new(void)
{
	struct registry *registry = xcalloc(1, sizeof(*registry));

	lock_init(&registry->reports);
	lock_init(&registry->lock);
	registry->roster = roster_new(0);
	return registry;
}

void registry_free(struct registry *registry)
{
	if (!registry)
		return;
	roster_unref(registry->roster);
	free(registry->farewells);
	lock_done(&registry->lock);
	lock_done(&registry->reports);
	free(registry);
}

void registry_subscribe(struct registry *registry, struct registry_listener listener)
{
	lock_take(&registry->reports);
	assert(registry->n_listeners < MAX_LISTENERS);
	registry->listeners[registry->n_listeners++] = listener;
	for (size_t i = 0; i < registry->roster->n; i++)
		listener.on_event(listener.ctx, RUN_APPEARED, registry->roster->runs[i]);
	if (registry->roster->n)
		listener.on_event(listener.ctx, REGISTRY_SETTLED, NULL);
	lock_release(&registry->reports);
}

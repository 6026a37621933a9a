/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model/board.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "model/counters.h"
#include "model/plan.h"
#include "model/registry.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/lock.h"
#include "util/mem.h"

#define MAX_LISTENERS 8u

/* The host's, and in PLACE_BOARD each run's; guarded by board.lock. */
struct scope {
	struct metric_list **lanes; /* up to the last that was ever used */
	size_t n_lanes;
	struct counters counters; /* of all that was ever stored */
	int64_t updated_mono_ns;
	struct snapshot *current; /* NULL: changed since it was made */
	uint64_t shape;           /* of the last snapshot, and since when */
	int64_t shape_ns;
};

struct board {
	struct tree *tree;
	struct registry *registry;
	struct plan_listener listeners[MAX_LISTENERS]; /* immutable once a plan is set */
	size_t n_listeners;

	struct lock lock; /* guards all below and the scopes; inside it the tree's and
				 the registry's own */
	struct plan *plan;
	uint64_t generation;
	_Atomic uint64_t *kept; /* the same, for who comes after us; NULL: nobody */
	struct scope host;
};

/* The lane's place; most VMs use few of the many that there are. */
static struct metric_list **scope_lane(struct scope *scope, size_t lane)
{
	if (lane >= scope->n_lanes) {
		scope->lanes = xreallocarray(
			scope->lanes, lane + 1, sizeof(struct metric_list *));
		while (scope->n_lanes <= lane)
			scope->lanes[scope->n_lanes++] = NULL;
	}
	return &scope->lanes[lane];
}

static void scope_clear(struct scope *scope)
{
	for (size_t i = 0; i < scope->n_lanes; i++) {
		metric_list_unref(scope->lanes[i]);
		scope->lanes[i] = NULL;
	}
	scope->updated_mono_ns = 0;
	snapshot_unref(TAKE_PTR(scope->current));
}

static void scope_free(void *state)
{
	struct scope *scope = state;

	scope_clear(scope);
	counters_done(&scope->counters);
	free(scope->lanes);
	free(scope);
}

static struct scope *scope_of_locked(const struct board *board, struct run *run)
{
	assert_locked(&board->lock);
	struct scope *scope = run_place(run, PLACE_BOARD);

	if (!scope) {
		scope = xcalloc(1, sizeof(*scope));
		run_set_place(run, PLACE_BOARD, scope, scope_free);
	}
	return scope;
}

static void on_registry(void *ctx, enum registry_event event, struct run *run)
{
	(void)run;
	if (event == REGISTRY_SETTLED)
		board_publish(ctx);
}

struct board *board_new(struct tree *tree, struct registry *registry, struct plan *plan)
{
	struct board *board = xcalloc(1, sizeof(*board));

	lock_init(&board->lock);
	board->tree = tree;
	board->registry = registry;
	board->plan = plan_ref(plan);
	registry_subscribe(registry, (struct registry_listener){ on_registry, board });
	return board;
}

void board_free(struct board *board)
{
	if (!board)
		return;
	scope_clear(&board->host);
	counters_done(&board->host.counters);
	free(board->host.lanes);
	plan_unref(board->plan);
	lock_done(&board->lock);
	free(board);
}

void board_follow(struct board *board, _Atomic uint64_t *generation)
{
	lock_take(&board->lock);
	board->kept = generation;
	if (generation)
		board->generation = atomic_load(generation);
	lock_release(&board->lock);
}

static struct snapshot *scope_snapshot(
	struct board *board, const struct run *run, struct scope *scope)
{
	if (!scope->current) {
		struct snapshot *s =
			snapshot_new(run ? &run->ident : NULL, board->generation,
				scope->lanes, scope->n_lanes, scope->updated_mono_ns);

		if (run)
			s->started_mono_ns = atomic_load(&run->started_mono_ns);
		if (s->shape == scope->shape && scope->shape_ns)
			s->shape_ns = scope->shape_ns;
		else
			s->shape_ns = clock_real_ns();
		if (!run)
			snapshot_grant(s, board->plan->settings.grants);
		scope->shape = s->shape;
		scope->shape_ns = s->shape_ns;
		scope->current = s;
	}
	return snapshot_ref(scope->current);
}

static void publish_locked(struct board *board)
{
	assert_locked(&board->lock);
	_cleanup_roster_ struct roster *roster = registry_roster(board->registry);
	_cleanup_free_ struct snapshot **vms = xcalloc(roster->n, sizeof(*vms));
	size_t n = 0;

	board->generation++;
	if (board->kept)
		atomic_store(board->kept, board->generation);
	for (size_t i = 0; i < roster->n; i++) {
		struct run *run = roster->runs[i];

		if (!atomic_load(&run->ended_mono_ns))
			vms[n++] =
				scope_snapshot(board, run, scope_of_locked(board, run));
	}
	tree_publish(board->tree, board->generation,
		scope_snapshot(board, NULL, &board->host), vms, n);
}

void board_publish(struct board *board)
{
	lock_take(&board->lock);
	publish_locked(board);
	lock_release(&board->lock);
}

static void rebase_scope(struct scope *scope, struct spec_set *specs)
{
	struct scope rebased = { 0 };

	for (size_t i = 0; i < scope->n_lanes; i++) {
		struct metric_list *list = scope->lanes[i]
			? metric_list_rebase(scope->lanes[i], specs)
			: NULL;
		size_t lane = i >= LANE_ACTION_0 && list
			? LANE_ACTION_0 + list->metrics[0].label->slot
			: i;

		if (list && !*scope_lane(&rebased, lane))
			*scope_lane(&rebased, lane) = TAKE_PTR(list);
		metric_list_unref(list);
		metric_list_unref(scope->lanes[i]);
	}
	free(scope->lanes);
	scope->lanes = rebased.lanes;
	scope->n_lanes = rebased.n_lanes;
	snapshot_unref(TAKE_PTR(scope->current));
}

static void rebase_locked(struct board *board, struct spec_set *specs)
{
	assert_locked(&board->lock);
	_cleanup_roster_ struct roster *roster = registry_roster(board->registry);

	rebase_scope(&board->host, specs);
	for (size_t i = 0; i < roster->n; i++)
		rebase_scope(scope_of_locked(board, roster->runs[i]), specs);
}

void board_set_plan(struct board *board, struct plan *plan)
{
	lock_take(&board->lock);
	struct plan *old = board->plan;

	board->plan = plan_ref(plan);
	bool regrants = plan->settings.grants != old->settings.grants;

	if (plan->specs != old->specs)
		rebase_locked(board, plan->specs);
	if (regrants)
		snapshot_unref(TAKE_PTR(board->host.current));
	if (regrants || plan->specs != old->specs)
		publish_locked(board);
	lock_release(&board->lock);
	plan_unref(old);
	for (size_t i = 0; i < board->n_listeners; i++)
		board->listeners[i].on_plan(board->listeners[i].ctx, plan);
}

struct plan *board_plan(struct board *board)
{
	lock_take(&board->lock);
	struct plan *plan = plan_ref(board->plan);

	lock_release(&board->lock);
	return plan;
}

void board_subscribe(struct board *board, struct plan_listener listener)
{
	assert(board->n_listeners < MAX_LISTENERS);
	board->listeners[board->n_listeners++] = listener;
}

/*
 * What another lane told of the same metrics is older now, and must not come back when this
 * one has none of them some day: the other one will tell of them again, if it is its turn.
 */
static void drop_older(struct scope *scope, size_t lane)
{
	for (size_t i = lane + 1; i < scope->n_lanes && i < LANE_ACTION_0; i++) {
		struct metric_list *rest = scope->lanes[i]
			? metric_list_without(scope->lanes[i], scope->lanes[lane])
			: NULL;

		if (!rest)
			continue;
		metric_list_unref(scope->lanes[i]);
		scope->lanes[i] = rest;
	}
}

void board_update(
	struct board *board, struct run *run, size_t lane, struct metric_list *list)
{
	lock_take(&board->lock);
	struct scope *scope = run ? scope_of_locked(board, run) : &board->host;

	if (!(run && atomic_load(&run->gone)) && list->specs == board->plan->specs &&
		lane < LANE_ACTION_0 + board->plan->specs->n) {
		struct metric_list **at = scope_lane(scope, lane), *old = *at;

		counters_settle(&scope->counters, list);
		if (old)
			metric_list_carry(list, old);
		*at = list;
		drop_older(scope, lane);
		if (lane != LANE_ABOUT)
			scope->updated_mono_ns = clock_mono_ns();
		snapshot_unref(TAKE_PTR(scope->current));
		list = old;
	}
	lock_release(&board->lock);
	metric_list_unref(list);
}

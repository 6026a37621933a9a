/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model/board.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "core/blame.h"
#include "core/sizes.h"
#include "model/checkpoint.h"
#include "model/counters.h"
#include "model/description.h"
#include "model/inherited.h"
#include "model/plan.h"
#include "model/registry.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/lock.h"
#include "util/log.h"
#include "util/mem.h"

#define MAX_LISTENERS 8u

/* So often a checkpoint is written without the last one, so that nothing that strayed into it stays. */
#define RENEWAL_TURNS 64u

/* Processes are looked for in pauses, and rates are of more than the kernel's tick. */
#define LEAST_SETTLING_NS (3 * NS_PER_S)

/* The host's, and in PLACE_BOARD each run's; guarded by board.lock. */
struct scope {
	struct metric_list **lanes; /* up to the last that was ever used */
	size_t n_lanes;
	struct counters counters; /* of all that was ever stored */
	int64_t updated_mono_ns;
	struct snapshot
		*current; /* the last that was made; NULL: none of these metrics */
	bool changed;     /* since then */
	/* where the checkpoint of that turn has it; not written: it has other figures since */
	struct checkpoint_part part;
	uint64_t turn;
	uint64_t shape; /* of the last snapshot, and since when */
	int64_t shape_ns;
	bool cut; /* metrics were left out, and that was said */
	/* of each lane, bits of those behind it that came since it came last or was kept */
	uint8_t newer[LANE_ACTION_0];
	/* when each lane's first list came, monotonic; NULL: nothing is inherited (any more) */
	int64_t *first_mono_ns;
};

struct board {
	struct tree *tree;
	struct registry *registry;
	struct plan_listener listeners[MAX_LISTENERS]; /* immutable once a plan is set */
	size_t n_listeners;
	struct sizes *sizes; /* likewise; of disks; NULL: there are none */

	struct lock lock; /* guards all below and the scopes; inside it the tree's and
				 the registry's own */
	struct plan *plan;
	uint64_t generation;
	_Atomic uint64_t *kept; /* the same, for who comes after us; NULL: nobody */
	struct board_sink sink; /* for him, too; begin NULL: nobody */
	const void *last;       /* what was written there last; NULL: nothing */
	uint64_t turn;          /* counts that */
	struct scope host;
	struct blame *blame; /* NULL: it is not known */
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

/* It has other figures than were last shown and written. */
static void scope_changed(struct scope *scope)
{
	scope->changed = true;
	scope->part.written = false;
}

static void scope_clear(struct scope *scope)
{
	for (size_t i = 0; i < scope->n_lanes; i++) {
		metric_list_unref(scope->lanes[i]);
		scope->lanes[i] = NULL;
	}
	scope->updated_mono_ns = 0;
	scope_changed(scope);
	snapshot_unref(TAKE_PTR(scope->current));
}

static void scope_done(struct scope *scope)
{
	scope_clear(scope);
	counters_done(&scope->counters);
	free(scope->first_mono_ns);
	free(scope->lanes);
}

static void scope_free(void *state)
{
	struct scope *scope = state;

	scope_done(scope);
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
	scope_done(&board->host);
	blame_unref(board->blame);
	plan_unref(board->plan);
	lock_done(&board->lock);
	free(board);
}

/*
 * A word of another process.  One that no process can have come to is replaced by the time in
 * microseconds, which is behind all that were.
 */
static uint64_t believed_generation(uint64_t generation)
{
	return generation < UINT64_C(1) << 53 ? generation
					      : (uint64_t)clock_real_ns() / 1000;
}

void board_follow(struct board *board, _Atomic uint64_t *generation)
{
	lock_take(&board->lock);
	board->kept = generation;
	if (generation)
		board->generation = believed_generation(atomic_load(generation));
	lock_release(&board->lock);
}

static struct snapshot *make_snapshot(const struct board *board, const struct run *run,
	const struct scope *scope, const struct snapshot *like)
{
	const struct vm_ident *vm = run ? &run->ident : NULL;
	struct snapshot *s = scope->current
		? snapshot_next(scope->current, vm, board->generation, scope->lanes,
			  scope->n_lanes, scope->updated_mono_ns)
		: NULL;

	if (s)
		return s;
	s = snapshot_new(vm, board->generation, scope->lanes, scope->n_lanes,
		scope->updated_mono_ns);
	snapshot_share_places(s, like);
	return s;
}

/* @like: what its metrics may be like, or NULL. */
static struct snapshot *scope_snapshot(struct board *board, const struct run *run,
	struct scope *scope, const struct snapshot *like)
{
	if (!scope->current || scope->changed) {
		struct snapshot *s = make_snapshot(board, run, scope, like);

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
		snapshot_unref(scope->current);
		scope->current = s;
		scope->changed = false;
	}
	return snapshot_ref(scope->current);
}

/* ---- to the process that comes next ---- */

static void write_sizes(struct checkpoint_writer *w, struct sizes *sizes)
{
	_cleanup_free_ struct past_size *all = NULL;
	size_t n = sizes ? sizes_copy(sizes, &all) : 0;

	checkpoint_writer_add_sizes(w, all, n);
}

/* @goes_on: the next one is written after this one, and may repeat what it says. */
static void write_scope(const struct board *board, struct checkpoint_writer *w,
	const struct snapshot *s, const struct run *run, struct scope *scope,
	bool goes_on)
{
	if (!goes_on) {
		(void)checkpoint_writer_add(w, s, run, &scope->counters);
		return;
	}
	if (!board->last || scope->turn != board->turn ||
		!checkpoint_writer_repeat(w, s, run, board->last, &scope->part))
		scope->part = checkpoint_writer_add(w, s, run, &scope->counters);
	scope->turn = board->turn + 1;
}

/* What is, or will be, published as @view. */
static size_t checkpoint_locked(struct board *board, const struct view *view,
	const struct roster *roster, void *buf, size_t size, bool goes_on,
	size_t *ret_needed)
{
	assert_locked(&board->lock);
	struct checkpoint_writer *w = checkpoint_writer_new(buf, size, board->plan, view);

	write_sizes(w, board->sizes);
	write_scope(board, w, view->host, NULL, &board->host, goes_on);
	for (size_t i = 0; i < view->n_vms; i++) {
		struct run *run = roster_find(roster, &view->vms[i]->vm.uuid);

		if (!run || !run_is(run, &view->vms[i]->vm))
			continue;
		write_scope(board, w, view->vms[i], run, scope_of_locked(board, run),
			goes_on);
	}
	return checkpoint_writer_finish(w, ret_needed);
}

/* Before anybody sees it, so that nobody who has seen it sees something older. */
static void hand_on_locked(
	struct board *board, const struct view *view, const struct roster *roster)
{
	assert_locked(&board->lock);
	size_t size = 0, needed = 0;
	void *buf = board->sink.begin(board->sink.ctx, &size);

	if (buf == board->last || board->turn % RENEWAL_TURNS == 0)
		board->last = NULL;
	size_t n = checkpoint_locked(board, view, roster, buf, size, true, &needed);

	board->turn++;
	board->last = buf;
	if (n)
		board->sink.commit(board->sink.ctx, n);
}

void board_set_sizes(struct board *board, struct sizes *sizes)
{
	board->sizes = sizes;
}

void board_set_sink(struct board *board, struct board_sink sink)
{
	lock_take(&board->lock);
	board->sink = sink;
	board->last = NULL;
	lock_release(&board->lock);
}

size_t board_checkpoint(struct board *board, void *buf, size_t size, size_t *ret_needed)
{
	lock_take(&board->lock);
	_cleanup_view_ struct view *view = tree_view(board->tree);
	_cleanup_roster_ struct roster *roster = registry_roster(board->registry);
	size_t n = checkpoint_locked(board, view, roster, buf, size, false, ret_needed);

	lock_release(&board->lock);
	return n;
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

		if (atomic_load(&run->ended_mono_ns))
			continue;
		vms[n] = scope_snapshot(
			board, run, scope_of_locked(board, run), n ? vms[n - 1] : NULL);
		n++;
	}
	struct view *view = tree_prepare(board->tree, board->generation,
		scope_snapshot(board, NULL, &board->host, NULL), vms, n);

	view->blame = blame_ref(board->blame);
	if (board->sink.begin)
		hand_on_locked(board, view, roster);
	tree_set(board->tree, view);
}

void board_set_blame(struct board *board, struct blame *blame)
{
	lock_take(&board->lock);
	struct blame *old = board->blame;

	board->blame = blame;
	lock_release(&board->lock);
	blame_unref(old);
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
	scope_changed(scope);
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
		scope_changed(&board->host);
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
static void drop_older(struct scope *scope, size_t lane, unsigned lanes)
{
	for (size_t i = lane + 1; i < scope->n_lanes && i < LANE_ACTION_0; i++) {
		struct metric_list *rest = scope->lanes[i] && lanes >> i & 1
			? metric_list_without(scope->lanes[i], scope->lanes[lane])
			: NULL;

		if (!rest)
			continue;
		metric_list_unref(scope->lanes[i]);
		scope->lanes[i] = rest;
	}
}

static_assert(LANE_ACTION_0 <= 8, "a bit for each");

/* @alike: it has the metrics that it had, so that what was dropped then is all. */
static void note_newer(struct scope *scope, size_t lane, bool alike)
{
	if (lane >= LANE_ACTION_0)
		return;
	for (size_t i = 0; i < lane && !alike; i++)
		scope->newer[i] |= 1u << lane & 0xff;
	scope->newer[lane] = 0;
}

/* A lane that had so much time would have told of a figure, if there were one. */
static int64_t settling_ns(const struct plan *plan, size_t lane)
{
	const struct plan_settings *s = &plan->settings;
	int64_t two_periods = 2 *
		(lane == LANE_LIBVIRT                 ? s->slow_period_ns
				: lane == LANE_SELDOM ? s->balloon_period_ns
						      : s->period_ns);

	return two_periods > LEAST_SETTLING_NS ? two_periods : LEAST_SETTLING_NS;
}

/* True if what @lane does not tell of, or has no value for, is so and not just not yet so. */
static bool is_settled_locked(
	struct board *board, struct scope *scope, struct run *run, size_t lane)
{
	assert_locked(&board->lock);
	int64_t now = clock_mono_ns(), *first = &scope->first_mono_ns[lane];

	if (!*first)
		*first = now;
	if (lane == LANE_FLEET) /* it counts no VMs before libvirt was there */
		return false;
	if (lane == LANE_DOMAIN) {
		/* it knows the description, or nothing */
		_cleanup_description_ struct description *d =
			registry_description(board->registry, run);

		if (!d)
			return false;
	}
	return now - *first >= settling_ns(board->plan, lane);
}

/* Lets go of what the lane's @list stands for now. */
static void outgrow_locked(struct board *board, struct scope *scope, struct run *run,
	size_t lane, const struct metric_list *list)
{
	assert_locked(&board->lock);
	struct metric_list **at = &scope->lanes[LANE_INHERITED];

	if (!scope->first_mono_ns)
		return;
	bool settled = lane < LANE_ACTION_0 && is_settled_locked(board, scope, run, lane);
	struct metric_list *rest = *at
		? inherited_rest(*at, list, lane, settled, plan_seldom_apart(board->plan))
		: NULL;

	if (rest) {
		metric_list_unref(*at);
		*at = rest;
	}
	if (*at && (*at)->n)
		return;
	metric_list_unref(TAKE_PTR(*at));
	free(TAKE_PTR(scope->first_mono_ns));
}

/* Once for each scope: a QEMU that invents names invents them again and again. */
static void say_cut(const struct run *run, size_t n)
{
	log_write(LOG_LEVEL_WARNING, run ? LOG_VM(run->ident) : NULL,
		"%s%s%s has figures of too many names, and %zu of them are left out",
		run ? "VM '" : "the host", run ? run->ident.name : "", run ? "'" : "", n);
}

/* Of each figure of the scope there is what there was. */
static bool is_about_alone(
	size_t lane, const struct metric_list *old, const struct metric_list *list)
{
	return lane == LANE_ABOUT && old && metric_list_alike(old, list) &&
		checkpoint_list_is_about(list);
}

void board_update(
	struct board *board, struct run *run, size_t lane, struct metric_list *list)
{
	size_t n_cut = 0;

	lock_take(&board->lock);
	struct scope *scope = run ? scope_of_locked(board, run) : &board->host;

	if (!(run && atomic_load(&run->gone)) && list->specs == board->plan->specs &&
		lane < LANE_ACTION_0 + board->plan->specs->n) {
		struct metric_list **at = scope_lane(scope, lane), *old = *at;

		n_cut = scope->cut ? 0 : list->n_refused;
		scope->cut |= n_cut > 0;
		counters_settle(&scope->counters, list);
		if (scope->first_mono_ns && scope->lanes[LANE_INHERITED])
			metric_list_carry(list, scope->lanes[LANE_INHERITED]);
		if (old)
			metric_list_carry(list, old);
		*at = list;
		drop_older(scope, lane, UINT_MAX);
		note_newer(scope, lane, old && metric_list_alike(old, list));
		outgrow_locked(board, scope, run, lane, list);
		if (lane != LANE_ABOUT)
			scope->updated_mono_ns = clock_mono_ns();
		if (scope->first_mono_ns || !is_about_alone(lane, old, list))
			scope_changed(scope);
		scope->changed = true;
		list = old;
	}
	lock_release(&board->lock);
	metric_list_unref(list);
	if (n_cut)
		say_cut(run, n_cut);
}

bool board_keep(struct board *board, struct run *run, size_t lane, int64_t time_ns)
{
	assert(lane < LANE_ACTION_0);
	lock_take(&board->lock);
	struct scope *scope = scope_of_locked(board, run);
	struct metric_list *list = lane < scope->n_lanes ? scope->lanes[lane] : NULL;
	bool keep = list && list->specs == board->plan->specs && !scope->first_mono_ns &&
		counters_at_rest(&scope->counters);

	if (keep) {
		list->time_ns = time_ns;
		drop_older(scope, lane, scope->newer[lane]);
		scope->newer[lane] = 0;
		scope->updated_mono_ns = clock_mono_ns();
		scope->changed = true;
	}
	lock_release(&board->lock);
	return keep;
}

/* ---- from the process before ---- */

static void inherit_scope_locked(
	struct board *board, struct scope *scope, struct checkpoint_scope *from)
{
	assert_locked(&board->lock);
	*scope_lane(scope, LANE_INHERITED) = TAKE_PTR(from->list);
	scope->first_mono_ns = xcalloc(LANE_ACTION_0, sizeof(*scope->first_mono_ns));
	scope->counters = from->counters;
	from->counters = (struct counters){ 0 };
	scope->updated_mono_ns = from->updated_mono_ns;
	scope->shape = from->shape;
	scope->shape_ns = from->shape_ns;
	scope_changed(scope);
}

static struct run *inherit_run(const struct checkpoint_scope *from)
{
	struct run *run = run_new(&from->ident, from->hypervisor);

	if (from->since_mono_ns)
		run->since_mono_ns = from->since_mono_ns;
	if (from->pid)
		run_set_process(run, from->pid, from->start_ticks, -1);
	atomic_store(&run->session, from->session);
	atomic_store(&run->shares, from->shares);
	atomic_store(&run->vcpus, from->vcpus);
	atomic_store(&run->rss_kib, from->rss_kib);
	atomic_store(&run->balloon_kib, from->balloon_kib);
	atomic_store(&run->started_mono_ns, from->started_mono_ns);
	atomic_store(&run->slow_mono_ns, from->slow_mono_ns);
	return run;
}

/* No I/O under board.lock: first who still runs. */
static void inherit(
	struct board *board, struct checkpoint *cp, const struct board_inheritance *from)
{
	_cleanup_free_ struct run **runs = xcalloc(cp->n_vms, sizeof(struct run *));
	_cleanup_free_ struct checkpoint_scope **scopes =
		xcalloc(cp->n_vms, sizeof(struct checkpoint_scope *));
	size_t n = 0;

	for (size_t i = 0; i < cp->n_vms; i++) {
		struct checkpoint_scope *vm = &cp->vms[i];

		if (vm->pid && !from->runs(from->ctx, vm->pid, vm->start_ticks))
			continue;
		scopes[n] = vm;
		runs[n++] = inherit_run(vm);
	}
	if (board->sizes)
		sizes_inherit(board->sizes, cp->sizes, cp->n_sizes);
	lock_take(&board->lock);
	inherit_scope_locked(board, &board->host, &cp->host);
	for (size_t i = 0; i < n; i++)
		inherit_scope_locked(board, scope_of_locked(board, runs[i]), scopes[i]);
	lock_release(&board->lock);
	tree_inherit(board->tree, cp->vms_shape, cp->vms_generation, cp->vms_ns);
	registry_inherit(board->registry, runs, n); /* which publishes */
	if (!n)
		board_publish(board);
}

int board_inherit(struct board *board, const struct board_inheritance *from)
{
	_cleanup_checkpoint_ struct checkpoint *cp = NULL;
	_cleanup_plan_ struct plan *plan = board_plan(board);
	int r = from->bytes ? checkpoint_load(from->bytes, from->size, plan, &cp) : 0;

	lock_take(&board->lock);
	if (from->generation > board->generation)
		board->generation = from->generation;
	if (cp && cp->generation > board->generation)
		board->generation = cp->generation;
	lock_release(&board->lock);
	if (cp)
		inherit(board, cp, from);
	return r;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model/board.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/clock.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/search.h"

struct scope {
	struct vm_ident vm;         /* a VM's; owns the name */
	uint64_t key;               /* uuid_key() */
	struct metric_list **lanes; /* up to the last that was ever used */
	size_t n_lanes;
	int64_t updated_mono_ns;
	struct snapshot *current; /* NULL: changed since it was made */
	uint64_t shape;           /* of the last snapshot, and since when */
	int64_t shape_ns;
};

struct board {
	struct tree *tree;

	pthread_mutex_t lock; /* guards all below; innermost but for the tree's own */
	struct spec_set *specs;
	uint64_t generation;
	struct scope host;
	struct scope **vms; /* sorted by key */
	size_t n_vms, cap_vms;
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

static void scope_free(struct scope *scope)
{
	scope_clear(scope);
	free(scope->lanes);
	free((void *)(uintptr_t)scope->vm.name);
	free(scope);
}

struct board *board_new(struct tree *tree, struct spec_set *specs)
{
	struct board *board = xcalloc(1, sizeof(*board));

	pthread_mutex_init(&board->lock, NULL);
	board->tree = tree;
	board->specs = spec_set_ref(specs);
	return board;
}

void board_free(struct board *board)
{
	if (!board)
		return;
	for (size_t i = 0; i < board->n_vms; i++)
		scope_free(board->vms[i]);
	free(board->vms);
	scope_clear(&board->host);
	free(board->host.lanes);
	spec_set_unref(board->specs);
	pthread_mutex_destroy(&board->lock);
	free(board);
}

static struct snapshot *scope_snapshot(struct board *board, struct scope *scope)
{
	if (!scope->current) {
		struct snapshot *s = snapshot_new(
			scope == &board->host ? NULL : &scope->vm, board->generation,
			scope->lanes, scope->n_lanes, scope->updated_mono_ns);

		if (s->shape == scope->shape && scope->shape_ns)
			s->shape_ns = scope->shape_ns;
		else
			s->shape_ns = clock_real_ns();
		scope->shape = s->shape;
		scope->shape_ns = s->shape_ns;
		scope->current = s;
	}
	return snapshot_ref(scope->current);
}

static void publish_locked(struct board *board)
{
	_cleanup_free_ struct snapshot **vms = xcalloc(board->n_vms, sizeof(*vms));

	board->generation++;
	for (size_t i = 0; i < board->n_vms; i++)
		vms[i] = scope_snapshot(board, board->vms[i]);
	tree_publish(board->tree, board->generation, scope_snapshot(board, &board->host),
		vms, board->n_vms);
}

void board_publish(struct board *board)
{
	pthread_mutex_lock(&board->lock);
	publish_locked(board);
	pthread_mutex_unlock(&board->lock);
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

static bool same_specs(const struct spec_set *a, const struct spec_set *b)
{
	bool same = a->n == b->n;

	for (size_t i = 0; same && i < a->n; i++)
		same = spec_equal(&a->specs[i], &b->specs[i]);
	return same;
}

void board_set_specs(struct board *board, struct spec_set *specs)
{
	pthread_mutex_lock(&board->lock);
	if (same_specs(board->specs, specs)) {
		/* samples that are under way stay good */
		pthread_mutex_unlock(&board->lock);
		return;
	}
	rebase_scope(&board->host, specs);
	for (size_t i = 0; i < board->n_vms; i++)
		rebase_scope(board->vms[i], specs);
	spec_set_unref(board->specs);
	board->specs = spec_set_ref(specs);
	publish_locked(board);
	pthread_mutex_unlock(&board->lock);
}

struct spec_set *board_specs(struct board *board)
{
	pthread_mutex_lock(&board->lock);
	struct spec_set *specs = spec_set_ref(board->specs);

	pthread_mutex_unlock(&board->lock);
	return specs;
}

static uint64_t key_at(const void *scopes, size_t i)
{
	struct scope *const *at = scopes;

	return at[i]->key;
}

/* Where the key is, or would be. */
static size_t place_locked(const struct board *board, uint64_t key)
{
	return search_key(board->vms, board->n_vms, key_at, key);
}

static size_t find_locked(const struct board *board, const struct uuid *uuid)
{
	size_t i = place_locked(board, uuid_key(uuid));

	return i < board->n_vms && uuid_compare(&board->vms[i]->vm.uuid, uuid) == 0
		? i
		: SIZE_MAX;
}

static void remove_locked(struct board *board, size_t i)
{
	scope_free(board->vms[i]);
	memmove(&board->vms[i], &board->vms[i + 1],
		(--board->n_vms - i) * sizeof(struct scope *));
}

static void add_locked(struct board *board, const struct vm_ident *vm)
{
	/* libvirt's names are unique: one that comes again belongs to a VM that is gone. */
	for (size_t i = 0; i < board->n_vms; i++)
		if (!strcmp(board->vms[i]->vm.name, vm->name)) {
			remove_locked(board, i);
			break;
		}
	struct scope *scope = xcalloc(1, sizeof(*scope));

	scope->vm = *vm;
	scope->vm.name = xstrdup(vm->name);
	scope->key = uuid_key(&vm->uuid);
	board->vms =
		xgrow(board->vms, board->n_vms, &board->cap_vms, sizeof(struct scope *));
	size_t i = place_locked(board, scope->key);

	memmove(&board->vms[i + 1], &board->vms[i],
		(board->n_vms - i) * sizeof(struct scope *));
	board->vms[i] = scope;
	board->n_vms++;
}

bool board_vm_start(struct board *board, const struct vm_ident *vm)
{
	bool fresh = true;

	pthread_mutex_lock(&board->lock);
	size_t i = find_locked(board, &vm->uuid);

	if (i != SIZE_MAX && board->vms[i]->vm.id == vm->id &&
		!strcmp(board->vms[i]->vm.name, vm->name)) {
		fresh = false;
	} else if (i == SIZE_MAX && board->n_vms == LIMIT_VMS) {
		fresh = false; /* no room: as if it did not run */
	} else {
		if (i != SIZE_MAX)
			remove_locked(board, i);
		add_locked(board, vm);
		publish_locked(board);
	}
	pthread_mutex_unlock(&board->lock);
	return fresh;
}

bool board_vm_stop(struct board *board, const struct uuid *uuid, int id)
{
	pthread_mutex_lock(&board->lock);
	size_t i = find_locked(board, uuid);
	bool known = i != SIZE_MAX && (id < 0 || board->vms[i]->vm.id == id);

	if (known) {
		remove_locked(board, i);
		publish_locked(board);
	}
	pthread_mutex_unlock(&board->lock);
	return known;
}

size_t board_vms(struct board *board, struct vm_ident **ret)
{
	pthread_mutex_lock(&board->lock);
	size_t n = board->n_vms;
	struct vm_ident *vms = xcalloc(n, sizeof(*vms));

	for (size_t i = 0; i < n; i++) {
		vms[i] = board->vms[i]->vm;
		vms[i].name = xstrdup(vms[i].name);
	}
	pthread_mutex_unlock(&board->lock);
	*ret = vms;
	return n;
}

void board_vms_free(struct vm_ident *vms, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free((void *)(uintptr_t)vms[i].name);
	free(vms);
}

static struct scope *find_run_locked(struct board *board, const struct vm_ident *vm)
{
	size_t i = find_locked(board, &vm->uuid);

	return i != SIZE_MAX && board->vms[i]->vm.id == vm->id ? board->vms[i] : NULL;
}

void board_update(struct board *board, const struct vm_ident *vm, size_t lane,
	struct metric_list *list)
{
	pthread_mutex_lock(&board->lock);
	struct scope *scope = vm ? find_run_locked(board, vm) : &board->host;

	if (scope && list->specs == board->specs &&
		lane < LANE_ACTION_0 + board->specs->n) {
		struct metric_list **at = scope_lane(scope, lane), *old = *at;

		if (old)
			metric_list_carry(list, old);
		*at = list;
		if (lane != LANE_ABOUT)
			scope->updated_mono_ns = clock_mono_ns();
		snapshot_unref(TAKE_PTR(scope->current));
		list = old;
	}
	pthread_mutex_unlock(&board->lock);
	metric_list_unref(list);
}

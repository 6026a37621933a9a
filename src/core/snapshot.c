/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/snapshot.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/blame.h"
#include "core/blob.h"
#include "core/catalogue.h"
#include "core/fname.h"
#include "core/grants.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/hash.h"
#include "util/limits.h"
#include "util/lock.h"
#include "util/mem.h"
#include "util/refs.h"
#include "util/search.h"
#include "util/strbuf.h"
#include "util/sync.h"

static_assert(LIMIT_CONF_METRICS < 1u << 13, "at most each of them has a list");
static_assert(
	LIMIT_LABELS + LIMIT_CONF_METRICS < 1u << 19, "each has a label of its own");

static struct metric_place place(size_t list, size_t at)
{
	return (struct metric_place){ .list = list & 0x1fff, .at = at & 0x7ffff };
}

/* How far a list is merged, and the slot of the metric there; UINT32_MAX: behind the last. */
struct cursor {
	size_t at;
	uint32_t slot;
};

static void cursor_set(struct cursor *c, const struct metric_list *list, size_t at)
{
	c->at = at;
	c->slot = at < list->n ? list->metrics[at].label->slot : UINT32_MAX;
}

/* Moves behind a list's metrics of its slot. */
static void cursor_skip(struct cursor *c, const struct metric_list *list)
{
	uint32_t slot = c->slot;

	while (c->slot == slot)
		cursor_set(c, list, c->at + 1);
}

static size_t places_size(size_t n)
{
	return sizeof(struct metric_places) + n * sizeof(struct metric_place);
}

/* What does not apply is no metric, and a histogram is one for few. */
static void keep_place(struct snapshot *s, size_t list, size_t at)
{
	const struct metric *m = &s->lists[list]->metrics[at];

	if (m->absent)
		return;
	if (m->value.type != METRIC_HISTOGRAM) {
		s->places->at[s->n++] = place(list, at);
		return;
	}
	s->histograms =
		xreallocarray(s->histograms, s->n_histograms + 1, sizeof(*s->histograms));
	s->histograms[s->n_histograms++] = place(list, at);
}

/* By slot; where several lists have a slot, the first serves it, and be it with nothing. */
static void merge_lists(struct snapshot *s)
{
	struct cursor *next = xcalloc(s->n_lists, sizeof(*next));
	size_t all = 0;

	for (size_t l = 0; l < s->n_lists; l++) {
		cursor_set(&next[l], s->lists[l], 0);
		all += s->lists[l]->n;
	}
	s->places = xmalloc(places_size(all));
	refs_init(&s->places->refs);
	for (;;) {
		size_t best = s->n_lists;
		uint32_t slot = UINT32_MAX;

		for (size_t l = 0; l < s->n_lists; l++)
			if (next[l].slot < slot) {
				best = l;
				slot = next[l].slot;
			}
		if (best == s->n_lists)
			break;
		size_t from = next[best].at;

		for (size_t l = best; l < s->n_lists; l++)
			if (next[l].slot == slot)
				cursor_skip(&next[l], s->lists[l]);
		for (size_t i = from; i < next[best].at; i++)
			keep_place(s, best, i);
	}
	free(next);
}

/* No list has their slots. */
static void insert_own(struct snapshot *s, struct metric_list *own)
{
	size_t n = s->n, n_own = own->n, l = s->n_lists;

	s->lists[s->n_lists++] = own;
	s->places = xreallocarray(s->places, 1, places_size(n + n_own));
	s->n += n_own;
	for (size_t i = s->n; n_own;) {
		uint32_t slot = own->metrics[n_own - 1].label->slot;

		if (n && snapshot_metric(s, n - 1)->label->slot > slot)
			s->places->at[--i] = s->places->at[--n];
		else
			s->places->at[--i] = place(l, --n_own);
	}
}

/* Names of what guests may see but cannot be had now; not of what is told of itself. */
static void add_unavailable(const struct snapshot *s, struct strbuf *out)
{
	for (size_t i = 0; i < s->n; i++) {
		if (s->places->at[i].list >= s->n_lists)
			continue;
		const struct metric *m = snapshot_metric(s, i);

		if (!m->available && m->label->spec->guest)
			fname_list_add(m->label->name, out);
	}
}

/* Adds what the snapshot tells of itself in the slot of @e. */
static void add_own(const struct snapshot *s, struct metric_list_builder *b,
	uint32_t slot, const struct catalogue_entry *e)
{
	_cleanup_strbuf_ struct strbuf names = STRBUF_INIT;
	struct value v = value_u64(s->generation);

	if (e->key == SNAPSHOT_UNAVAILABLE) {
		add_unavailable(s, &names);
		v = value_string(strbuf_str(&names));
	}
	metric_list_builder_add_source(b, slot, NULL, &v);
}

/* What is asked for about the snapshot itself; NULL if nothing is. */
static struct metric_list *describe_itself(const struct snapshot *s)
{
	struct spec_set *specs = s->n_lists ? s->lists[0]->specs : NULL;
	enum metric_context context = s->is_host ? CONTEXT_HOST : CONTEXT_VM;
	struct metric_list_builder *b = NULL;

	for (size_t i = 0; specs && i < specs->n; i++) {
		const struct catalogue_entry *e = specs->specs[i].entry;

		if (!e || e->collector != COLLECTOR_SNAPSHOT || e->context != context)
			continue;
		if (!b)
			b = metric_list_builder_new(specs, s->time_ns);
		add_own(s, b, (uint32_t)i, e);
	}
	return b ? metric_list_builder_finish(b) : NULL;
}

/* The same, where it is known what is asked for. */
static struct metric_list *describe_again(
	const struct snapshot *s, const struct metric_list *own)
{
	struct metric_list_builder *b = metric_list_builder_new(own->specs, s->time_ns);

	for (size_t i = 0; i < own->n; i++) {
		const struct metric_label *label = own->metrics[i].label;

		add_own(s, b, label->slot, label->spec->entry);
	}
	return metric_list_builder_finish(b);
}

/* Depends on the order. */
static uint64_t mix(uint64_t hash, uint64_t part)
{
	return (hash ^ part) * UINT64_C(0x9e3779b97f4a7c15) + (hash >> 29);
}

/* With its lists, but not yet merged. */
static struct snapshot *snapshot_begin(const struct vm_ident *vm, uint64_t generation,
	struct metric_list *const *lists, size_t n_lists, int64_t updated_mono_ns)
{
	size_t name_size = vm ? strlen(vm->name) + 1 : 0;
	size_t n_used = 1; /* one for itself */

	for (size_t i = 0; i < n_lists; i++)
		n_used += lists[i] != NULL;
	struct snapshot *s =
		xmalloc(sizeof(*s) + n_used * sizeof(struct metric_list *) + name_size);

	*s = (struct snapshot){ .is_host = !vm,
		.generation = generation,
		.updated_mono_ns = updated_mono_ns };
	refs_init(&s->refs);
	if (vm) {
		s->vm = *vm;
		s->vm.name = memcpy(&s->lists[n_used], vm->name, name_size);
	}
	for (size_t i = 0; i < n_lists; i++) {
		if (!lists[i])
			continue;
		s->lists[s->n_lists++] = metric_list_ref(lists[i]);
		if (lists[i]->n && lists[i]->time_ns > s->time_ns)
			s->time_ns = lists[i]->time_ns;
	}
	s->collected = s->n_lists > 0;
	return s;
}

static bool is_of(const struct snapshot *s, const struct vm_ident *vm)
{
	if (!vm)
		return s->is_host;
	return !s->is_host && s->vm.id == vm->id && !strcmp(s->vm.name, vm->name) &&
		uuid_compare(&s->vm.uuid, &vm->uuid) == 0;
}

static bool lists_alike(
	const struct snapshot *before, struct metric_list *const *lists, size_t n_lists)
{
	size_t n = 0, n_before = before->n_lists - before->tells_of_itself;

	for (size_t i = 0; i < n_lists; i++) {
		if (!lists[i])
			continue;
		if (n == n_before || !metric_list_alike(before->lists[n], lists[i]))
			return false;
		n++;
	}
	return n == n_before;
}

struct snapshot *snapshot_next(const struct snapshot *before, const struct vm_ident *vm,
	uint64_t generation, struct metric_list *const *lists, size_t n_lists,
	int64_t updated_mono_ns)
{
	if (!is_of(before, vm) || !lists_alike(before, lists, n_lists))
		return NULL;
	struct snapshot *s =
		snapshot_begin(vm, generation, lists, n_lists, updated_mono_ns);

	memcpy(s->uuid_text, before->uuid_text, sizeof(s->uuid_text));
	s->key = before->key;
	s->name_hash = before->name_hash;
	s->shape = before->shape;
	s->shape_ns = s->time_ns;
	s->n = before->n;
	s->places = before->places;
	refs_take(&s->places->refs);
	s->n_histograms = before->n_histograms;
	if (s->n_histograms) {
		s->histograms = xcalloc(s->n_histograms, sizeof(*s->histograms));
		memcpy(s->histograms, before->histograms,
			s->n_histograms * sizeof(*s->histograms));
	}
	s->tells_of_itself = before->tells_of_itself;
	if (s->tells_of_itself) {
		struct metric_list *own =
			describe_again(s, before->lists[before->n_lists - 1]);

		s->lists[s->n_lists++] = own;
	}
	return s;
}

struct snapshot *snapshot_new(const struct vm_ident *vm, uint64_t generation,
	struct metric_list *const *lists, size_t n_lists, int64_t updated_mono_ns)
{
	struct snapshot *s =
		snapshot_begin(vm, generation, lists, n_lists, updated_mono_ns);

	if (vm) {
		uuid_format(&vm->uuid, s->uuid_text);
		s->key = uuid_key(&vm->uuid);
		s->name_hash = siphash24(vm->name, strlen(vm->name));
	}
	merge_lists(s);
	struct metric_list *own = describe_itself(s);

	s->tells_of_itself = own != NULL;
	if (own)
		insert_own(s, own);
	for (size_t i = 0; i < s->n; i++)
		s->shape = mix(s->shape, snapshot_metric(s, i)->label->name_hash);
	s->shape_ns = s->time_ns;
	return s;
}

struct snapshot *snapshot_ref(struct snapshot *s)
{
	refs_take(&s->refs);
	return s;
}

static void places_unref(struct metric_places *places)
{
	if (refs_drop(&places->refs))
		free(places);
}

void snapshot_unref(struct snapshot *s)
{
	if (!s || !refs_drop(&s->refs))
		return;
	for (size_t i = 0; i < s->n_lists; i++)
		metric_list_unref(s->lists[i]);
	blob_unref(s->xml);
	for (size_t i = 0; s->grants && i < s->grants->n_sets; i++)
		blob_unref(s->audiences[i].xml);
	free(s->audiences);
	grants_unref(s->grants);
	free(s->histograms);
	places_unref(s->places);
	free(s);
}

void snapshot_share_places(struct snapshot *s, const struct snapshot *like)
{
	if (!like || like->n != s->n || like->places == s->places ||
		memcmp(like->places->at, s->places->at, s->n * sizeof(*s->places->at)) !=
			0)
		return;
	places_unref(s->places);
	s->places = like->places;
	refs_take(&s->places->refs);
}

void snapshot_grant(struct snapshot *s, struct grants *grants)
{
	if (!grants)
		return;
	s->grants = grants_ref(grants);
	s->audiences = xcalloc(grants->n_sets, sizeof(*s->audiences));
}

const struct metric *snapshot_find(const struct snapshot *s, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(snapshot_metric(s, i)->label->name, name))
			return snapshot_metric(s, i);
	return NULL;
}

uint64_t uuid_key(const struct uuid *uuid)
{
	return siphash24(uuid->b, sizeof(uuid->b)) >> 4;
}

static int compare_keys(const void *a, const void *b)
{
	const struct snapshot *const *x = a, *const *y = b;

	return (*x)->key < (*y)->key ? -1 : (*x)->key > (*y)->key;
}

static struct view *view_new(
	uint64_t generation, struct snapshot *host, struct snapshot **vms, size_t n_vms)
{
	struct view *view = xcalloc(1, sizeof(*view));

	refs_init(&view->refs);
	view->generation = generation;
	view->host = host;
	view->n_vms = n_vms;
	view->vms = xcalloc(n_vms, sizeof(struct snapshot *));
	if (n_vms) {
		memcpy(view->vms, vms, n_vms * sizeof(struct snapshot *));
		qsort(view->vms, n_vms, sizeof(struct snapshot *), compare_keys);
	}
	for (size_t i = 0; i < n_vms; i++) {
		const struct snapshot *vm = view->vms[i];

		view->vms_shape = mix(view->vms_shape,
			mix(vm->key, mix(vm->name_hash, (uint64_t)vm->vm.id)));
	}
	return view;
}

void view_unref(struct view *view)
{
	if (!view || !refs_drop(&view->refs))
		return;
	for (size_t i = 0; i < view->n_vms; i++)
		snapshot_unref(view->vms[i]);
	snapshot_unref(view->host);
	blame_unref(view->blame);
	blob_unref(view->xml);
	blob_unref(view->shared_xml);
	blob_unref(view->prom);
	blob_unref(view->openmetrics);
	free(view->vms);
	free(view);
}

static uint64_t key_at(const void *vms, size_t i)
{
	struct snapshot *const *at = vms;

	return at[i]->key;
}

struct snapshot *view_find_key(const struct view *view, uint64_t key)
{
	size_t i = search_key(view->vms, view->n_vms, key_at, key);

	return i < view->n_vms && view->vms[i]->key == key ? view->vms[i] : NULL;
}

struct snapshot *view_find_uuid(const struct view *view, const struct uuid *uuid)
{
	struct snapshot *s = view_find_key(view, uuid_key(uuid));

	return s && uuid_compare(&s->vm.uuid, uuid) == 0 ? s : NULL;
}

struct snapshot *view_find_id(const struct view *view, int id)
{
	for (size_t i = 0; i < view->n_vms; i++)
		if (view->vms[i]->vm.id == id)
			return view->vms[i];
	return NULL;
}

/*
 * Load and ref must be one step, or the view could be freed in between.  The lock is held
 * for that step alone: no reader waits for a collector or for another reader's rendering.
 */
struct tree {
	_Atomic uint64_t generation; /* of current */
	struct lock lock;
	pthread_cond_t changed;
	/* guarded by lock */
	struct view *current;
	bool woken;
};

struct tree *tree_new(void)
{
	struct tree *tree = xcalloc(1, sizeof(*tree));

	lock_init(&tree->lock);
	cond_init_monotonic(&tree->changed);
	tree->current = view_new(0, snapshot_new(NULL, 0, NULL, 0, 0), NULL, 0);
	return tree;
}

void tree_free(struct tree *tree)
{
	if (!tree)
		return;
	view_unref(tree->current);
	pthread_cond_destroy(&tree->changed);
	lock_done(&tree->lock);
	free(tree);
}

static struct view *view_ref_locked(struct tree *tree)
{
	assert_locked(&tree->lock);
	refs_take(&tree->current->refs);
	return tree->current;
}

struct view *tree_view(struct tree *tree)
{
	lock_take(&tree->lock);
	struct view *view = view_ref_locked(tree);

	lock_release(&tree->lock);
	return view;
}

uint64_t tree_generation(struct tree *tree)
{
	return atomic_load(&tree->generation);
}

struct view *tree_wait(struct tree *tree, uint64_t generation, int64_t until_mono_ns)
{

	lock_take(&tree->lock);
	while (tree->current->generation == generation && !tree->woken &&
		clock_mono_ns() < until_mono_ns)
		lock_wait(&tree->lock, &tree->changed, until_mono_ns);
	tree->woken = false;
	struct view *view = view_ref_locked(tree);

	lock_release(&tree->lock);
	return view;
}

void tree_wake(struct tree *tree)
{
	lock_take(&tree->lock);
	tree->woken = true;
	pthread_cond_signal(&tree->changed);
	lock_release(&tree->lock);
}

void tree_inherit(
	struct tree *tree, uint64_t vms_shape, uint64_t vms_generation, int64_t vms_ns)
{
	lock_take(&tree->lock);
	tree->current->vms_shape = vms_shape;
	tree->current->vms_generation = vms_generation;
	tree->current->vms_ns = vms_ns;
	lock_release(&tree->lock);
}

struct view *tree_prepare(struct tree *tree, uint64_t generation, struct snapshot *host,
	struct snapshot **vms, size_t n_vms)
{
	struct view *fresh = view_new(generation, host, vms, n_vms);
	_cleanup_view_ struct view *old = tree_view(tree);
	bool same = old->vms_ns && old->vms_shape == fresh->vms_shape;

	fresh->vms_generation = same ? old->vms_generation : generation;
	fresh->vms_ns = same ? old->vms_ns : clock_real_ns();
	return fresh;
}

void tree_set(struct tree *tree, struct view *view)
{
	lock_take(&tree->lock);
	struct view *old = tree->current;

	tree->current = view;
	atomic_store(&tree->generation, view->generation);
	pthread_cond_signal(&tree->changed);
	lock_release(&tree->lock);
	view_unref(old);
}

void tree_publish(struct tree *tree, uint64_t generation, struct snapshot *host,
	struct snapshot **vms, size_t n_vms)
{
	tree_set(tree, tree_prepare(tree, generation, host, vms, n_vms));
}

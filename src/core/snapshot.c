/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/snapshot.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/blob.h"
#include "util/hash.h"
#include "util/mem.h"

/* Merge order: by slot; within a slot by list, then by place in the list. */
static void merge_lists(struct snapshot *s)
{
	size_t *next = xcalloc(s->n_lists, sizeof(*next));

	for (size_t i = 0; i < s->n; i++) {
		size_t best = SIZE_MAX;

		for (size_t l = 0; l < s->n_lists; l++) {
			const struct metric_list *list = s->lists[l];

			if (next[l] < list->n &&
				(best == SIZE_MAX ||
					list->metrics[next[l]].slot <
						s->lists[best]->metrics[next[best]].slot))
				best = l;
		}
		s->metrics[i] = &s->lists[best]->metrics[next[best]++];
	}
	free(next);
}

struct snapshot *snapshot_new(const struct vm_ident *vm, uint64_t generation,
	struct metric_list *const *lists, size_t n_lists, int64_t updated_mono_ns)
{
	size_t name_size = vm ? strlen(vm->name) + 1 : 0;
	struct snapshot *s = xmalloc(sizeof(*s) + name_size);

	*s = (struct snapshot){ .refs = 1,
		.is_host = !vm,
		.generation = generation,
		.updated_mono_ns = updated_mono_ns };
	if (vm) {
		s->vm = *vm;
		s->vm.name = memcpy(s + 1, vm->name, name_size);
		uuid_format(&vm->uuid, s->uuid_text);
		s->key = uuid_key(&vm->uuid);
	}
	s->lists = xcalloc(n_lists, sizeof(struct metric_list *));
	for (size_t i = 0; i < n_lists; i++) {
		if (!lists[i])
			continue;
		s->lists[s->n_lists++] = metric_list_ref(lists[i]);
		s->n += lists[i]->n;
		for (size_t k = 0; k < lists[i]->n; k++)
			if (lists[i]->metrics[k].time_ns > s->time_ns)
				s->time_ns = lists[i]->metrics[k].time_ns;
	}
	s->collected = s->n_lists > 0;
	s->metrics = xcalloc(s->n, sizeof(struct metric *));
	merge_lists(s);
	return s;
}

struct snapshot *snapshot_ref(struct snapshot *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

void snapshot_unref(struct snapshot *s)
{
	if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < s->n_lists; i++)
		metric_list_unref(s->lists[i]);
	blob_unref(s->xml);
	free(s->lists);
	free(s->metrics);
	free(s);
}

const struct metric *snapshot_find(const struct snapshot *s, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->metrics[i]->name, name))
			return s->metrics[i];
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

	view->refs = 1;
	view->generation = generation;
	view->host = host;
	view->n_vms = n_vms;
	view->vms = xcalloc(n_vms, sizeof(struct snapshot *));
	if (n_vms) {
		memcpy(view->vms, vms, n_vms * sizeof(struct snapshot *));
		qsort(view->vms, n_vms, sizeof(struct snapshot *), compare_keys);
	}
	return view;
}

void view_unref(struct view *view)
{
	if (!view || atomic_fetch_sub_explicit(&view->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < view->n_vms; i++)
		snapshot_unref(view->vms[i]);
	snapshot_unref(view->host);
	blob_unref(view->xml);
	blob_unref(view->prom);
	free(view->vms);
	free(view);
}

struct snapshot *view_find_key(const struct view *view, uint64_t key)
{
	size_t low = 0, high = view->n_vms;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (view->vms[mid]->key < key)
			low = mid + 1;
		else
			high = mid;
	}
	return low < view->n_vms && view->vms[low]->key == key ? view->vms[low] : NULL;
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
	pthread_mutex_t lock;
	struct view *current; /* guarded by lock */
};

struct tree *tree_new(void)
{
	struct tree *tree = xcalloc(1, sizeof(*tree));

	pthread_mutex_init(&tree->lock, NULL);
	tree->current = view_new(0, snapshot_new(NULL, 0, NULL, 0, 0), NULL, 0);
	return tree;
}

void tree_free(struct tree *tree)
{
	if (!tree)
		return;
	view_unref(tree->current);
	pthread_mutex_destroy(&tree->lock);
	free(tree);
}

struct view *tree_view(struct tree *tree)
{
	pthread_mutex_lock(&tree->lock);
	struct view *view = tree->current;

	atomic_fetch_add_explicit(&view->refs, 1, memory_order_relaxed);
	pthread_mutex_unlock(&tree->lock);
	return view;
}

void tree_publish(struct tree *tree, uint64_t generation, struct snapshot *host,
	struct snapshot **vms, size_t n_vms)
{
	struct view *fresh = view_new(generation, host, vms, n_vms);

	pthread_mutex_lock(&tree->lock);
	struct view *old = tree->current;

	tree->current = fresh;
	pthread_mutex_unlock(&tree->lock);
	view_unref(old);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/armed.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/blob.h"
#include "util/clock.h"
#include "util/limits.h"
#include "util/mem.h"

/*
 * Between asking for the size and for the bytes, and between an answer and the reader's
 * taking note of it, little time passes; after it what was told may be taken back.  A node
 * that is asked for all the time is taken back nevertheless.
 */
#define QUIET_NS (2 * NS_PER_MS)
#define POSTPONE_MAX_NS (20 * NS_PER_MS)

#define FIRST_BUCKETS 1024u

struct record {
	struct record *next; /* in the bucket */
	struct record *next_in_group;
	uint64_t ino, parent;
	int64_t version;
	uint64_t generation;
	struct blob *told;
	char *name;
	int64_t asked_ns;     /* last */
	int64_t postponed_ns; /* first, since it changed; 0: not */
	bool node;            /* the kernel may have its attributes or bytes */
	bool taking;          /* they are being taken back: told is still in force */
};

struct group {
	struct group *next; /* in the bucket */
	uint64_t key;
	struct record *records;
	int64_t again_ns; /* some of them were left until then; 0: none */
};

#define GROUP_BUCKETS 1024u

struct armed {
	pthread_mutex_t lock; /* guards all below */
	struct record **buckets;
	size_t n_buckets, n; /* n_buckets is a power of two */
	struct group *groups[GROUP_BUCKETS];
};

struct armed *armed_new(void)
{
	struct armed *a = xcalloc(1, sizeof(*a));

	pthread_mutex_init(&a->lock, NULL);
	a->n_buckets = FIRST_BUCKETS;
	a->buckets = xcalloc(a->n_buckets, sizeof(struct record *));
	return a;
}

static void record_free(struct record *r)
{
	blob_unref(r->told);
	free(r->name);
	free(r);
}

void armed_free(struct armed *a)
{
	if (!a)
		return;
	for (size_t i = 0; i < GROUP_BUCKETS; i++)
		while (a->groups[i]) {
			struct group *g = a->groups[i];

			a->groups[i] = g->next;
			while (g->records) {
				struct record *r = g->records;

				g->records = r->next_in_group;
				record_free(r);
			}
			free(g);
		}
	free(a->buckets);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

static struct record **place_locked(struct armed *a, uint64_t ino)
{
	struct record **at = &a->buckets[ino & (a->n_buckets - 1)];

	while (*at && (*at)->ino != ino)
		at = &(*at)->next;
	return at;
}

static struct group *group_locked(struct armed *a, uint64_t key)
{
	struct group **at = &a->groups[key % GROUP_BUCKETS];

	while (*at && (*at)->key != key)
		at = &(*at)->next;
	if (!*at) {
		*at = xcalloc(1, sizeof(**at));
		(*at)->key = key;
	}
	return *at;
}

static void grow_locked(struct armed *a)
{
	size_t n = 4 * a->n_buckets;
	struct record **buckets = xcalloc(n, sizeof(struct record *));

	for (size_t i = 0; i < a->n_buckets; i++)
		while (a->buckets[i]) {
			struct record *r = a->buckets[i];

			a->buckets[i] = r->next;
			r->next = buckets[r->ino & (n - 1)];
			buckets[r->ino & (n - 1)] = r;
		}
	free(a->buckets);
	a->buckets = buckets;
	a->n_buckets = n;
}

static struct record *add_locked(struct armed *a, const struct armed_node *node)
{
	if (a->n == LIMIT_ARMED)
		return NULL;
	if (a->n++ > a->n_buckets)
		grow_locked(a);
	struct group *g = group_locked(a, node->group);
	struct record *r = xcalloc(1, sizeof(*r));
	struct record **at = place_locked(a, node->ino);

	r->ino = node->ino;
	r->next_in_group = g->records;
	g->records = r;
	*at = r;
	return r;
}

bool armed_set(struct armed *a, const struct armed_node *node, int64_t now_ns)
{
	struct blob *old = NULL;

	pthread_mutex_lock(&a->lock);
	struct record *r = *place_locked(a, node->ino);

	if (!r)
		r = add_locked(a, node);
	if (r) {
		/* a newer answer may have overtaken this one */
		if (!r->node || node->generation >= r->generation) {
			old = r->told;
			r->told = node->told ? blob_ref(node->told) : NULL;
			r->version = node->version;
			r->generation = node->generation;
		}
		r->node = true;
		r->taking = false;
		r->asked_ns = now_ns;
		if (node->parent && !r->name) {
			r->parent = node->parent;
			r->name = xstrdup(node->name);
		}
	}
	pthread_mutex_unlock(&a->lock);
	blob_unref(old);
	return r != NULL;
}

bool armed_recall(struct armed *a, uint64_t ino, int64_t now_ns, struct blob **ret_told)
{
	pthread_mutex_lock(&a->lock);
	struct record *r = *place_locked(a, ino);
	bool told = r && (r->node || r->taking);

	if (told) {
		r->asked_ns = now_ns;
		*ret_told = r->told ? blob_ref(r->told) : NULL;
	}
	pthread_mutex_unlock(&a->lock);
	return told;
}

struct collection {
	struct armed_change *at;
	size_t n, cap;
};

static struct armed_change *add_change(struct collection *c, const struct record *r)
{
	c->at = xgrow(c->at, c->n, &c->cap, sizeof(*c->at));
	c->at[c->n] = (struct armed_change){ .ino = r->ino, .node = r->node };
	return &c->at[c->n++];
}

static bool may_be_read(struct record *r, int64_t now_ns)
{
	if (!r->postponed_ns)
		r->postponed_ns = now_ns;
	return now_ns - r->asked_ns < QUIET_NS &&
		now_ns - r->postponed_ns < POSTPONE_MAX_NS;
}

/* What was told of a node is taken back; its entry stays. */
static void disarm(struct record *r)
{
	r->node = false;
	r->taking = true;
	r->postponed_ns = 0;
}

void armed_taken(struct armed *a, uint64_t ino)
{
	struct blob *drop = NULL;

	pthread_mutex_lock(&a->lock);
	struct record *r = *place_locked(a, ino);

	if (r && r->taking) {
		drop = r->told;
		r->told = NULL;
		r->taking = false;
	}
	pthread_mutex_unlock(&a->lock);
	blob_unref(drop);
}

static void remove_locked(struct armed *a, struct record *r)
{
	struct record **at = place_locked(a, r->ino);

	*at = r->next;
	a->n--;
	record_free(r);
}

static void collect_group_locked(struct armed *a, struct group *g,
	enum armed_verdict (*check)(void *ctx, uint64_t ino, int64_t version), void *ctx,
	int64_t now_ns, struct collection *out)
{
	struct record **at = &g->records;

	g->again_ns = 0;
	while (*at) {
		struct record *r = *at;
		enum armed_verdict verdict = check(ctx, r->ino, r->version);

		if (verdict == ARMED_CHANGED && r->node) {
			if (may_be_read(r, now_ns)) {
				g->again_ns = now_ns + QUIET_NS;
			} else {
				add_change(out, r);
				disarm(r);
			}
		} else if (verdict == ARMED_GONE) {
			struct armed_change *change = add_change(out, r);

			change->parent = r->parent;
			change->name = r->name;
			r->name = NULL;
			*at = r->next_in_group;
			remove_locked(a, r);
			continue;
		} else if (verdict == ARMED_SAME) {
			r->postponed_ns = 0;
		}
		at = &r->next_in_group;
	}
}

size_t armed_collect(struct armed *a, bool (*touched)(void *ctx, uint64_t group),
	enum armed_verdict (*check)(void *ctx, uint64_t ino, int64_t version), void *ctx,
	int64_t now_ns, struct armed_change **ret, int64_t *ret_again)
{
	struct collection out = { 0 };

	*ret_again = 0;
	pthread_mutex_lock(&a->lock);
	for (size_t i = 0; i < GROUP_BUCKETS; i++) {
		struct group **at = &a->groups[i];

		while (*at) {
			struct group *g = *at;

			if ((g->again_ns && g->again_ns <= now_ns) ||
				touched(ctx, g->key))
				collect_group_locked(a, g, check, ctx, now_ns, &out);
			if (g->again_ns && (!*ret_again || g->again_ns < *ret_again))
				*ret_again = g->again_ns;
			if (!g->records) {
				*at = g->next;
				free(g);
			} else {
				at = &g->next;
			}
		}
	}
	pthread_mutex_unlock(&a->lock);
	*ret = out.at;
	return out.n;
}

void armed_changes_free(struct armed_change *changes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(changes[i].name);
	free(changes);
}

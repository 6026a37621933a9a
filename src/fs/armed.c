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
 * How long a node whose name has moved on stays as it is: longer than a reader takes from
 * one read to the next, also if a busy machine lets him wait in between.
 */
#define MOVED_NS (250 * NS_PER_MS)

/*
 * When a node that the kernel does not know, though an answer about it may be on its way to
 * a reader who waits for a processor, is taken back again: first, and each time later.
 */
#define MISSED_NS NS_PER_MS
#define MISSED_DOUBLINGS 10u

#define FIRST_BUCKETS 1024u

struct record {
	struct record *next; /* in the bucket */
	struct record *next_in_group, **before_in_group;
	struct group *group;
	uint64_t ino, parent;
	int64_t version;
	uint64_t generation;
	uint64_t lookups;  /* by an entry, less those that the kernel has forgotten */
	struct blob *told; /* last, also when it was taken back */
	char *name;
	int64_t moved_until_ns; /* its name stands for another node; until then it stays */
	bool node;              /* the kernel may have its attributes or bytes */
	bool taking;            /* they are being taken back: told is still in force */
	bool recalled;          /* and was told again */
	bool mixed;             /* the kernel may have bytes of more than one version */
	bool watched;           /* armed_watch() */
	unsigned missed; /* how often the kernel did not know it, one after another */
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

static void enter_group(struct record *r, struct group *g)
{
	r->group = g;
	r->next_in_group = g->records;
	r->before_in_group = &g->records;
	if (g->records)
		g->records->before_in_group = &r->next_in_group;
	g->records = r;
}

static void leave_group(struct record *r)
{
	*r->before_in_group = r->next_in_group;
	if (r->next_in_group)
		r->next_in_group->before_in_group = r->before_in_group;
}

/* @again_ns: when the record must be looked at there, 0: not before it changes. */
static void move_to_group_locked(
	struct armed *a, struct record *r, uint64_t key, int64_t again_ns)
{
	if (r->group->key != key) {
		leave_group(r);
		enter_group(r, group_locked(a, key));
	}
	r->group->again_ns = ns_earlier(r->group->again_ns, again_ns);
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
	enter_group(r, g);
	*at = r;
	return r;
}

bool armed_set(struct armed *a, const struct armed_node *node)
{
	struct blob *old = NULL;

	pthread_mutex_lock(&a->lock);
	struct record *r = *place_locked(a, node->ino);

	if (!r)
		r = add_locked(a, node);
	if (r) {
		/* what it was to be looked at for in its group counts in the new one */
		move_to_group_locked(a, r, node->group, r->group->again_ns);
		r->mixed = r->node && (r->mixed || r->version != node->version);
		/* a newer answer may have overtaken this one */
		if (!r->node || node->generation >= r->generation) {
			old = r->told;
			r->told = node->told ? blob_ref(node->told) : NULL;
			r->version = node->version;
			r->generation = node->generation;
		}
		r->node = true;
		r->taking = false;
		r->lookups += node->entered;
		if (node->moved && !r->moved_until_ns)
			r->moved_until_ns = 1;
		if (node->parent && !r->name) {
			r->moved_until_ns = 0;
			r->parent = node->parent;
			r->name = xstrdup(node->name);
		}
	}
	pthread_mutex_unlock(&a->lock);
	blob_unref(old);
	return r != NULL;
}

void armed_watch(struct armed *a, uint64_t ino)
{
	pthread_mutex_lock(&a->lock);
	struct record *r = *place_locked(a, ino);

	if (r)
		r->watched = true;
	pthread_mutex_unlock(&a->lock);
}

void armed_forgotten(struct armed *a, uint64_t ino, uint64_t n)
{
	pthread_mutex_lock(&a->lock);
	struct record *r = *place_locked(a, ino);

	if (r)
		r->lookups -= n < r->lookups ? n : r->lookups;
	pthread_mutex_unlock(&a->lock);
}

bool armed_recall(
	struct armed *a, uint64_t ino, bool moved, int64_t now_ns, struct blob **ret_told)
{
	pthread_mutex_lock(&a->lock);
	struct record *r = *place_locked(a, ino);
	bool told = r &&
		(r->node || r->taking ||
			(moved && (r->name || now_ns < r->moved_until_ns)));

	if (told) {
		*ret_told = r->told ? blob_ref(r->told) : NULL;
		r->recalled = r->taking;
		r->node |= !r->taking;
	}
	pthread_mutex_unlock(&a->lock);
	return told;
}

struct collection {
	struct armed_change *at;
	size_t n, cap;
};

/* A change of the node, of the entry, or of both; the name moves. */
static void add_change(struct collection *c, struct record *r, bool node, bool entry)
{
	c->at = xgrow(c->at, c->n, &c->cap, sizeof(*c->at));
	c->at[c->n++] = (struct armed_change){ .ino = r->ino,
		.node = node,
		.parent = entry ? r->parent : 0,
		.name = entry ? r->name : NULL };
	if (entry)
		r->name = NULL;
	if (node) {
		r->taking = r->node;
		r->recalled = false;
		r->node = false;
		r->mixed = false;
		r->watched = false; /* who goes on watching says so again */
	}
}

/* When what was taken back must be taken back again, 0: need not. */
static int64_t again_locked(struct record *r, bool known, int64_t now_ns)
{
	/* maybe after the kernel had dropped that page */
	bool recalled = r->taking && r->recalled;
	bool missed = !known && r->lookups;
	unsigned doublings = r->missed < MISSED_DOUBLINGS ? r->missed : MISSED_DOUBLINGS;

	r->missed = missed ? r->missed + 1 : 0;
	return recalled ? now_ns : missed ? now_ns + (MISSED_NS << doublings) : 0;
}

int64_t armed_taken(struct armed *a, uint64_t ino, bool known, int64_t now_ns)
{
	int64_t again_ns = 0;

	pthread_mutex_lock(&a->lock);
	struct record *r = *place_locked(a, ino);

	if (r) {
		again_ns = again_locked(r, known, now_ns);
		r->taking = false;
	}
	if (again_ns) {
		r->node = r->mixed = true;
		r->group->again_ns = ns_earlier(r->group->again_ns, again_ns);
	}
	pthread_mutex_unlock(&a->lock);
	return again_ns;
}

static void remove_locked(struct armed *a, struct record *r)
{
	struct record **at = place_locked(a, r->ino);

	leave_group(r);
	*at = r->next;
	a->n--;
	record_free(r);
}

/*
 * What changes by @verdict is taken back: the node, the entry, or both.
 * Return: when the node must be looked at again, 0: not before it changes.
 */
static int64_t collect_record(struct record *r, enum armed_verdict verdict,
	int64_t now_ns, struct collection *out)
{
	bool entry = verdict == ARMED_MOVED && r->name;

	if (entry)
		r->moved_until_ns = now_ns + MOVED_NS;
	if (verdict == ARMED_MOVED && !r->watched && now_ns < r->moved_until_ns) {
		if (entry)
			add_change(out, r, false, true);
		return r->moved_until_ns;
	}
	if (entry || r->node)
		add_change(out, r, r->node, entry);
	return 0;
}

static void collect_group_locked(struct armed *a, struct group *g,
	enum armed_verdict (*check)(void *ctx, uint64_t ino, int64_t version,
		const char *name, uint64_t *group),
	void *ctx, int64_t now_ns, struct collection *out)
{
	struct record *next;

	g->again_ns = 0;
	for (struct record *r = g->records; r; r = next) {
		uint64_t key = g->key;
		enum armed_verdict verdict =
			check(ctx, r->ino, r->version, r->name, &key);
		bool drop = verdict == ARMED_GONE;
		int64_t again_ns = 0;

		if (verdict == ARMED_SAME && r->mixed)
			verdict = ARMED_CHANGED;
		if (drop) {
			add_change(out, r, r->node, true);
		} else if (verdict != ARMED_SAME) {
			again_ns = collect_record(r, verdict, now_ns, out);
			/* what the kernel does not know any more, by no name */
			drop = !r->node && !r->taking && !r->name && !r->lookups &&
				now_ns >= r->moved_until_ns;
		}
		next = r->next_in_group;
		/* a group that it goes to may have been looked at already: this was its turn */
		if (drop)
			remove_locked(a, r);
		else
			move_to_group_locked(a, r, key, again_ns);
	}
}

/* Return: when any group must be looked at again, 0: not before something changes. */
static int64_t drop_empty_groups_locked(struct armed *a)
{
	int64_t again_ns = 0;

	for (size_t i = 0; i < GROUP_BUCKETS; i++) {
		struct group **at = &a->groups[i];

		while (*at) {
			struct group *g = *at;

			if (g->records) {
				again_ns = ns_earlier(again_ns, g->again_ns);
				at = &g->next;
			} else {
				*at = g->next;
				free(g);
			}
		}
	}
	return again_ns;
}

size_t armed_collect(struct armed *a, bool (*touched)(void *ctx, uint64_t group),
	enum armed_verdict (*check)(void *ctx, uint64_t ino, int64_t version,
		const char *name, uint64_t *group),
	void *ctx, int64_t now_ns, struct armed_change **ret, int64_t *ret_again)
{
	struct collection out = { 0 };

	pthread_mutex_lock(&a->lock);
	for (size_t i = 0; i < GROUP_BUCKETS; i++)
		for (struct group *g = a->groups[i]; g; g = g->next)
			if ((g->again_ns && g->again_ns <= now_ns) ||
				touched(ctx, g->key))
				collect_group_locked(a, g, check, ctx, now_ns, &out);
	*ret_again = drop_empty_groups_locked(a);
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

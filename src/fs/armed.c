/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/armed.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/blob.h"
#include "handover/handover.h"
#include "util/clock.h"
#include "util/limits.h"
#include "util/lock.h"
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

/* A time to look again that has come already. */
#define DUE 1

#define FIRST_BUCKETS 1024u

/* Entries of one node: one, or those that its VM had before; more are told without a time. */
#define MAX_NAMES 8u

enum state { IDLE, TOLD, MIXED, TAKING, RETAKING };

struct name {
	struct name *next;
	char text[];
};

struct record {
	struct record *next; /* in the bucket */
	struct record *next_in_group, **before_in_group;
	struct group *group;
	uint64_t ino, parent; /* parent: of all names */
	int64_t version;
	uint64_t generation;
	uint64_t lookups;  /* by an entry, less those that the kernel has forgotten */
	struct blob *told; /* last, also when it was taken back */
	struct name *names;
	int64_t moved_until_ns; /* it has moved; until then it stays; 0: it has not */
	enum state state;
	int64_t taken_ns; /* what was told by armed_set() was taken back last */
	bool set;         /* it was, since then */
	bool doubted;     /* was told since it had its names: they may be old */
	bool gone;        /* when it was looked at last */
	unsigned missed;  /* how often the kernel did not know it, one after another */
	bool unknown;     /* what was told: by the process before us, and nothing since */
	bool inherited;   /* its lookups may be more than were given */
	uint32_t row;     /* in the ledger */
	uint32_t
		least; /* bytes that the kernel may take for its size; UINT32_MAX: none */
};

struct group {
	struct group *next; /* in the bucket */
	uint64_t key;
	struct record *records;
	int64_t again_ns;    /* some of them were left until then; 0: none */
	uint64_t generation; /* of the newest view that any of them was told from */
};

#define GROUP_BUCKETS 1024u

struct armed {
	struct lock lock; /* guards all below */
	struct record **buckets;
	size_t n_buckets, n; /* n_buckets is a power of two */
	struct group *groups[GROUP_BUCKETS];
	struct ledger *ledger; /* NULL: nobody comes after us */
	int64_t caught_up_ns;  /* armed_caught_up(); INT64_MAX: not yet */
};

struct armed *armed_new(void)
{
	struct armed *a = xcalloc(1, sizeof(*a));

	lock_init(&a->lock);
	a->n_buckets = FIRST_BUCKETS;
	a->buckets = xcalloc(a->n_buckets, sizeof(struct record *));
	return a;
}

static void record_free(struct record *r)
{
	while (r->names) {
		struct name *name = r->names;

		r->names = name->next;
		free(name);
	}
	blob_unref(r->told);
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
	ledger_free(a->ledger);
	lock_done(&a->lock);
	free(a);
}

static struct record **place_locked(struct armed *a, uint64_t ino)
{
	assert_locked(&a->lock);
	struct record **at = &a->buckets[ino & (a->n_buckets - 1)];

	while (*at && (*at)->ino != ino)
		at = &(*at)->next;
	return at;
}

static struct group *group_locked(struct armed *a, uint64_t key)
{
	assert_locked(&a->lock);
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
	assert_locked(&a->lock);
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
	assert_locked(&a->lock);
	if (r->group->key != key) {
		leave_group(r);
		enter_group(r, group_locked(a, key));
	}
	r->group->again_ns = ns_earlier(r->group->again_ns, again_ns);
	if (r->group->generation < r->generation)
		r->group->generation = r->generation;
}

/* @row: in the ledger; LEDGER_NONE: none yet. */
static struct record *add_locked(
	struct armed *a, uint64_t ino, uint64_t group, uint32_t row)
{
	assert_locked(&a->lock);
	if (a->n == LIMIT_ARMED)
		return NULL;
	if (a->n++ > a->n_buckets)
		grow_locked(a);
	struct group *g = group_locked(a, group);
	struct record *r = xcalloc(1, sizeof(*r));
	struct record **at = place_locked(a, ino);

	r->ino = ino;
	r->row = row == LEDGER_NONE ? ledger_add(a->ledger, ino, 0) : row;
	enter_group(r, g);
	*at = r;
	return r;
}

static void set_lookups_locked(const struct armed *a, struct record *r, uint64_t n)
{
	assert_locked(&a->lock);
	r->lookups = n;
	ledger_set(a->ledger, r->row, n);
}

/* Return: whether there is room for it. */
static bool add_name_locked(
	const struct armed *a, struct record *r, uint64_t parent, const char *text)
{
	assert_locked(&a->lock);
	size_t n = 0, size = strlen(text) + 1;

	for (const struct name *at = r->names; at; at = at->next, n++)
		if (!strcmp(at->text, text))
			return true;
	if (n == MAX_NAMES)
		return false;
	assert(!n || r->parent == parent);
	struct name *name = xmalloc(sizeof(*name) + size);

	memcpy(name->text, text, size);
	name->next = r->names;
	r->names = name;
	r->parent = parent;
	r->moved_until_ns = 0;
	return true;
}

static enum state told_state(const struct record *r, int64_t version)
{
	if (r->state == MIXED || r->state == RETAKING)
		return MIXED;
	return r->state == TOLD && r->version != version ? MIXED : TOLD;
}

/* Before it can be told with so few. */
static void set_least_locked(const struct armed *a, struct record *r, size_t bytes)
{
	assert_locked(&a->lock);
	r->least = bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX;
	if (r->row == LEDGER_NONE || !a->ledger)
		return;
	struct told_row *row = ledger_at(a->ledger, r->row);

	atomic_store(&row->least, r->least);
}

/* For who comes after us; at no moment a text that was not told. */
static void keep_text_locked(const struct armed *a, const struct record *r)
{
	assert_locked(&a->lock);
	if (r->row == LEDGER_NONE || !a->ledger)
		return;
	struct told_row *row = ledger_at(a->ledger, r->row);

	atomic_store(&row->bytes, 0);
	if (!r->told || r->told->size > TOLD_TEXT)
		return;
	memcpy(row->text, r->told->data, r->told->size);
	row->time_ns = r->told->time_ns;
	atomic_store(&row->bytes, (uint32_t)r->told->size);
}

/* Return: what was told before, to be unreferenced, or NULL. */
static struct blob *tell_locked(
	struct armed *a, struct record *r, const struct armed_node *node)
{
	assert_locked(&a->lock);
	struct blob *old = NULL;
	bool told = r->state == TOLD || r->state == MIXED;
	enum state state = told_state(r, node->version);
	size_t size = node->told ? node->told->size : 0;

	if (size < r->least)
		set_least_locked(a, r, size);
	if (r->names && (node->moved || r->version != node->version))
		r->doubted = true;
	/* a newer answer may have overtaken this one */
	if (!told || node->generation >= r->generation) {
		old = r->told;
		r->told = node->told ? blob_ref(node->told) : NULL;
		r->version = node->version;
		r->generation = node->generation;
		keep_text_locked(a, r);
	}
	/* what it was to be looked at for in its group counts in the new one */
	move_to_group_locked(a, r, node->group, r->group->again_ns);
	r->state = state;
	r->gone = false;
	r->unknown = false;
	r->set = true;
	set_lookups_locked(a, r, r->lookups + node->entered);
	if (node->moved && !r->moved_until_ns)
		r->moved_until_ns = DUE;
	return old;
}

bool armed_set(struct armed *a, const struct armed_node *node, bool *ret_entry)
{
	struct blob *old = NULL;

	*ret_entry = false;
	lock_take(&a->lock);
	struct record *r = *place_locked(a, node->ino);

	if (!r) {
		r = add_locked(a, node->ino, node->group, LEDGER_NONE);
		/* without an entry it is one that was known before, of any size */
		if (r)
			set_least_locked(a, r, node->entered ? UINT32_MAX : 0);
	}
	if (r) {
		old = tell_locked(a, r, node);
		*ret_entry =
			node->parent && add_name_locked(a, r, node->parent, node->name);
	}
	lock_release(&a->lock);
	blob_unref(old);
	return r != NULL;
}

/* What its readers were told, NULL if that is not known. */
static struct blob *told_text(const struct told_row *row)
{
	uint32_t bytes = atomic_load(&row->bytes);

	return bytes && bytes <= TOLD_TEXT ? blob_new(row->text, bytes, 0, row->time_ns)
					   : NULL;
}

static void add_heir_locked(struct armed *a, uint32_t row, const struct armed_heir *heir)
{
	assert_locked(&a->lock);
	/* somebody else's words: it may say something twice */
	struct record *r = *place_locked(a, heir->ino)
		? NULL
		: add_locked(a, heir->ino, ARMED_TREE, row);

	if (!r) {
		ledger_drop(a->ledger, row);
		return;
	}
	const struct told_row *there = ledger_at(a->ledger, row);

	r->lookups = atomic_load(&there->lookups);
	r->state = MIXED;
	r->told = told_text(there);
	r->unknown = !r->told;
	r->least = atomic_load(&there->least);
	r->inherited = r->set = true;
	if (heir->parent)
		(void)add_name_locked(a, r, heir->parent, heir->name);
	r->group->again_ns = DUE;
}

void armed_inherit(struct armed *a, struct ledger *ledger,
	void (*find)(void *ctx, struct armed_heir *heir), void *ctx)
{
	struct armed_heir heir = { 0 };

	a->ledger = ledger;
	a->caught_up_ns = INT64_MAX;
	for (uint32_t at = 0; (at = ledger_next(ledger, at, &heir.ino)) != LEDGER_NONE;
		at++) {
		find(ctx, &heir);
		lock_take(&a->lock);
		add_heir_locked(a, at, &heir);
		lock_release(&a->lock);
		free(heir.name);
		heir = (struct armed_heir){ 0 };
	}
}

void armed_caught_up(struct armed *a, int64_t now_ns)
{
	lock_take(&a->lock);
	a->caught_up_ns = now_ns;
	lock_release(&a->lock);
}

static void remove_locked(struct armed *a, struct record *r)
{
	assert_locked(&a->lock);
	struct record **at = place_locked(a, r->ino);

	assert(*at == r && r->state == IDLE && !r->names && !r->lookups);
	leave_group(r);
	*at = r->next;
	a->n--;
	ledger_drop(a->ledger, r->row);
	record_free(r);
}

/* True if the kernel neither has anything of it nor can come to have it. */
static bool is_over(const struct record *r, int64_t now_ns)
{
	return r->state == IDLE && !r->names && !r->lookups &&
		now_ns >= r->moved_until_ns;
}

/*
 * The kernel may have evicted the node, and with it the memory of what was taken back, while
 * an answer about it is out.
 */
static void doubt_locked(const struct armed *a, struct record *r)
{
	assert_locked(&a->lock);
	r->state = r->state == TAKING || r->state == RETAKING ? RETAKING : MIXED;
	r->group->again_ns = DUE;
}

void armed_forgotten(struct armed *a, uint64_t ino, uint64_t n)
{
	lock_take(&a->lock);
	struct record *r = *place_locked(a, ino);

	if (r) {
		set_lookups_locked(a, r, r->lookups - (n < r->lookups ? n : r->lookups));
		if (r->lookups && n)
			doubt_locked(a, r);
		/* its group may never be looked at again */
		if (r->gone && is_over(r, INT64_MAX))
			remove_locked(a, r);
	}
	lock_release(&a->lock);
}

/*
 * Whether a read may go by the size that was taken back: the kernel asks for the size first,
 * unless it did so just before that.
 */
static bool may_be_late_locked(
	const struct armed *a, const struct record *r, int64_t now_ns)
{
	assert_locked(&a->lock);
	int64_t since_ns = r->taken_ns > a->caught_up_ns ? r->taken_ns : a->caught_up_ns;

	return r->taken_ns && now_ns - since_ns < MOVED_NS;
}

/*
 * Whether it has moved just now, and stays as it was told for a moment.  What was taken back before
 * that moment is in no reader's way any more: there may have been many newer bytes since.
 */
static bool stays_locked(const struct armed *a, const struct record *r,
	const struct armed_question *question)
{
	assert_locked(&a->lock);
	return question->moved && (r->names || question->ns < r->moved_until_ns) &&
		(r->state != IDLE || may_be_late_locked(a, r, question->ns));
}

/* It was taken back early, or is read @late; now it is to be again. */
static void tell_again_locked(const struct armed *a, struct record *r, bool late)
{
	assert_locked(&a->lock);
	r->state = TOLD;
	r->group->again_ns =
		ns_earlier(r->group->again_ns, late ? DUE : r->moved_until_ns + DUE);
}

bool armed_version(struct armed *a, uint64_t ino, int64_t *ret)
{
	lock_take(&a->lock);
	const struct record *r = *place_locked(a, ino);

	if (r)
		*ret = r->version;
	lock_release(&a->lock);
	return r;
}

bool armed_shows_told(
	struct armed *a, uint64_t ino, const struct armed_question *question)
{
	lock_take(&a->lock);
	const struct record *r = *place_locked(a, ino);
	bool told =
		r && !r->unknown && (r->state != IDLE || stays_locked(a, r, question));

	lock_release(&a->lock);
	return told;
}

bool armed_recall(struct armed *a, uint64_t ino, const struct armed_question *question,
	struct blob **ret_told)
{
	lock_take(&a->lock);
	struct record *r = *place_locked(a, ino);
	/* what is shorter than the kernel believes is no harm: it sees the end */
	bool late = r && question->reading && question->size > r->least &&
		may_be_late_locked(a, r, question->ns);
	bool told = r && !r->unknown &&
		(r->state != IDLE || late || stays_locked(a, r, question));

	if (told) {
		*ret_told = r->told ? blob_ref(r->told) : NULL;
		if (r->state == IDLE) {
			tell_again_locked(a, r, late);
		} else if (r->state == TAKING) {
			r->state = RETAKING;
		}
	}
	lock_release(&a->lock);
	return told;
}

struct collection {
	struct armed_change *at;
	size_t n, cap;
};

static struct armed_change *add_change(struct collection *c, const struct record *r)
{
	c->at = xgrow(c->at, c->n, &c->cap, sizeof(*c->at));
	c->at[c->n] = (struct armed_change){ .ino = r->ino };
	return &c->at[c->n++];
}

static void take_node(struct collection *c, struct record *r)
{
	if (r->state != TOLD && r->state != MIXED)
		return;
	add_change(c, r)->node = true;
	r->state = TAKING;
}

/* Those that do not stand for it any more.  Return: whether there were any. */
static bool take_names(struct collection *c, struct record *r,
	const struct armed_now *now, enum armed_verdict verdict)
{
	bool all = verdict == ARMED_MOVED || verdict == ARMED_GONE || r->moved_until_ns;
	bool any = false;
	struct name **at = &r->names;

	r->doubted = false;
	while (*at) {
		struct name *name = *at;

		if (!all && now->stands(now->ctx, r->ino, name->text)) {
			at = &name->next;
			continue;
		}
		struct armed_change *change = add_change(c, r);

		change->parent = r->parent;
		change->name = xstrdup(name->text);
		*at = name->next;
		free(name);
		any = true;
	}
	return any;
}

/* When what was taken back must be taken back again, 0: need not. */
static int64_t again_locked(
	const struct armed *a, struct record *r, bool known, int64_t now_ns)
{
	assert_locked(&a->lock);
	bool missed = !known && r->lookups;
	unsigned doublings = r->missed < MISSED_DOUBLINGS ? r->missed : MISSED_DOUBLINGS;

	r->missed = missed ? r->missed + 1 : 0;
	/* the process before us may have died between counting an answer and giving it */
	if (r->inherited && r->missed > MISSED_DOUBLINGS) {
		set_lookups_locked(a, r, 0);
		missed = false;
	}
	if (r->state == RETAKING)
		return now_ns;
	return missed ? now_ns + (MISSED_NS << doublings) : 0;
}

static void become_idle(struct record *r, int64_t now_ns)
{
	r->state = IDLE;
	if (!r->set)
		return;
	r->set = false;
	r->taken_ns = now_ns;
}

int64_t armed_taken(struct armed *a, uint64_t ino, bool known, int64_t now_ns)
{
	int64_t again_ns = 0;

	lock_take(&a->lock);
	struct record *r = *place_locked(a, ino);

	if (r) {
		again_ns = again_locked(a, r, known, now_ns);
		if (!known && !again_ns)
			set_least_locked(a, r, UINT32_MAX);
		if (again_ns)
			r->state = MIXED;
		else if (r->state == TAKING)
			become_idle(r, now_ns);
		assert(r->state != TAKING && r->state != RETAKING);
		r->group->again_ns = ns_earlier(r->group->again_ns, again_ns);
		if (r->gone && is_over(r, INT64_MAX))
			remove_locked(a, r);
	}
	lock_release(&a->lock);
	return again_ns;
}

bool armed_outgrown(struct armed *a, uint64_t ino, const struct armed_question *question)
{
	lock_take(&a->lock);
	struct record *r = *place_locked(a, ino);
	bool outgrown = r && r->state == IDLE && r->least < question->size;

	if (outgrown && stays_locked(a, r, question)) {
		tell_again_locked(a, r, false);
		outgrown = false;
	}
	if (outgrown)
		set_least_locked(a, r, question->size);
	lock_release(&a->lock);
	return outgrown;
}

/*
 * What changes by @verdict is taken back: the node, entries, or both.
 * Return: when the node must be looked at again, 0: not before it changes.
 */
static int64_t collect_record(struct record *r, enum armed_verdict verdict,
	const struct armed_now *now, struct collection *out)
{
	bool names = take_names(out, r, now, verdict);

	/* what moved before our time has moved long ago */
	if (verdict == ARMED_MOVED && names && !r->inherited)
		r->moved_until_ns = now->ns + MOVED_NS;
	if (verdict == ARMED_MOVED && now->ns < r->moved_until_ns) {
		/* by then it may look as it did: a change of the configuration is said once */
		if (r->state == TOLD)
			r->state = MIXED;
		return r->moved_until_ns;
	}
	/* a name may be in doubt and nothing else */
	if (verdict != ARMED_SAME || r->state == MIXED)
		take_node(out, r);
	return 0;
}

static void collect_group_locked(struct armed *a, struct group *g,
	const struct armed_now *now, struct collection *out)
{
	assert_locked(&a->lock);
	struct record *next;

	g->again_ns = 0;
	for (struct record *r = g->records; r; r = next) {
		uint64_t key = g->key;
		enum armed_verdict verdict =
			now->check(now->ctx, r->ino, r->version, &key);
		int64_t again_ns = 0;

		next = r->next_in_group;
		r->gone = verdict == ARMED_GONE;
		if (verdict != ARMED_SAME || r->state == MIXED || r->doubted)
			again_ns = collect_record(r, verdict, now, out);
		/* a group that it goes to may have been looked at already: this was its turn */
		if (verdict != ARMED_SAME && is_over(r, now->ns))
			remove_locked(a, r);
		else
			move_to_group_locked(a, r, key, again_ns);
	}
}

/* Return: when any group must be looked at again, 0: not before something changes. */
static int64_t drop_empty_groups_locked(struct armed *a)
{
	assert_locked(&a->lock);
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

size_t armed_collect(struct armed *a, const struct armed_now *now,
	struct armed_change **ret, int64_t *ret_again)
{
	struct collection out = { 0 };

	lock_take(&a->lock);
	for (size_t i = 0; i < GROUP_BUCKETS; i++)
		for (struct group *g = a->groups[i]; g; g = g->next)
			/* told from a view that was never looked at, it may be gone since */
			if ((g->again_ns && g->again_ns <= now->ns) ||
				g->generation > now->seen ||
				now->touched(now->ctx, g->key))
				collect_group_locked(a, g, now, &out);
	*ret_again = drop_empty_groups_locked(a);
	lock_release(&a->lock);
	*ret = out.at;
	return out.n;
}

void armed_changes_free(struct armed_change *changes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(changes[i].name);
	free(changes);
}

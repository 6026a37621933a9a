/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/kernel/delay_pairs.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bpf/delay_maps.h"
#include "collect/kernel/delay_spread.h"
#include "core/blame.h"
#include "core/snapshot.h"
#include "util/clock.h"
#include "util/limits.h"
#include "util/mem.h"

static_assert((int)BLAME_OWNERS == (int)DELAY_OWNERS &&
		(int)BLAME_VMS == (int)DELAY_BY_VMS &&
		(int)BLAME_UNKNOWN == (int)DELAY_BY_UNKNOWN,
	"the same in the same order");

/* So long who is gone is remembered: also what was counted before it ran again. */
#define MEMORY_NS (300 * NS_PER_S)

/* Between when a place is no pair's any more and when it is free (bpf/delay_format.h). */
#define GRACE_S 60

/* What the sums were, now and then: the oldest is a minute ago, or a little more. */
#define MARKS 7u
#define MARK_NS (10 * NS_PER_S)

/* A mark of a pair; 2^32 of them are what a thousand vCPUs can wait in a minute. */
#define MARK_UNIT_NS 16384u

struct delay_vm {
	struct uuid uuid;
	char *name;
	uint32_t use, at; /* at: in the struct blame that is being made */
	int64_t since_ns, told_ns;
	uint64_t by[DELAY_OWNERS]; /* DELAY_BY_UNIT_NS */
	uint64_t marks[MARKS][DELAY_OWNERS];
};

/* A place that is taken.  As little as will do, for there are many. */
struct pair {
	struct delay_vm *victim, *culprit; /* NULL: not known yet, or any more */
	uint64_t ns;
	uint32_t slot;
	uint32_t dead_s; /* since when it is nobody's, modulo 2^32; 0: it is somebody's */
	uint32_t marks[MARKS]; /* MARK_UNIT_NS, modulo 2^32 */
};

struct delay_pairs_reader {
	uint32_t bits;
	struct delay_pairs *map;
	struct delay_vm **vms; /* by uuid */
	size_t n_vms, cap_vms;
	struct pair *pairs;
	size_t n, cap;
	uint32_t *seen; /* a bit for each place: it is among them */
	uint64_t claimed;
	bool read_once, unresolved;
	int64_t started_ns, before_ns, now_ns; /* the last two turns */
	int64_t mark_ns[MARKS];                /* of each mark, 0: there is none */
	size_t mark;                           /* the newest */
};

static const struct delay_pairs_head *head_of(const struct delay_pairs_reader *p)
{
	return delay_pairs_head(p->map, p->bits);
}

static size_t n_slots(const struct delay_pairs_reader *p)
{
	return delay_n_pair_buckets(p->bits) * DELAY_PAIRS;
}

static uint64_t *key_at(const struct delay_pairs_reader *p, uint32_t slot)
{
	return &p->map[slot / DELAY_PAIRS].key[slot % DELAY_PAIRS];
}

static uint64_t *ns_at(const struct delay_pairs_reader *p, uint32_t slot)
{
	return &p->map[slot / DELAY_PAIRS].ns[slot % DELAY_PAIRS];
}

struct delay_pairs_reader *delay_pairs_new(int fd, uint32_t bits, int64_t now_ns)
{
	void *map = mmap(
		NULL, delay_pairs_bytes(bits), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		return NULL;
	struct delay_pairs_reader *p = xcalloc(1, sizeof(*p));

	p->bits = bits;
	p->map = map;
	p->started_ns = now_ns;
	p->seen = xcalloc(n_slots(p) / 32, sizeof(*p->seen));
	return p;
}

static void vm_free(struct delay_vm *vm)
{
	free(vm->name);
	free(vm);
}

void delay_pairs_free(struct delay_pairs_reader *p)
{
	if (!p)
		return;
	munmap(p->map, delay_pairs_bytes(p->bits));
	for (size_t i = 0; i < p->n_vms; i++)
		vm_free(p->vms[i]);
	free(p->vms);
	free(p->pairs);
	free(p->seen);
	free(p);
}

uint32_t delay_pairs_last_use(const struct delay_pairs_reader *p)
{
	uint32_t last = 0;

	for (uint32_t slot = 0; slot < n_slots(p); slot++) {
		uint64_t key = __atomic_load_n(key_at(p, slot), __ATOMIC_RELAXED);
		uint32_t victim = (uint32_t)(key >> 32), culprit = (uint32_t)key;

		last = victim > last ? victim : last;
		last = culprit > last ? culprit : last;
	}
	return last;
}

/* ---- VMs ---- */

/* Return: where it is, or would be. */
static size_t place_of(const struct delay_pairs_reader *p, const struct uuid *uuid)
{
	size_t low = 0, high = p->n_vms;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (uuid_compare(&p->vms[mid]->uuid, uuid) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct delay_vm *insert_vm(
	struct delay_pairs_reader *p, size_t at, const struct uuid *uuid, int64_t now_ns)
{
	struct delay_vm *vm = xcalloc(1, sizeof(*vm));

	vm->uuid = *uuid;
	vm->since_ns = now_ns;
	p->vms = xgrow(p->vms, p->n_vms, &p->cap_vms, sizeof(struct delay_vm *));
	memmove(&p->vms[at + 1], &p->vms[at],
		(p->n_vms - at) * sizeof(struct delay_vm *));
	p->vms[at] = vm;
	p->n_vms++;
	/* pairs that stand there from before may be its */
	p->unresolved = true;
	return vm;
}

struct delay_vm *delay_pairs_vm(
	struct delay_pairs_reader *p, const struct vm_ident *ident, int64_t now_ns)
{
	size_t at = place_of(p, &ident->uuid);
	bool known = at < p->n_vms && uuid_compare(&p->vms[at]->uuid, &ident->uuid) == 0;
	struct delay_vm *vm = known ? p->vms[at] : insert_vm(p, at, &ident->uuid, now_ns);

	if (!vm->name || strcmp(vm->name, ident->name) != 0) {
		free(vm->name);
		vm->name = xstrdup(ident->name);
	}
	vm->told_ns = now_ns;
	return vm;
}

uint32_t *delay_vm_use(struct delay_vm *vm)
{
	return &vm->use;
}

void delay_vm_waited(struct delay_vm *vm, const uint64_t by[DELAY_OWNERS])
{
	for (size_t i = 0; i < DELAY_OWNERS; i++)
		vm->by[i] += by[i];
}

static bool is_forgotten(const struct delay_vm *vm, int64_t now_ns)
{
	return now_ns - vm->told_ns > MEMORY_NS;
}

/* After nothing points to them any more. */
static void forget_vms(struct delay_pairs_reader *p, int64_t now_ns)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n_vms; i++)
		if (is_forgotten(p->vms[i], now_ns))
			vm_free(p->vms[i]);
		else
			p->vms[n++] = p->vms[i];
	p->n_vms = n;
}

/* ---- whose pairs they are ---- */

struct named_use {
	uint32_t use;
	struct delay_vm *vm;
};

static int compare_uses(const void *a, const void *b)
{
	const struct named_use *x = a, *y = b;

	return (x->use > y->use) - (x->use < y->use);
}

static struct delay_vm *find_use(const struct named_use *uses, size_t n, uint32_t use)
{
	const struct named_use wanted = { .use = use };
	const struct named_use *found =
		n ? bsearch(&wanted, uses, n, sizeof(*uses), compare_uses) : NULL;

	return found ? found->vm : NULL;
}

static void resolve(struct delay_pairs_reader *p)
{
	struct named_use *uses = xcalloc(p->n_vms, sizeof(*uses));
	size_t n = 0;

	for (size_t i = 0; i < p->n_vms; i++)
		if (p->vms[i]->use)
			uses[n++] = (struct named_use){ p->vms[i]->use, p->vms[i] };
	if (n)
		qsort(uses, n, sizeof(*uses), compare_uses);
	for (size_t i = 0; i < p->n; i++) {
		struct pair *pair = &p->pairs[i];
		uint64_t key = __atomic_load_n(key_at(p, pair->slot), __ATOMIC_RELAXED);

		if (pair->dead_s || (pair->victim && pair->culprit))
			continue;
		pair->victim = find_use(uses, n, (uint32_t)(key >> 32));
		pair->culprit = find_use(uses, n, (uint32_t)key);
	}
	p->unresolved = false;
	free(uses);
}

/* ---- reading ---- */

static bool is_seen(const struct delay_pairs_reader *p, uint32_t slot)
{
	return p->seen[slot / 32] >> slot % 32 & 1;
}

static uint32_t seconds(int64_t now_ns)
{
	uint32_t s = (uint32_t)(now_ns / NS_PER_S);

	return s ? s : 1;
}

/* What was counted before anybody here looked is not of the last minute, as far as is known. */
static void add_pair(
	struct delay_pairs_reader *p, uint32_t slot, uint64_t key, int64_t now_ns)
{
	uint64_t ns = __atomic_load_n(ns_at(p, slot), __ATOMIC_RELAXED);
	uint32_t mark = p->read_once ? 0 : (uint32_t)(ns / MARK_UNIT_NS);

	p->pairs = xgrow(p->pairs, p->n, &p->cap, sizeof(*p->pairs));
	struct pair *pair = &p->pairs[p->n++];

	*pair = (struct pair){ .slot = slot };
	if (key == DELAY_PAIR_DEAD)
		pair->dead_s = seconds(now_ns);
	for (size_t i = 0; i < MARKS; i++)
		pair->marks[i] = mark;
	p->seen[slot / 32] |= 1u << slot % 32;
}

/* Places that were taken since. */
static void find_pairs(struct delay_pairs_reader *p, int64_t now_ns)
{
	uint64_t claimed = __atomic_load_n(&head_of(p)->claimed, __ATOMIC_ACQUIRE);

	if (p->read_once && claimed == p->claimed)
		return;
	/* one that is claimed meanwhile, and not seen, is counted later than this was read */
	p->claimed = claimed;
	for (uint32_t slot = 0; slot < n_slots(p); slot++) {
		uint64_t key = __atomic_load_n(key_at(p, slot), __ATOMIC_ACQUIRE);

		if (key && !is_seen(p, slot) && p->n < LIMIT_BLAME_PAIRS)
			add_pair(p, slot, key, now_ns);
	}
	p->read_once = true;
	p->unresolved = true;
}

static void read_pairs(struct delay_pairs_reader *p)
{
	for (size_t i = 0; i < p->n; i++) {
		struct pair *pair = &p->pairs[i];
		uint64_t ns = __atomic_load_n(ns_at(p, pair->slot), __ATOMIC_RELAXED);

		if (!pair->dead_s && ns > pair->ns)
			pair->ns = ns;
	}
}

/* ---- giving back ---- */

static bool is_over(
	const struct delay_pairs_reader *p, const struct pair *pair, int64_t now_ns)
{
	if (!pair->victim || !pair->culprit)
		return now_ns - p->started_ns > MEMORY_NS;
	return is_forgotten(pair->victim, now_ns) || is_forgotten(pair->culprit, now_ns);
}

/* Return: false if it is no longer among them. */
static bool keep_pair(struct delay_pairs_reader *p, struct pair *pair, int64_t now_ns)
{
	if (!pair->dead_s && is_over(p, pair, now_ns)) {
		__atomic_store_n(
			key_at(p, pair->slot), DELAY_PAIR_DEAD, __ATOMIC_RELEASE);
		pair->dead_s = seconds(now_ns);
		pair->victim = pair->culprit = NULL;
		return true;
	}
	if (!pair->dead_s || seconds(now_ns) - pair->dead_s <= GRACE_S)
		return true;
	__atomic_store_n(ns_at(p, pair->slot), 0, __ATOMIC_RELAXED);
	__atomic_store_n(key_at(p, pair->slot), 0, __ATOMIC_RELEASE);
	p->seen[pair->slot / 32] &= ~(1u << pair->slot % 32);
	return false;
}

static void sweep(struct delay_pairs_reader *p, int64_t now_ns)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n; i++)
		if (keep_pair(p, &p->pairs[i], now_ns))
			p->pairs[n++] = p->pairs[i];
	p->n = n;
	forget_vms(p, now_ns);
}

/* ---- turns ---- */

static void set_marks(struct delay_pairs_reader *p, int64_t now_ns)
{
	p->mark = (p->mark + 1) % MARKS;
	p->mark_ns[p->mark] = now_ns;
	for (size_t i = 0; i < p->n; i++)
		p->pairs[i].marks[p->mark] = (uint32_t)(p->pairs[i].ns / MARK_UNIT_NS);
	for (size_t i = 0; i < p->n_vms; i++)
		memcpy(p->vms[i]->marks[p->mark], p->vms[i]->by, sizeof(p->vms[i]->by));
}

void delay_pairs_turn(struct delay_pairs_reader *p, int64_t now_ns)
{
	p->before_ns = p->now_ns;
	p->now_ns = now_ns;
	find_pairs(p, now_ns);
	if (p->unresolved)
		resolve(p);
	read_pairs(p);
	if (p->mark_ns[p->mark] && now_ns - p->mark_ns[p->mark] < MARK_NS)
		return;
	sweep(p, now_ns);
	set_marks(p, now_ns);
}

/* ---- telling ---- */

/* The oldest mark that there is. */
static size_t oldest(const struct delay_pairs_reader *p)
{
	size_t i = (p->mark + 1) % MARKS;

	while (!p->mark_ns[i] && i != p->mark)
		i = (i + 1) % MARKS;
	return i;
}

static void tell_vm(const struct delay_pairs_reader *p, const struct delay_vm *vm,
	char **names, struct blame_vm *ret)
{
	size_t mark = oldest(p), len = strlen(vm->name) + 1;
	int64_t then_ns = p->mark_ns[mark];

	*ret = (struct blame_vm){ .uuid = vm->uuid,
		.name = memcpy(*names, vm->name, len),
		.runs = vm->told_ns > p->before_ns,
		.lately_ns =
			p->now_ns - (vm->since_ns > then_ns ? vm->since_ns : then_ns) };
	*names += len;
	for (size_t i = 0; i < DELAY_OWNERS; i++)
		ret->by[i] = (struct blame_time){ vm->by[i] * DELAY_BY_UNIT_NS,
			(vm->by[i] - vm->marks[mark][i]) * DELAY_BY_UNIT_NS };
}

/* One place's share of a pair; almost always all of it. */
static void tell_place(const struct pair *pair, size_t mark, struct blame *b)
{
	uint32_t lately = (uint32_t)(pair->ns / MARK_UNIT_NS) - pair->marks[mark];

	if (pair->victim && pair->culprit && pair->victim != pair->culprit && pair->ns)
		b->pairs[b->n_pairs++] =
			(struct blame_pair){ pair->victim->at, pair->culprit->at,
				{ pair->ns, (uint64_t)lately * MARK_UNIT_NS } };
}

/* At each turn: what can be left to who asks for it is (core/blame). */
struct blame *delay_pairs_blame(struct delay_pairs_reader *p)
{
	size_t name_bytes = 0;

	for (size_t i = 0; i < p->n_vms; i++) {
		p->vms[i]->at = (uint32_t)i;
		name_bytes += strlen(p->vms[i]->name) + 1;
	}
	struct blame *b = blame_new(p->n_vms, p->n, name_bytes);
	char *names = b->names;
	size_t mark = oldest(p);

	b->now_ns = p->now_ns;
	b->n_pairs = 0;
	for (size_t i = 0; i < p->n_vms; i++)
		tell_vm(p, p->vms[i], &names, &b->vms[i]);
	for (size_t i = 0; i < p->n; i++)
		tell_place(&p->pairs[i], mark, b);
	return b;
}

struct delay_pairs_counts delay_pairs_counts(const struct delay_pairs_reader *p)
{
	return (struct delay_pairs_counts){ .pairs = p->n,
		.room = n_slots(p),
		.lost_ns = __atomic_load_n(&head_of(p)->lost_ns, __ATOMIC_RELAXED) };
}

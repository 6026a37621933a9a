/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/blame.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "core/fname.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/mem.h"
#include "util/refs.h"
#include "util/strbuf.h"

static const char *const owner_names[] = { [BLAME_VMS] = "vms",
	[BLAME_SELF] = "self",
	[BLAME_HOST] = "host",
	[BLAME_KERNEL] = "kernel",
	[BLAME_IDLE] = "idle",
	[BLAME_QUOTA] = "quota",
	[BLAME_UNKNOWN] = "unknown" };
static_assert(ARRAY_LEN(owner_names) == BLAME_OWNERS, "each has a name");

struct blame *blame_new(size_t n_vms, size_t n_pairs, size_t name_bytes)
{
	struct blame *b = xcalloc(1, sizeof(*b));

	refs_init(&b->refs);
	lock_init(&b->lock);
	b->n_vms = n_vms;
	b->n_pairs = n_pairs;
	b->vms = xcalloc(n_vms, sizeof(*b->vms));
	b->pairs = xcalloc(n_pairs, sizeof(*b->pairs));
	b->names = xcalloc(name_bytes, 1);
	return b;
}

struct blame *blame_ref(struct blame *b)
{
	if (b)
		refs_take(&b->refs);
	return b;
}

void blame_unref(struct blame *b)
{
	if (!b || !refs_drop(&b->refs))
		return;
	lock_done(&b->lock);
	free(b->vms);
	free(b->pairs);
	free(b->names);
	free(b);
}

/* ---- pairs ---- */

static uint32_t victim_of(const struct blame_pair *pair)
{
	return pair->victim;
}

static uint32_t culprit_of(const struct blame_pair *pair)
{
	return pair->by;
}

/* Those with the same number stay in their order.  @number: of a pair, below @b->n_vms. */
static void sort_pairs(const struct blame *b,
	uint32_t (*number)(const struct blame_pair *pair), const struct blame_pair *from,
	struct blame_pair *to)
{
	/* where the next one of that number goes */
	_cleanup_free_ size_t *next = xcalloc(b->n_vms + 1, sizeof(*next));

	for (size_t i = 0; i < b->n_pairs; i++) {
		assert(number(&from[i]) < b->n_vms);
		next[number(&from[i]) + 1]++;
	}
	for (size_t i = 1; i < b->n_vms; i++)
		next[i] += next[i - 1];
	for (size_t i = 0; i < b->n_pairs; i++)
		to[next[number(&from[i])]++] = from[i];
}

/* Parts of one pair are beside each other by now. */
static void put_parts_together_locked(struct blame *b)
{
	assert_locked(&b->lock);
	size_t n = 0;

	for (size_t i = 0; i < b->n_pairs; i++) {
		const struct blame_pair *part = &b->pairs[i];
		struct blame_pair *last = n ? &b->pairs[n - 1] : NULL;

		if (last && last->victim == part->victim && last->by == part->by) {
			last->time.all_ns += part->time.all_ns;
			last->time.lately_ns += part->time.lately_ns;
			continue;
		}
		struct blame_vm *vm = &b->vms[part->victim];

		vm->first = vm->n++ ? vm->first : n;
		b->pairs[n++] = *part;
	}
	b->n_pairs = n;
}

static void put_in_order_locked(struct blame *b)
{
	assert_locked(&b->lock);
	_cleanup_free_ struct blame_pair *by =
		xreallocarray(NULL, b->n_pairs, sizeof(*by));

	sort_pairs(b, culprit_of, b->pairs, by);
	sort_pairs(b, victim_of, by, b->pairs);
	put_parts_together_locked(b);
	b->in_order = true;
}

const struct blame_pair *blame_pairs_of(
	struct blame *b, const struct blame_vm *vm, size_t *ret_n)
{
	lock_take(&b->lock);
	if (!b->in_order)
		put_in_order_locked(b);
	lock_release(&b->lock);
	*ret_n = vm->n;
	return &b->pairs[vm->first];
}

const struct blame_vm *blame_find(const struct blame *b, const struct uuid *uuid)
{
	size_t low = 0, high = b->n_vms;

	while (low < high) {
		size_t mid = (low + high) / 2;
		int c = uuid_compare(&b->vms[mid].uuid, uuid);

		if (c == 0)
			return &b->vms[mid];
		if (c < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

const char *blame_owner_name(enum blame_owner owner)
{
	return owner_names[owner];
}

static void describe_pair(
	const struct blame *b, const struct blame_pair *pair, struct strbuf *out)
{
	const struct blame_vm *by = &b->vms[pair->by];
	char uuid[UUID_TEXT_LEN + 1];

	uuid_format(&by->uuid, uuid);
	strbuf_addf(out, "behind: %s %" PRIu64 " %" PRIu64 " ", uuid,
		pair->time.lately_ns, pair->time.all_ns);
	fname_escape(by->name, out);
	strbuf_addc(out, '\n');
}

static void describe_vm(struct blame *b, const struct blame_vm *vm, struct strbuf *out)
{
	size_t n;
	const struct blame_pair *pairs = blame_pairs_of(b, vm, &n);
	char uuid[UUID_TEXT_LEN + 1];

	uuid_format(&vm->uuid, uuid);
	strbuf_addf(out, "vm: %s %" PRId64 " ", uuid, vm->lately_ns / NS_PER_MS);
	fname_escape(vm->name, out);
	strbuf_addc(out, '\n');
	for (size_t i = 0; i < BLAME_OWNERS; i++)
		strbuf_addf(out, "owner: %s %" PRIu64 " %" PRIu64 "\n", owner_names[i],
			vm->by[i].lately_ns, vm->by[i].all_ns);
	for (size_t i = 0; i < n; i++)
		describe_pair(b, &pairs[i], out);
}

void blame_describe(struct blame *b, struct strbuf *out)
{
	strbuf_addf(out, "now: %" PRId64 "\n", b->now_ns / NS_PER_MS);
	for (size_t i = 0; i < b->n_vms; i++)
		if (b->vms[i].runs)
			describe_vm(b, &b->vms[i], out);
}

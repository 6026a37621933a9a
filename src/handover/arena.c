/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handover/arena.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "handover/ledger.h"
#include "util/lock.h"
#include "util/mem.h"

/* Memory in use, in whole pages. */
struct extent {
	uint64_t offset, bytes;
	uint32_t item;
};

struct arena {
	struct arena_area *area;
	struct lock lock; /* guards all below, and the area */
	struct ledger *items;
	uint64_t serial;        /* of the newest */
	struct extent *extents; /* sorted, apart from each other */
	size_t n, cap;
	uint64_t touched; /* nothing was put behind that */
	bool dropped;     /* anything, since arena_trim() */
};

static uint64_t whole_pages(uint64_t bytes)
{
	return (bytes + ARENA_PAGE - 1) / ARENA_PAGE * ARENA_PAGE;
}

static struct arena_item *item_at(const struct arena *a, uint32_t at)
{
	return ledger_at(a->items, at);
}

/* An id is a serial and the place of its item. */
static uint64_t make_id(uint64_t serial, uint32_t at)
{
	return serial * ARENA_ITEMS + at;
}

/* The first extent at or behind an offset. */
static size_t find_extent_locked(const struct arena *a, uint64_t offset)
{
	assert_locked(&a->lock);
	size_t low = 0, high = a->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (a->extents[middle].offset < offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* @e: where there is room. */
static void add_extent_locked(struct arena *a, const struct extent *e)
{
	assert_locked(&a->lock);
	size_t at = find_extent_locked(a, e->offset);

	a->extents = xgrow(a->extents, a->n, &a->cap, sizeof(*a->extents));
	memmove(&a->extents[at + 1], &a->extents[at], (a->n - at) * sizeof(*e));
	a->extents[at] = *e;
	a->n++;
	if (e->offset + e->bytes > a->touched)
		a->touched = e->offset + e->bytes;
}

/* The first gap that is large enough.  Return: false if there is none. */
static bool find_room_locked(const struct arena *a, uint64_t bytes, uint64_t *ret)
{
	assert_locked(&a->lock);
	uint64_t end = 0;

	for (size_t i = 0; i < a->n && a->extents[i].offset - end < bytes; i++)
		end = a->extents[i].offset + a->extents[i].bytes;
	*ret = end;
	return sizeof(a->area->memory) - end >= bytes;
}

/* What the process before us left may be anything. */
static bool is_sound(const struct arena_item *item, uint64_t id, uint32_t at)
{
	const uint64_t size = sizeof(((struct arena_area *)NULL)->memory);

	return id % ARENA_ITEMS == at && item->bytes && item->bytes <= size &&
		item->offset % ARENA_PAGE == 0 && item->offset <= size - item->bytes;
}

static int compare_extents(const void *a, const void *b)
{
	const struct extent *x = a, *y = b;

	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* In any order: with a place found for each one tens of thousands would take seconds. */
static void take_over_locked(struct arena *a)
{
	assert_locked(&a->lock);
	uint64_t id = 0, end = 0;
	size_t n = 0;

	for (uint32_t at = 0; (at = ledger_next(a->items, at, &id)) != LEDGER_NONE;
		at++) {
		const struct arena_item *item = item_at(a, at);

		if (id / ARENA_ITEMS > a->serial)
			a->serial = id / ARENA_ITEMS;
		if (!is_sound(item, id, at)) {
			ledger_drop(a->items, at);
			continue;
		}
		a->extents = xgrow(a->extents, a->n, &a->cap, sizeof(*a->extents));
		a->extents[a->n++] =
			(struct extent){ item->offset, whole_pages(item->bytes), at };
	}
	if (a->n)
		qsort(a->extents, a->n, sizeof(*a->extents), compare_extents);
	for (size_t i = 0; i < a->n; i++) {
		const struct extent e = a->extents[i];

		if (e.offset < end) {
			ledger_drop(a->items, e.item);
			continue;
		}
		end = e.offset + e.bytes;
		a->extents[n++] = e;
	}
	a->n = n;
}

struct arena *arena_new(struct arena_area *area)
{
	struct arena *a = xcalloc(1, sizeof(*a));

	lock_init(&a->lock);
	a->area = area;
	a->touched = sizeof(area->memory);
	a->dropped = true; /* by the process before us */
	a->items =
		ledger_new(area->items, sizeof(area->items[0]), ARENA_ITEMS, &area->top);
	lock_take(&a->lock);
	take_over_locked(a);
	lock_release(&a->lock);
	return a;
}

void arena_free(struct arena *a)
{
	if (!a)
		return;
	ledger_free(a->items);
	free(a->extents);
	lock_done(&a->lock);
	free(a);
}

/* Return: where, or LEDGER_NONE. */
static uint32_t reserve_locked(struct arena *a, size_t bytes)
{
	assert_locked(&a->lock);
	struct extent e = { .bytes = whole_pages(bytes) };

	if (!bytes || !find_room_locked(a, e.bytes, &e.offset))
		return LEDGER_NONE;
	e.item = ledger_reserve(a->items);
	if (e.item == LEDGER_NONE)
		return LEDGER_NONE;
	add_extent_locked(a, &e);
	struct arena_item *item = item_at(a, e.item);

	item->offset = e.offset;
	item->bytes = bytes;
	return e.item;
}

uint64_t arena_put(
	struct arena *a, const struct arena_note *note, const void *data, size_t bytes)
{
	if (!a)
		return 0;
	lock_take(&a->lock);
	uint32_t at = reserve_locked(a, bytes);
	uint64_t id = at == LEDGER_NONE ? 0 : make_id(++a->serial, at);

	lock_release(&a->lock);
	if (!id)
		return 0;
	struct arena_item *item = item_at(a, at);

	memcpy(a->area->memory + item->offset, data, bytes);
	item->note = *note;
	ledger_commit(a->items, at, id);
	return id;
}

/* What another process left may say of two that they have the same. */
static bool is_there_locked(const struct arena *a, uint64_t id)
{
	assert_locked(&a->lock);
	uint32_t at = (uint32_t)(id % ARENA_ITEMS);
	uint64_t there = 0;

	return id && ledger_next(a->items, at, &there) == at && there == id;
}

static void drop_locked(struct arena *a, uint64_t id)
{
	assert_locked(&a->lock);
	uint32_t at = (uint32_t)(id % ARENA_ITEMS);

	if (!is_there_locked(a, id))
		return;
	size_t i = find_extent_locked(a, item_at(a, at)->offset);

	memmove(&a->extents[i], &a->extents[i + 1], (a->n - i - 1) * sizeof(*a->extents));
	a->n--;
	a->dropped = true;
	ledger_drop(a->items, at);
}

void arena_drop(struct arena *a, uint64_t id)
{
	if (!a || !id)
		return;
	lock_take(&a->lock);
	drop_locked(a, id);
	lock_release(&a->lock);
}

/* Where pages are larger than ours it is left as it is. */
static void give_back(struct arena *a, uint64_t from, uint64_t to)
{
	if (to > from)
		(void)madvise(a->area->memory + from, to - from, MADV_REMOVE);
}

void arena_trim(struct arena *a)
{
	uint64_t end = 0;

	if (!a)
		return;
	lock_take(&a->lock);
	if (a->dropped) {
		for (size_t i = 0; i < a->n; i++) {
			give_back(a, end, a->extents[i].offset);
			end = a->extents[i].offset + a->extents[i].bytes;
		}
		give_back(a, end, a->touched);
		a->touched = end;
		a->dropped = false;
	}
	lock_release(&a->lock);
}

static struct arena_bytes bytes_of(const struct arena *a, uint32_t at, uint64_t id)
{
	const struct arena_item *item = item_at(a, at);

	return (struct arena_bytes){ id, item->note, a->area->memory + item->offset,
		item->bytes };
}

bool arena_get(struct arena *a, uint64_t id, struct arena_bytes *ret)
{
	lock_take(&a->lock);
	bool found = is_there_locked(a, id);

	if (found)
		*ret = bytes_of(a, (uint32_t)(id % ARENA_ITEMS), id);
	lock_release(&a->lock);
	return found;
}

bool arena_next(struct arena *a, uint32_t *at, struct arena_bytes *ret)
{
	uint64_t id = 0;

	lock_take(&a->lock);
	*at = ledger_next(a->items, *at, &id);
	bool found = *at != LEDGER_NONE;

	if (found)
		*ret = bytes_of(a, (*at)++, id);
	lock_release(&a->lock);
	return found;
}

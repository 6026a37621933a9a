/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/pinned.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/blob.h"
#include "handover/arena.h"
#include "util/clock.h"
#include "util/lock.h"
#include "util/mem.h"

#define UNUSED_NS (30 * NS_PER_S)
/* Of more than that those go that nobody has used for a moment; of still more the oldest. */
#define ENOUGH_BYTES (2u << 20)
#define ENOUGH_NS (2 * NS_PER_S)
#define MAX_BYTES (4u << 20)
#define MAX_COUNT 256u
#define MIN_KEPT 8u /* whatever their size */

struct pin {
	uint64_t id;
	struct blob *blob;       /* NULL: nobody has used it since it was left to us */
	struct arena_bytes left; /* then; in the arena */
	int64_t used_ns;
	uint64_t kept; /* in the arena */
};

/* What was dropped, and the kernel may have pages of. */
struct gone {
	uint64_t id;
	uint64_t kept; /* in the arena: who comes after us would have to take it back */
};

struct pinned {
	struct lock lock; /* guards all below */
	struct pin *pins; /* in the order of last use */
	size_t n, cap, bytes;
	struct gone *gone; /* in the order in which they went */
	size_t n_gone, cap_gone;
	size_t n_named;      /* the first of them, by pinned_expire() */
	struct arena *arena; /* NULL: nobody comes after us */
};

struct pinned *pinned_new(void)
{
	struct pinned *p = xcalloc(1, sizeof(*p));

	lock_init(&p->lock);
	return p;
}

void pinned_free(struct pinned *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n; i++)
		blob_unref(p->pins[i].blob);
	free(p->pins);
	free(p->gone);
	lock_done(&p->lock);
	free(p);
}

static size_t size_of(const struct pin *pin)
{
	return pin->blob ? pin->blob->size : pin->left.bytes;
}

/* Return: NULL, or the pin, which was used now and stands last. */
static struct pin *use_locked(struct pinned *p, uint64_t id, int64_t now_ns)
{
	assert_locked(&p->lock);
	size_t i = p->n;

	/* the newest ones are the ones that are read */
	while (i > 0 && p->pins[i - 1].id != id)
		i--;
	if (!i)
		return NULL;
	struct pin pin = p->pins[i - 1], *last = &p->pins[p->n - 1];

	memmove(&p->pins[i - 1], &p->pins[i], (p->n - i) * sizeof(pin));
	pin.used_ns = now_ns;
	/* most of them nobody asks for again, and copying all takes milliseconds */
	if (!pin.blob)
		pin.blob = blob_new(pin.left.data, pin.left.bytes,
			pin.left.note.generation, pin.left.note.time_ns);
	*last = pin;
	return last;
}

/* Drops those that were not used for longest. */
static void drop_locked(struct pinned *p, size_t n)
{
	assert_locked(&p->lock);
	for (size_t i = 0; i < n; i++) {
		const struct pin *pin = &p->pins[i];

		p->bytes -= size_of(pin);
		blob_unref(pin->blob);
		p->gone = xgrow(p->gone, p->n_gone, &p->cap_gone, sizeof(*p->gone));
		p->gone[p->n_gone++] = (struct gone){ pin->id, pin->kept };
	}
	p->n -= n;
	if (n)
		memmove(p->pins, &p->pins[n], p->n * sizeof(*p->pins));
}

static bool is_crowded_locked(const struct pinned *p, int64_t now_ns)
{
	assert_locked(&p->lock);
	if (p->n <= MIN_KEPT)
		return false;
	return p->n > MAX_COUNT || p->bytes > MAX_BYTES ||
		(p->bytes > ENOUGH_BYTES && now_ns - p->pins[0].used_ns >= ENOUGH_NS);
}

static void add_locked(struct pinned *p, const struct pin *pin)
{
	assert_locked(&p->lock);
	p->pins = xgrow(p->pins, p->n, &p->cap, sizeof(*p->pins));
	p->pins[p->n++] = *pin;
	p->bytes += size_of(pin);
}

/* Ids of the arena grow: who was put there later was probably used later. */
static int compare_pins(const void *a, const void *b)
{
	const struct pin *x = a, *y = b;

	return x->kept < y->kept ? -1 : x->kept > y->kept;
}

void pinned_inherit(struct pinned *p, struct arena *arena, int64_t now_ns)
{
	struct arena_bytes bytes;

	lock_take(&p->lock);
	p->arena = arena;
	for (uint32_t at = 0; arena_next(arena, &at, &bytes);) {
		if (bytes.note.kind != ARENA_DOCUMENT)
			continue;
		add_locked(p,
			&(struct pin){ .id = bytes.note.name,
				.left = bytes,
				.used_ns = now_ns,
				.kept = bytes.id });
	}
	if (p->n)
		qsort(p->pins, p->n, sizeof(*p->pins), compare_pins);
	lock_release(&p->lock);
}

static uint64_t keep(struct pinned *p, uint64_t id, const struct blob *blob)
{
	const struct arena_note note = { ARENA_DOCUMENT, id, blob->generation,
		blob->time_ns };

	return arena_put(p->arena, &note, blob->data, blob->size);
}

void pinned_add(struct pinned *p, uint64_t id, struct blob *blob, int64_t now_ns)
{
	lock_take(&p->lock);
	if (!use_locked(p, id, now_ns)) {
		add_locked(p,
			&(struct pin){ .id = id,
				.blob = blob_ref(blob),
				.used_ns = now_ns,
				.kept = keep(p, id, blob) });
	}
	while (is_crowded_locked(p, now_ns))
		drop_locked(p, 1);
	lock_release(&p->lock);
}

struct blob *pinned_get(struct pinned *p, uint64_t id, int64_t now_ns)
{
	lock_take(&p->lock);
	const struct pin *pin = use_locked(p, id, now_ns);
	struct blob *blob = pin ? blob_ref(pin->blob) : NULL;

	lock_release(&p->lock);
	return blob;
}

size_t pinned_expire(struct pinned *p, int64_t now_ns, uint64_t **ret)
{
	size_t due = 0;

	lock_take(&p->lock);
	for (size_t i = 0; i < p->n; i++) {
		struct pin pin = p->pins[i];

		if (now_ns - pin.used_ns < UNUSED_NS)
			continue;
		/* to the others that go */
		memmove(&p->pins[due + 1], &p->pins[due], (i - due) * sizeof(pin));
		p->pins[due++] = pin;
	}
	drop_locked(p, due);
	size_t n = p->n_gone - p->n_named;
	uint64_t *ids = n ? xcalloc(n, sizeof(*ids)) : NULL;

	for (size_t i = 0; i < n; i++)
		ids[i] = p->gone[p->n_named++].id;
	lock_release(&p->lock);
	*ret = ids;
	return n;
}

void pinned_taken(struct pinned *p, uint64_t id)
{
	lock_take(&p->lock);
	size_t i = 0;

	/* they are taken back in this order */
	while (i < p->n_named && p->gone[i].id != id)
		i++;
	if (i < p->n_named) {
		arena_drop(p->arena, p->gone[i].kept);
		p->n_named--;
		p->n_gone--;
		memmove(&p->gone[i], &p->gone[i + 1], (p->n_gone - i) * sizeof(*p->gone));
	}
	lock_release(&p->lock);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/held.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "util/clock.h"
#include "util/lock.h"
#include "util/mem.h"

#define HOLD_NS (100 * NS_PER_MS)

/*
 * Who has just asked may be between two names of one file; but who never pauses is told
 * another in the end.
 */
#define BETWEEN_NS (20 * NS_PER_MS)
#define HOLD_MAX_NS (300 * NS_PER_MS)

/* Who is pushed out is told what is held for all. */
#define N_SLOTS 1024u

struct slot {
	uint64_t id;
	unsigned document;
	pid_t reader;
	int64_t first_ns, last_ns; /* when he was told */
};

struct held {
	struct lock lock; /* guards all below */
	struct slot slots[N_SLOTS];
	uint64_t ids[HELD_DOCUMENTS]; /* the newest; 0: none yet */
	int64_t made_ns[HELD_DOCUMENTS];
};

struct held *held_new(void)
{
	struct held *held = xcalloc(1, sizeof(*held));

	lock_init(&held->lock);
	return held;
}

void held_free(struct held *held)
{
	if (!held)
		return;
	lock_done(&held->lock);
	free(held);
}

static struct slot *slot_locked(struct held *held, unsigned document, pid_t reader)
{
	assert_locked(&held->lock);
	return &held->slots[((unsigned)reader * HELD_DOCUMENTS + document) % N_SLOTS];
}

static bool is_held(const struct slot *slot, int64_t now_ns)
{
	int64_t for_ns = now_ns - slot->first_ns;

	return for_ns < HOLD_NS ||
		(for_ns < HOLD_MAX_NS && now_ns - slot->last_ns < BETWEEN_NS);
}

uint64_t held_get(struct held *held, unsigned document, pid_t reader, int64_t now_ns)
{
	uint64_t id = 0;

	lock_take(&held->lock);
	struct slot *slot = slot_locked(held, document, reader);

	if (slot->id && slot->document == document && slot->reader == reader &&
		is_held(slot, now_ns)) {
		slot->last_ns = now_ns;
		id = slot->id;
	} else if (now_ns - held->made_ns[document] < HOLD_NS && held->ids[document]) {
		id = held->ids[document];
		*slot = (struct slot){ id, document, reader, now_ns, now_ns };
	}
	lock_release(&held->lock);
	return id;
}

void held_told(
	struct held *held, unsigned document, pid_t reader, uint64_t id, int64_t now_ns)
{
	lock_take(&held->lock);
	*slot_locked(held, document, reader) =
		(struct slot){ id, document, reader, now_ns, now_ns };
	held->ids[document] = id;
	held->made_ns[document] = now_ns;
	lock_release(&held->lock);
}

void held_forget(struct held *held)
{
	lock_take(&held->lock);
	memset(held->slots, 0, sizeof(held->slots));
	memset(held->ids, 0, sizeof(held->ids));
	lock_release(&held->lock);
}

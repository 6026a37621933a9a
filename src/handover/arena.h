/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Bytes that somebody is in the middle of reading, in the handover: renderings of documents,
 * images of disks.  Who reads on gets the rest of the same, whichever process answers.  Any
 * thread, of one process at a time.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum arena_kind { ARENA_DOCUMENT = 1, ARENA_IMAGE, ARENA_REPLY };

/* What is told along with the bytes. */
struct arena_note {
	uint64_t kind; /* enum arena_kind */
	uint64_t name; /* of a document: the node; of a reply: the connection */
	uint64_t generation;
	int64_t time_ns;
};

/* A row of the ledger of items. */
struct arena_item {
	_Atomic uint64_t id;
	struct arena_note note;
	uint64_t offset, bytes; /* in the memory */
};

#define ARENA_ITEMS 65536u
#define ARENA_PAGE 4096u

struct arena_area {
	_Atomic uint64_t top; /* handover/ledger.h */
	struct arena_item items[ARENA_ITEMS];
	_Alignas(ARENA_PAGE) char memory[256u << 20];
};

struct arena;

/* Goes on with what is in @area, of which nothing is believed that does not fit. */
struct arena *arena_new(struct arena_area *area);
void arena_free(struct arena *arena); /* leaves the area; NULL is accepted */

/*
 * Copies bytes there.  Return: their id, which is never given twice; 0 if there is no room, or
 * no arena (@arena NULL).
 */
uint64_t arena_put(struct arena *arena, const struct arena_note *note, const void *data,
	size_t bytes);

/* NULL is accepted, and an id that is not there (any more). */
void arena_drop(struct arena *arena, uint64_t id);

/*
 * Gives back the memory of what was dropped: for now and then, as it costs more to use it again.
 * NULL is accepted.
 */
void arena_trim(struct arena *arena);

struct arena_bytes {
	uint64_t id;
	struct arena_note note;
	const char *data; /* in the arena, until it is dropped */
	size_t bytes;
};

/* One that is there; false if not. */
bool arena_get(struct arena *arena, uint64_t id, struct arena_bytes *ret);

/* The next, from *@at, which begins with 0.  Return: false if there is none. */
bool arena_next(struct arena *arena, uint32_t *at, struct arena_bytes *ret);

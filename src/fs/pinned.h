/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Renderings of documents that somebody looked up, each under an id of its own, so that a
 * reader gets the rest of the one that he began with, however often they change.  They are
 * dropped half a minute after they were last used, or when they are too many or take too much
 * room, first those that nobody has used for longest.  Nothing of FUSE.  Any thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct arena;
struct blob;
struct pinned;

struct pinned *pinned_new(void);
void pinned_free(struct pinned *pinned); /* NULL is accepted */

/*
 * Takes over the renderings in @arena and keeps them there from now on, for who comes after
 * us; it outlives @pinned.  Before anything else is called.
 */
void pinned_inherit(struct pinned *pinned, struct arena *arena, int64_t now_ns);

/* Keeps @blob, of which a reference is taken, under @id, unless that is in use already. */
void pinned_add(struct pinned *pinned, uint64_t id, struct blob *blob, int64_t now_ns);

/* The rendering, referenced; NULL if it was dropped. */
struct blob *pinned_get(struct pinned *pinned, uint64_t id, int64_t now_ns);

/*
 * Drops what is due.
 * Return: how many; their ids, which the kernel must be told to forget, the caller's to
 * free.
 */
size_t pinned_expire(struct pinned *pinned, int64_t now_ns, uint64_t **ret);

/*
 * The kernel has forgotten one that pinned_expire() named.  Until then it is in the arena, so that
 * who comes after us knows of it and goes on with the same bytes.
 */
void pinned_taken(struct pinned *pinned, uint64_t id);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Names that the kernel is to forget.  It locks the directory for it, which others can keep
 * locked, so they stand in a queue: each at most once, and not more than NAMES_MAX.  What
 * comes when that is full is dropped; the kernel keeps no name for ever.  Nothing of FUSE.
 * Any thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct names;

#define NAMES_MAX 16384u

struct names *names_new(void);
void names_free(struct names *names); /* NULL is accepted */

/* @name, in the directory @parent, moves here. */
void names_add(struct names *names, uint64_t parent, char *name);

/*
 * Waits for a name.  From now on it may be added again: it may have been told again.
 * Return: the one that was added first, the caller's to free; NULL after names_close().
 */
char *names_take(struct names *names, uint64_t *ret_parent);

void names_close(struct names *names);

/* How many there are. */
size_t names_count(struct names *names);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A growing byte string for a library in somebody else's program: memory may be short.  The
 * first thing that has no room is not added, nor is anything after it, and `failed` says so,
 * which is looked at once, in the end.  Always followed by a NUL that is not counted.  Owned by
 * one thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct buf {
	char *data; /* NULL while nothing was ever added */
	size_t len;
	size_t cap;
	bool failed; /* memory was short, or a size beyond all bounds */
};

#define BUF_INIT ((struct buf){ 0 })
#define _cleanup_buf_ __attribute__((cleanup(buf_done)))

void buf_done(struct buf *b);

/* Empties it, keeps its memory, and forgets that it failed. */
void buf_clear(struct buf *b);

/* Makes room for @extra more bytes.  Return: where they start; NULL if there is no memory. */
char *buf_reserve(struct buf *b, size_t extra);

void buf_add(struct buf *b, const void *bytes, size_t n);
void buf_adds(struct buf *b, const char *s);
void buf_addc(struct buf *b, char c);
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Gives back what it does not use. */
void buf_trim(struct buf *b);

/* The text, "" when empty; valid until the next change. */
const char *buf_str(const struct buf *b);

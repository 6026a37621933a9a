/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rendered bytes: immutable once made, reference-counted, any thread.  Files, disk images
 * and channel replies are blobs.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "util/cleanup.h"

struct strbuf;

struct blob {
	_Atomic unsigned refs;
	uint64_t generation; /* of the snapshot that it shows */
	int64_t time_ns;     /* real time of its newest sample; a file's mtime */
	void (*let_go)(void *ctx, uint64_t kept); /* blob_set_kept() */
	void *ctx;
	uint64_t kept;
	size_t size;
	char data[]; /* followed by a NUL that is not counted */
};

/* Copies the bytes.  The caller owns the one reference. */
struct blob *blob_new(
	const void *data, size_t size, uint64_t generation, int64_t time_ns);
struct blob *blob_ref(struct blob *blob);
void blob_unref(struct blob *blob); /* NULL is accepted */

/*
 * Somebody keeps a copy of it elsewhere, under the number @kept, as long as there are
 * references: then @let_go is called, on whichever thread.  Before it is shared, once.
 */
void blob_set_kept(struct blob *blob, uint64_t kept,
	void (*let_go)(void *ctx, uint64_t kept), void *ctx);

/*
 * Publishes a blob that several threads may have made at the same time.
 * @cache: NULL or a blob that the cache's owner holds a reference to; @made: the caller's
 * reference, which moves into the cache or is dropped.
 * Return: the blob that is in the cache, borrowed from it.
 */
struct blob *blob_cache_set(struct blob *_Atomic *cache, struct blob *made);

static inline void blob_unref_p(struct blob **blob)
{
	blob_unref(*blob);
}
#define _cleanup_blob_ _cleanup_(blob_unref_p)

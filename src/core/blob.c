/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/blob.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "util/mem.h"
#include "util/refs.h"

struct blob *blob_new(const void *data, size_t size, uint64_t generation, int64_t time_ns)
{
	struct blob *b = xmalloc(sizeof(*b) + size + 1);

	refs_init(&b->refs);
	b->generation = generation;
	b->time_ns = time_ns;
	b->let_go = NULL;
	b->kept = 0;
	b->size = size;
	if (size)
		memcpy(b->data, data, size);
	b->data[size] = '\0';
	return b;
}

struct blob *blob_ref(struct blob *blob)
{
	refs_take(&blob->refs);
	return blob;
}

void blob_unref(struct blob *blob)
{
	if (!blob || !refs_drop(&blob->refs))
		return;
	if (blob->let_go)
		blob->let_go(blob->ctx, blob->kept);
	free(blob);
}

void blob_set_kept(struct blob *blob, uint64_t kept,
	void (*let_go)(void *ctx, uint64_t kept), void *ctx)
{
	blob->kept = kept;
	blob->let_go = let_go;
	blob->ctx = ctx;
}

struct blob *blob_cache_set(struct blob *_Atomic *cache, struct blob *made)
{
	struct blob *expected = NULL;

	if (atomic_compare_exchange_strong(cache, &expected, made))
		return made;
	blob_unref(made);
	return expected;
}

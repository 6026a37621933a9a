/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/sizes.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "util/mem.h"

void sizes_init(struct sizes *sizes, uint64_t bytes)
{
	*sizes = (struct sizes){ 0 };
	atomic_init(&sizes->now_bytes, bytes);
	lock_init(&sizes->lock);
}

void sizes_done(struct sizes *sizes)
{
	free(sizes->past);
	lock_done(&sizes->lock);
}

uint64_t sizes_now(struct sizes *sizes)
{
	return atomic_load(&sizes->now_bytes);
}

uint64_t sizes_set(struct sizes *sizes, uint64_t bytes, int64_t now_ns)
{
	lock_take(&sizes->lock);
	uint64_t before = atomic_exchange(&sizes->now_bytes, bytes);

	while (sizes->n && sizes->past[sizes->n - 1].bytes >= bytes)
		sizes->n--;
	if (before < bytes) {
		sizes->past =
			xgrow(sizes->past, sizes->n, &sizes->cap, sizeof(*sizes->past));
		sizes->past[sizes->n++] = (struct past_size){ now_ns, before };
	}
	lock_release(&sizes->lock);
	return before;
}

uint64_t sizes_since(struct sizes *sizes, int64_t since_ns)
{
	lock_take(&sizes->lock);
	uint64_t bytes = atomic_load(&sizes->now_bytes);

	for (size_t i = sizes->n; i > 0 && sizes->past[i - 1].until_ns >= since_ns; i--)
		bytes = sizes->past[i - 1].bytes;
	lock_release(&sizes->lock);
	return bytes;
}

size_t sizes_copy(struct sizes *sizes, struct past_size **ret)
{
	lock_take(&sizes->lock);
	size_t n = sizes->n;
	struct past_size *copy = xcalloc(n + 1, sizeof(*copy));

	if (n)
		memcpy(copy, sizes->past, n * sizeof(*copy));
	copy[n++] = (struct past_size){ INT64_MAX, atomic_load(&sizes->now_bytes) };
	lock_release(&sizes->lock);
	*ret = copy;
	return n;
}

void sizes_inherit(struct sizes *sizes, const struct past_size *all, size_t n)
{
	if (!n)
		return;
	struct past_size *past = xcalloc(n, sizeof(*past));

	memcpy(past, all, n * sizeof(*past));
	lock_take(&sizes->lock);
	free(sizes->past);
	sizes->past = past;
	sizes->cap = n;
	sizes->n = n - 1;
	atomic_store(&sizes->now_bytes, past[n - 1].bytes);
	lock_release(&sizes->lock);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mdisk/sizes.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "util/mem.h"

/*
 * Only those that were smaller than all that came later, so that they grow from one to the
 * next, and there are no more than different sizes, however often it changes.
 */
struct past_size {
	int64_t until_ns;
	uint64_t bytes;
};

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

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How many references there are to an object that is shared; a number within it, that nothing else
 * changes.  Any thread, without a lock: who has a reference may take more, and drops each of his once.
 * What else is in the object these know nothing of; whoever drops the last reference sees all that
 * was written by those who dropped theirs before, and is the one who frees it.  A count that was 0
 * aborts: then somebody uses what is freed.
 */
#pragma once

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>

/* One reference: the maker's, before anybody else knows the object. */
static inline void refs_init(_Atomic unsigned *refs)
{
	atomic_init(refs, 1);
}

/* One more; the caller must have one, or hold the lock of who has. */
static inline void refs_take(_Atomic unsigned *refs)
{
	unsigned before = atomic_fetch_add_explicit(refs, 1, memory_order_relaxed);

	assert(before > 0);
}

/* One less.  Return: true if it was the last, so that the caller frees the object. */
static inline bool refs_drop(_Atomic unsigned *refs)
{
	unsigned before = atomic_fetch_sub_explicit(refs, 1, memory_order_acq_rel);

	assert(before > 0);
	return before == 1;
}

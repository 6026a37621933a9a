/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The size of all disks, and which they had before: QEMU asks for a disk's size when it opens
 * it, and what lies behind that is not there for its guest.  Any thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "util/lock.h"

/*
 * Only those that were smaller than all that came later, so that they grow from one to the
 * next, and there are no more than different sizes, however often it changes.
 */
struct past_size {
	int64_t until_ns; /* monotonic; INT64_MAX: it is so now */
	uint64_t bytes;
};

struct sizes {
	_Atomic uint64_t now_bytes;
	struct lock lock; /* guards all below */
	struct past_size *past;
	size_t n, cap;
};

void sizes_init(struct sizes *sizes, uint64_t bytes);
void sizes_done(struct sizes *sizes);

uint64_t sizes_now(struct sizes *sizes);

/* From @now_ns on, monotonic and growing.  Return: the size before. */
uint64_t sizes_set(struct sizes *sizes, uint64_t bytes, int64_t now_ns);

/* The smallest at any time since @since_ns, which may be in the future. */
uint64_t sizes_since(struct sizes *sizes, int64_t since_ns);

/*
 * For the process that comes next: those that were and last the one that is.
 * Return: how many, at least one; the caller frees.
 */
size_t sizes_copy(struct sizes *sizes, struct past_size **ret);

/* It was so before this process; nothing if @n is 0.  Then sizes_set() says what is now. */
void sizes_inherit(struct sizes *sizes, const struct past_size *all, size_t n);

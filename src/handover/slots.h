/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests that were read and perhaps not answered.  A thread reads each request straight
 * into its slot, so that there is no moment at which the kernel has given it away and it is
 * nowhere.  The first word of a request is its length: 0 is stored there before the next is
 * read, and after the answer.
 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* What libfuse reads at once, with pages of 64 KiB; what is not used takes no memory. */
#define SLOT_BYTES ((16u << 20) + (64u << 10))

/* How a request begins: struct fuse_in_header of the kernel. */
struct slot_head {
	_Atomic uint32_t bytes; /* of the request; 0: there is none */
	uint32_t opcode;
	_Atomic uint64_t unique;
	uint64_t node;
};

struct slot {
	_Alignas(4096) union {
		struct slot_head head;
		char request[SLOT_BYTES];
	};
};

/* Beside a slot, since the kernel writes over all of it. */
struct slot_note {
	_Atomic uint64_t received; /* requests so far */
	/* how often a worker that took it over began to answer it: it may be what ends them */
	_Atomic uint32_t attempts;
};

/*
 * The kernel sends once more all that was read and not answered, in slots or not.
 * Return: 0; -EINVAL: it cannot (before Linux 6.9); -errno.
 */
int slots_send_again(int fuse_fd);

static inline void slot_clear(struct slot *slot, struct slot_note *note)
{
	atomic_store(&slot->head.bytes, 0);
	atomic_store(&note->attempts, 0);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The maps of bpf/delay_format.h in our hands: how large they are.  Who attaches the program has
 * them from delay_attach(), and gives them to who reads (collect/kernel/delays).  Pure.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "bpf/delay_format.h"

/* Descriptors, of the maps first; the program is there as long as somebody has the others open. */
enum delay_fd {
	DELAY_FD_VCPUS,
	DELAY_FD_THREADS,
	DELAY_FD_PAIRS,
	DELAY_FD_SWITCH,
	DELAY_FD_MIGRATE,
	DELAY_FDS,
	DELAY_MAPS = DELAY_FD_SWITCH,
};

/* Room for so many vCPUs: 2^@bits. */
#define DELAY_LEAST_BITS 10u
#define DELAY_MOST_BITS 15u

static inline size_t delay_n_vcpus(uint32_t bits)
{
	return (size_t)1 << bits;
}

/* With four places for each vCPU, so that VMs have theirs, too, and few buckets are full; and the head. */
#define DELAY_BUCKET_BITS(bits) ((bits)-1)

static inline size_t delay_n_buckets(uint32_t bits)
{
	return (size_t)1 << DELAY_BUCKET_BITS(bits);
}

static inline size_t delay_vcpus_bytes(uint32_t bits)
{
	return delay_n_vcpus(bits) * sizeof(struct delay_vcpu);
}

static inline size_t delay_threads_bytes(uint32_t bits)
{
	return (delay_n_buckets(bits) + 1) * sizeof(struct delay_bucket);
}

/* With room for sixteen pairs of VMs to each vCPU; and the head. */
#define DELAY_PAIR_BITS(bits) ((bits) + 1)

static inline size_t delay_n_pair_buckets(uint32_t bits)
{
	return (size_t)1 << DELAY_PAIR_BITS(bits);
}

static inline size_t delay_pairs_bytes(uint32_t bits)
{
	return (delay_n_pair_buckets(bits) + 1) * sizeof(struct delay_pairs);
}

/* What a reader has of them. */
struct delay_maps {
	int fds[DELAY_MAPS];
	uint32_t bits;
};

/* Of the mapped threads. */
static inline struct delay_head *delay_head(struct delay_bucket *threads, uint32_t bits)
{
	return (struct delay_head *)(void *)&threads[delay_n_buckets(bits)];
}

/* Of the mapped pairs. */
static inline const struct delay_pairs_head *delay_pairs_head(
	const struct delay_pairs *pairs, uint32_t bits)
{
	return (const struct delay_pairs_head *)(const void
			*)&pairs[delay_n_pair_buckets(bits)];
}

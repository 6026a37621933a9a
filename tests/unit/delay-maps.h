/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The maps of vCPUs' waits, and a program that is played. */
#pragma once

#include "test.h"

#include <inttypes.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bpf/delay_maps.h"

#define BITS DELAY_LEAST_BITS

static uint64_t random_state = 12345;

static inline uint64_t random_u64(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

struct maps {
	int fds[DELAY_MAPS];
	struct delay_vcpu *vcpus;
	struct delay_bucket *threads;
	struct delay_pairs *pairs;
};

static inline void maps_init(struct maps *m)
{
	const size_t bytes[DELAY_MAPS] = { delay_vcpus_bytes(BITS),
		delay_threads_bytes(BITS), delay_pairs_bytes(BITS) };
	void *at[DELAY_MAPS];

	for (size_t i = 0; i < DELAY_MAPS; i++) {
		m->fds[i] = memfd_create("maps", MFD_CLOEXEC);
		assert_int_equal(ftruncate(m->fds[i], (off_t)bytes[i]), 0);
		at[i] = mmap(
			NULL, bytes[i], PROT_READ | PROT_WRITE, MAP_SHARED, m->fds[i], 0);
		assert_ptr_not_equal(at[i], MAP_FAILED);
	}
	m->vcpus = at[DELAY_FD_VCPUS];
	m->threads = at[DELAY_FD_THREADS];
	m->pairs = at[DELAY_FD_PAIRS];
}

static inline void maps_done(struct maps *m)
{
	munmap(m->vcpus, delay_vcpus_bytes(BITS));
	munmap(m->threads, delay_threads_bytes(BITS));
	munmap(m->pairs, delay_pairs_bytes(BITS));
	for (size_t i = 0; i < DELAY_MAPS; i++)
		close(m->fds[i]);
}

/* As find() of the program.  Return: the process's use; 0: nobody said that it is a VM's. */
static inline uint32_t is_told(const struct maps *m, uint32_t pid, uint32_t start)
{
	struct delay_bucket *b = &m->threads[delay_bucket(pid, DELAY_BUCKET_BITS(BITS))];

	for (size_t i = 0; i < DELAY_BUCKET; i++)
		if (b->tid[i] == pid && b->start[i] == start &&
			b->vcpu[i] == DELAY_NO_VCPU)
			return b->use[i];
	return 0;
}

/* The same of a vCPU's thread. */
static inline struct delay_vcpu *look_up(
	const struct maps *m, uint32_t tid, uint32_t start, uint16_t *period)
{
	struct delay_bucket *b = &m->threads[delay_bucket(tid, DELAY_BUCKET_BITS(BITS))];

	for (size_t i = 0; i < DELAY_BUCKET; i++) {
		if (b->tid[i] != tid || b->start[i] != start)
			continue;
		struct delay_vcpu *v = &m->vcpus[b->vcpu[i]];

		v->use = b->use[i];
		*period = b->period[i];
		return v;
	}
	return NULL;
}

/* As count() of the program. */
static inline void play_wait(
	const struct maps *m, uint32_t tid, uint32_t start, uint64_t ns)
{
	uint16_t period = 0;
	struct delay_vcpu *v = look_up(m, tid, start, &period);

	assert_non_null(v);
	uint64_t *max = &v->max_ns[period & 1];

	if (v->period != period || *max < ns)
		*max = ns;
	v->period = period;
	for (size_t i = 0; i < DELAY_OWNERS; i++)
		v->by_ns[i] += ns / DELAY_OWNERS; /* everybody's fault */
	v->counts[delay_step(ns)]++;
}

/* Percentiles are exact to a step. */
static inline void assert_near(uint64_t found, uint64_t true_ns)
{
	uint64_t from = delay_step_from(delay_step(true_ns));
	uint64_t to = delay_step_from(delay_step(true_ns) + 1);

	if (found < from || found > to)
		fail_msg("%" PRIu64 " is not in the step of %" PRIu64, found, true_ns);
}

/* As charge() of the program. */
static inline void play_owner(const struct maps *m, uint32_t tid, uint32_t start,
	enum delay_owner owner, uint64_t ns)
{
	uint16_t period = 0;
	struct delay_vcpu *v = look_up(m, tid, start, &period);

	assert_non_null(v);
	v->by_ns[owner] += ns;
}

static inline struct delay_pairs_head *pairs_head(const struct maps *m)
{
	return (struct delay_pairs_head *)(uintptr_t)delay_pairs_head(m->pairs, BITS);
}

/* As add_pair() of the program, at a place that may be taken or not: @i of its bucket. */
static inline void play_pair_at(
	const struct maps *m, uint32_t victim, uint32_t culprit, uint64_t ns, size_t i)
{
	uint64_t key = delay_pair_key(victim, culprit);
	struct delay_pairs *b = &m->pairs[delay_pair_bucket(key, DELAY_PAIR_BITS(BITS))];

	pairs_head(m)->claimed += !b->key[i];
	assert_true(!b->key[i] || b->key[i] == key);
	b->key[i] = key;
	b->ns[i] += ns;
}

/* The same where the program would. */
static inline void play_pair(
	const struct maps *m, uint32_t victim, uint32_t culprit, uint64_t ns)
{
	uint64_t key = delay_pair_key(victim, culprit);
	const struct delay_pairs *b =
		&m->pairs[delay_pair_bucket(key, DELAY_PAIR_BITS(BITS))];
	size_t i = 0;

	while (i < DELAY_PAIRS && b->key[i] != key)
		i++;
	if (i == DELAY_PAIRS)
		for (i = 0; i < DELAY_PAIRS && b->key[i];)
			i++;
	if (i < DELAY_PAIRS)
		play_pair_at(m, victim, culprit, ns, i);
	else
		pairs_head(m)->lost_ns += ns;
}

static inline uint64_t sum_of(const struct delay_vcpu *v)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < DELAY_OWNERS; i++)
		sum += __atomic_load_n(&v->by_ns[i], __ATOMIC_ACQUIRE);
	return sum;
}

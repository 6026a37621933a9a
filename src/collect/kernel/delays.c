/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/kernel/delays.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bpf/delay_maps.h"
#include "collect/kernel/delay_pairs.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/mem.h"

/* As for rates: over less than the kernel's tick the last figures stand. */
#define LEAST_MS 10u

/* So long places stay that another process gave, until their VMs are found again. */
#define PATIENCE_NS (60 * NS_PER_S)

/* What we remember of a place: as little as will do, for there are many. */
struct place {
	uint32_t turn;    /* in which it was read last; 0: in none */
	uint32_t read_ms; /* when that was, modulo 2^32 */
	uint32_t ran; /* for how long it had run when it was read first, modulo 2^32 */
	bool known;   /* it was read twice */
	/* they need not be exact to the nanosecond */
	float figures[DELAY_FIGURES];
	uint32_t counts[DELAY_STEPS];
	/* DELAY_BY_UNIT_NS, modulo 2^32: an hour in one period */
	uint32_t by[DELAY_OWNERS];
};

struct delays {
	uint32_t bits;
	const struct delay_vcpu *vcpus; /* mapped */
	struct delay_bucket *threads;   /* mapped */
	struct delay_pairs_reader *pairs;
	struct place *places;
	uint32_t *taken; /* a bit for each place */
	size_t n_taken, n_read, n_no_room, no_room;
	size_t n_processes, n_told;
	uint32_t cursor; /* where to look for the next one */
	uint32_t turn;   /* not 0 */
	uint32_t use;    /* the last that was given */
	int64_t patient_until_ns;
};

/* ---- places ---- */

static bool is_taken(const struct delays *d, uint32_t number)
{
	return d->taken[number / 32] >> number % 32 & 1;
}

static void set_taken(struct delays *d, uint32_t number, bool taken)
{
	if (is_taken(d, number) == taken)
		return;
	d->taken[number / 32] ^= 1u << number % 32;
	if (taken)
		d->n_taken++;
	else
		d->n_taken--;
}

static void let_go(struct delays *d, struct delay_bucket *bucket, size_t i)
{
	uint32_t number = bucket->vcpu[i];

	__atomic_store_n(&bucket->tid[i], 0, __ATOMIC_RELEASE);
	if (number == DELAY_NO_VCPU)
		d->n_processes--;
	else
		set_taken(d, number, false);
}

/* What another process may have left: a place has one thread, and a thread a place that there is. */
static void take_over(struct delays *d)
{
	for (size_t k = 0; k < delay_n_buckets(d->bits); k++) {
		struct delay_bucket *bucket = &d->threads[k];

		for (size_t i = 0; i < DELAY_BUCKET; i++) {
			if (!bucket->tid[i])
				continue;
			if (bucket->vcpu[i] == DELAY_NO_VCPU) {
				d->n_processes++;
			} else if (bucket->vcpu[i] >= delay_n_vcpus(d->bits) ||
				is_taken(d, bucket->vcpu[i])) {
				bucket->tid[i] = 0;
				continue;
			} else {
				set_taken(d, bucket->vcpu[i], true);
			}
			if (bucket->use[i] > d->use)
				d->use = bucket->use[i];
		}
	}
	for (size_t i = 0; i < delay_n_vcpus(d->bits); i++)
		if (d->vcpus[i].use > d->use)
			d->use = d->vcpus[i].use;
	uint32_t last = delay_pairs_last_use(d->pairs);

	if (last > d->use)
		d->use = last;
}

/* Return: both mapped, or false (errno). */
static bool map_both(const struct delay_maps *maps, void **ret_vcpus, void **ret_threads)
{
	size_t bytes = delay_vcpus_bytes(maps->bits);
	void *vcpus =
		mmap(NULL, bytes, PROT_READ, MAP_SHARED, maps->fds[DELAY_FD_VCPUS], 0);

	if (vcpus == MAP_FAILED)
		return false;
	void *threads = mmap(NULL, delay_threads_bytes(maps->bits),
		PROT_READ | PROT_WRITE, MAP_SHARED, maps->fds[DELAY_FD_THREADS], 0);

	if (threads == MAP_FAILED) {
		int r = errno;

		munmap(vcpus, bytes);
		errno = r;
		return false;
	}
	*ret_vcpus = vcpus;
	*ret_threads = threads;
	return true;
}

struct delays *delays_new(const struct delay_maps *maps, int64_t now_ns)
{
	void *vcpus = NULL, *threads = NULL;
	struct delay_pairs_reader *pairs = NULL;
	bool mapped = false;

	errno = EINVAL;
	if (maps->bits >= DELAY_LEAST_BITS && maps->bits <= DELAY_MOST_BITS) {
		pairs = delay_pairs_new(maps->fds[DELAY_FD_PAIRS], maps->bits, now_ns);
		mapped = pairs && map_both(maps, &vcpus, &threads);
	}
	int r = errno;

	for (size_t i = 0; i < DELAY_MAPS; i++)
		close_p(&maps->fds[i]);
	if (!mapped) {
		delay_pairs_free(pairs);
		errno = r;
		return NULL;
	}
	struct delays *d = xcalloc(1, sizeof(*d));

	*d = (struct delays){ .bits = maps->bits,
		.vcpus = vcpus,
		.threads = threads,
		.pairs = pairs,
		.places = xcalloc(delay_n_vcpus(maps->bits), sizeof(*d->places)),
		.taken = xcalloc(delay_n_vcpus(maps->bits) / 32, sizeof(*d->taken)),
		.turn = 1,
		.use = DELAY_FIRST_USE,
		.patient_until_ns = now_ns + PATIENCE_NS };
	take_over(d);
	return d;
}

void delays_free(struct delays *d)
{
	if (!d)
		return;
	munmap((void *)(uintptr_t)d->vcpus, delay_vcpus_bytes(d->bits));
	munmap(d->threads, delay_threads_bytes(d->bits));
	delay_pairs_free(d->pairs);
	free(d->places);
	free(d->taken);
	free(d);
}

/* Return: its place in the bucket, DELAY_BUCKET: it has none. */
static size_t find(const struct delay_bucket *bucket, uint32_t tid, uint32_t start)
{
	size_t i = 0;

	while (i < DELAY_BUCKET && (bucket->tid[i] != tid || bucket->start[i] != start))
		i++;
	return i;
}

/* Return: a number that is not taken; there must be one. */
static uint32_t next_free(struct delays *d)
{
	do
		d->cursor = (d->cursor + 1) % (uint32_t)delay_n_vcpus(d->bits);
	while (is_taken(d, d->cursor));
	return d->cursor;
}

/* Return: one that no thread had. */
static uint32_t new_use(struct delays *d)
{
	if (++d->use < DELAY_FIRST_USE)
		d->use = DELAY_FIRST_USE;
	return d->use;
}

/* Return: as find(); @number: its place, or DELAY_NO_VCPU. */
static size_t enter(struct delay_bucket *bucket, uint32_t tid, uint32_t start,
	uint32_t number, uint32_t use)
{
	size_t i = 0;

	while (i < DELAY_BUCKET && bucket->tid[i])
		i++;
	if (i == DELAY_BUCKET)
		return DELAY_BUCKET;
	bucket->start[i] = start;
	bucket->use[i] = use;
	bucket->vcpu[i] = (uint16_t)number;
	bucket->period[i] = 0;
	__atomic_store_n(&bucket->tid[i], tid, __ATOMIC_RELEASE);
	return i;
}

static size_t enter_vcpu(
	struct delays *d, struct delay_bucket *bucket, uint32_t tid, uint32_t start)
{
	if (d->n_taken == delay_n_vcpus(d->bits))
		return DELAY_BUCKET;
	uint32_t number = next_free(d);
	size_t i = enter(bucket, tid, start, number, new_use(d));

	if (i == DELAY_BUCKET)
		return i;
	set_taken(d, number, true);
	d->places[number].turn = 0;
	return i;
}

static struct delay_bucket *bucket_of(const struct delays *d, uint32_t tid)
{
	return &d->threads[delay_bucket(tid, DELAY_BUCKET_BITS(d->bits))];
}

struct delay_pairs_reader *delays_pairs(struct delays *d)
{
	return d->pairs;
}

/* Its VM's, if that has one; else what the process has is the VM's from now on. */
static void agree_on_use(struct delay_bucket *bucket, size_t i, uint32_t *use)
{
	if (*use && bucket->use[i] != *use)
		__atomic_store_n(&bucket->use[i], *use, __ATOMIC_RELEASE);
	*use = bucket->use[i];
}

bool delays_tell_process(
	struct delays *d, uint32_t pid, uint64_t start_ticks, uint32_t *use)
{
	struct delay_bucket *bucket = bucket_of(d, pid);
	size_t i = find(bucket, pid, (uint32_t)start_ticks);
	uint16_t turn = (uint16_t)d->turn;

	/* it was a vCPU for who had the maps before */
	if (i < DELAY_BUCKET && bucket->vcpu[i] != DELAY_NO_VCPU) {
		let_go(d, bucket, i);
		i = DELAY_BUCKET;
	}
	if (i == DELAY_BUCKET) {
		i = enter(bucket, pid, (uint32_t)start_ticks, DELAY_NO_VCPU,
			*use ? *use : new_use(d));
		if (i == DELAY_BUCKET) {
			d->n_no_room++;
			return false;
		}
		d->n_processes++;
		bucket->period[i] = (uint16_t)(turn - 1);
	}
	d->n_told += bucket->period[i] != turn;
	bucket->period[i] = turn;
	agree_on_use(bucket, i, use);
	return true;
}

/* ---- turns ---- */

void delays_begin(struct delays *d)
{
	if (!++d->turn)
		d->turn = 1;
	d->n_read = d->n_no_room = d->n_told = 0;
}

/* True if a place of a bucket that is taken was not read in this turn, nor may be yet. */
static bool is_left(
	const struct delays *d, const struct delay_bucket *bucket, size_t i, bool patient)
{
	if (bucket->vcpu[i] == DELAY_NO_VCPU)
		return bucket->period[i] != (uint16_t)d->turn && !patient;
	uint32_t turn = d->places[bucket->vcpu[i]].turn;

	return turn != d->turn && (turn || !patient);
}

void delays_end(struct delays *d, int64_t now_ns)
{
	bool patient = now_ns < d->patient_until_ns && !d->n_no_room;

	d->no_room = d->n_no_room;
	if (d->n_read == d->n_taken && d->n_told == d->n_processes)
		return;
	for (size_t k = 0; k < delay_n_buckets(d->bits); k++) {
		struct delay_bucket *bucket = &d->threads[k];

		for (size_t i = 0; i < DELAY_BUCKET; i++)
			if (bucket->tid[i] && is_left(d, bucket, i, patient))
				let_go(d, bucket, i);
	}
}

/* ---- reading ---- */

static bool is_dead(const struct delays *d)
{
	return __atomic_load_n(
		&delay_head(d->threads, d->bits)->detached, __ATOMIC_ACQUIRE);
}

/* From here on, the longest wait is another period's.  Return: which period this was. */
static uint16_t end_period(struct delay_bucket *bucket, size_t i)
{
	return __atomic_fetch_add(&bucket->period[i], 1, __ATOMIC_SEQ_CST);
}

static void copy_counts(const struct delay_vcpu *v, uint32_t ret[DELAY_STEPS])
{
	for (size_t i = 0; i < DELAY_STEPS; i++)
		ret[i] = __atomic_load_n(&v->counts[i], __ATOMIC_RELAXED);
}

static void copy_owners(const struct delay_vcpu *v, uint32_t ret[DELAY_OWNERS])
{
	for (size_t i = 0; i < DELAY_OWNERS; i++)
		ret[i] = (uint32_t)(__atomic_load_n(&v->by_ns[i], __ATOMIC_RELAXED) /
			DELAY_BY_UNIT_NS);
}

/* Return: the longest wait in @period, or less: it had none, or there were others since. */
static uint64_t max_in(const struct delay_vcpu *v, uint16_t period)
{
	uint32_t last = __atomic_load_n(&v->period, __ATOMIC_RELAXED);

	return last == period || last == (uint16_t)(period + 1)
		? __atomic_load_n(&v->max_ns[period & 1], __ATOMIC_RELAXED)
		: 0;
}

static struct delay_figures figures_of(const struct place *p)
{
	struct delay_figures f = { .have = true };

	for (size_t i = 0; i < DELAY_FIGURES; i++)
		f.ns[i] = (uint64_t)p->figures[i];
	return f;
}

/* The figures since it was read before. */
static void read_on(struct place *p, const struct delay_vcpu *v, uint16_t period,
	struct delay_spread *spread)
{
	struct delay_spread own = { 0 };
	uint32_t now[DELAY_STEPS], by[DELAY_OWNERS];

	copy_counts(v, now);
	uint64_t max_ns = max_in(v, period);

	delay_spread_add(&own, now, p->counts, max_ns);
	delay_spread_add(spread, now, p->counts, max_ns);
	memcpy(p->counts, now, sizeof(now));
	copy_owners(v, by);
	for (size_t i = 0; i < DELAY_OWNERS; i++)
		spread->by[i] += by[i] - p->by[i];
	memcpy(p->by, by, sizeof(by));
	const struct delay_figures f = delay_spread_figures(&own);

	for (size_t i = 0; i < DELAY_FIGURES; i++)
		p->figures[i] = (float)f.ns[i];
}

/* What was counted before is another's, or nobody knows since when. */
static void begin(struct place *p, const struct delay_vcpu *v, uint64_t ran_ns)
{
	copy_counts(v, p->counts);
	copy_owners(v, p->by);
	p->ran = (uint32_t)ran_ns;
	p->known = false;
}

static enum delay_known read_place(struct delays *d, struct delay_bucket *bucket,
	size_t i, uint64_t ran_ns, int64_t now_ns, struct delay_figures *ret,
	struct delay_spread *spread)
{
	const struct delay_vcpu *v = &d->vcpus[bucket->vcpu[i]];
	struct place *p = &d->places[bucket->vcpu[i]];
	uint32_t now_ms = (uint32_t)(now_ns / NS_PER_MS);
	bool first = !p->turn;
	bool seen = __atomic_load_n(&v->use, __ATOMIC_ACQUIRE) == bucket->use[i];

	d->n_read += p->turn != d->turn;
	p->turn = d->turn;
	if (!first && now_ms - p->read_ms < LEAST_MS) {
		if (p->known)
			*ret = figures_of(p);
		return p->known ? DELAY_STOOD : DELAY_BEGUN;
	}
	/* who did not run did not wait either, for that ends so */
	if (!first && !seen && (uint32_t)ran_ns != p->ran)
		return DELAY_UNSEEN;
	uint16_t period = end_period(bucket, i);

	p->read_ms = now_ms;
	if (first) {
		begin(p, v, ran_ns);
		return DELAY_BEGUN;
	}
	read_on(p, v, period, spread);
	p->known = true;
	*ret = figures_of(p);
	return DELAY_KNOWN;
}

enum delay_known delays_read(struct delays *d, const struct delay_thread *thread,
	int64_t now_ns, struct delay_figures *ret, struct delay_spread *spread)
{
	uint32_t start = (uint32_t)thread->start_ticks;
	struct delay_bucket *bucket = bucket_of(d, thread->tid);
	struct delay_figures figures = { 0 };
	size_t i = find(bucket, thread->tid, start);

	/* it was a process for who had the maps before */
	if (i < DELAY_BUCKET && bucket->vcpu[i] == DELAY_NO_VCPU) {
		let_go(d, bucket, i);
		i = DELAY_BUCKET;
	}
	if (i == DELAY_BUCKET)
		i = enter_vcpu(d, bucket, thread->tid, start);
	if (i == DELAY_BUCKET) {
		d->n_no_room++;
		return DELAY_NO_ROOM;
	}
	enum delay_known known =
		read_place(d, bucket, i, thread->ran_ns, now_ns, &figures, spread);

	/* last: whoever detaches it says so first */
	if (is_dead(d))
		return DELAY_DEAD;
	if (figures.have)
		*ret = figures;
	return known;
}

struct delay_counts delays_counts(const struct delays *d)
{
	struct delay_counts counts = {
		.vcpus = d->n_taken, .room = delay_n_vcpus(d->bits), .no_room = d->no_room
	};

	for (size_t i = 0; i < counts.room; i++)
		if (is_taken(d, (uint32_t)i))
			counts.lost += d->vcpus[i].lost;
	return counts;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Waits of vCPUs: the steps of a histogram and what follows from one; both sides' maps, with a
 * program that is played here, and with maps that are damaged.
 */
#include "delay-maps.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "collect/kernel/delay_spread.h"
#include "collect/kernel/delays.h"
#include "util/cleanup.h"
#include "util/clock.h"

/* ---- steps ---- */

static void each_wait_is_of_the_step_it_lies_in(void **state)
{
	(void)state;
	assert_int_equal(delay_step(0), 0);
	assert_int_equal(delay_step(255), 0);
	assert_int_equal(delay_step(256), 1);
	assert_int_equal(delay_step(319), 1);
	assert_int_equal(delay_step(320), 2);
	assert_int_equal(delay_step(511), 4);
	assert_int_equal(delay_step(512), 5);
	assert_int_equal(delay_step(UINT64_MAX), DELAY_STEPS - 1);
	for (uint32_t i = 0; i < DELAY_STEPS; i++) {
		uint64_t from = delay_step_from(i), to = delay_step_from(i + 1);

		assert_int_equal(delay_step(from), i);
		if (i < DELAY_STEPS - 1) {
			assert_true(from < to);
			assert_int_equal(delay_step(to - 1), i);
			assert_int_equal(delay_step(to), i + 1);
		}
		/* a quarter at most */
		if (i > 0 && i < DELAY_STEPS - 1)
			assert_true((to - from) * 4 <= from);
	}
	assert_int_equal(
		delay_step_from(DELAY_STEPS - 1), UINT64_C(1) << DELAY_LAST_BITS);
}

static int compare_u64(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Of waits that are known one by one. */
static uint64_t exact(const uint64_t *sorted, size_t n, unsigned percent)
{
	size_t rank = (n * percent + 99) / 100;

	return sorted[rank ? rank - 1 : 0];
}

static void percentiles_are_off_by_less_than_a_step(void **state)
{
	(void)state;
	static const unsigned percents[] = { 0, 1, 50, 90, 99, 100 };
	enum { MOST = 3000 };
	uint64_t waits[MOST];

	for (int round = 0; round < ROUNDS(300); round++) {
		size_t n = 1 + random_u64() % (round % 2 ? MOST : 5);
		/* counters are somewhere, and may go past their end meanwhile */
		uint32_t then[DELAY_STEPS], now[DELAY_STEPS];
		struct delay_spread s = { 0 };

		for (size_t i = 0; i < DELAY_STEPS; i++)
			now[i] = then[i] =
				UINT32_MAX - (uint32_t)(random_u64() % (2 * MOST));
		for (size_t i = 0; i < n; i++) {
			waits[i] = random_u64() >> (33 + random_u64() % 28);
			now[delay_step(waits[i])]++;
		}
		qsort(waits, n, sizeof(*waits), compare_u64);
		delay_spread_add(&s, now, then, waits[n - 1]);
		assert_int_equal(s.n, n);
		assert_int_equal(s.max_ns, waits[n - 1]);
		uint64_t last = 0;

		for (size_t i = 0; i < ARRAY_LEN(percents); i++) {
			uint64_t found = delay_spread_percentile(&s, percents[i]);

			assert_near(found, exact(waits, n, percents[i]));
			assert_true(found >= last && found <= s.max_ns);
			last = found;
		}
	}
}

static void the_middle_of_equal_waits_is_in_the_middle(void **state)
{
	(void)state;
	uint32_t then[DELAY_STEPS] = { 0 }, now[DELAY_STEPS] = { 0 };
	struct delay_spread s = { 0 };

	/* 1024 to 1279 */
	now[delay_step(1024)] = 100;
	delay_spread_add(&s, now, then, 1279);
	assert_int_equal(delay_spread_percentile(&s, 50), 1024 + 256 * 49.5 / 100);
	assert_int_equal(delay_spread_percentile(&s, 99), 1024 + 256 * 98.5 / 100);
	/* two more of a second */
	now[delay_step(NS_PER_S)] = 2;
	struct delay_spread more = { 0 };

	delay_spread_add(&more, now, then, NS_PER_S);
	assert_int_equal(delay_spread_percentile(&more, 50), 1024 + 256 * 50.5 / 100);
	assert_int_equal(delay_spread_figures(&more).ns[DELAY_MAX], NS_PER_S);
	assert_near(delay_spread_percentile(&more, 99), NS_PER_S);
	assert_int_equal(
		delay_step(delay_spread_percentile(&more, 98)), delay_step(1024));
}

/* What is said to be the longest cannot be, or is not known. */
static void the_longest_is_of_the_highest_step_that_has_grown(void **state)
{
	(void)state;
	static const struct {
		uint64_t wait, said, shown;
	} cases[] = {
		{ 1024, 1100, 1100 },
		{ 1024, 0, 1024 },
		{ 1024, 5000, 1279 },
		{ UINT64_C(1) << 40, 0, UINT64_C(1) << DELAY_LAST_BITS },
		{ UINT64_C(1) << 40, UINT64_C(1) << 40, UINT64_C(1) << 40 },
	};
	uint32_t then[DELAY_STEPS] = { 0 };
	struct delay_spread none = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint32_t now[DELAY_STEPS] = { 0 };
		struct delay_spread s = { 0 };

		now[delay_step(cases[i].wait)] = 1;
		delay_spread_add(&s, now, then, cases[i].said);
		assert_int_equal(s.max_ns, cases[i].shown);
		assert_true(delay_spread_percentile(&s, 99) <= cases[i].shown);
	}
	delay_spread_add(&none, then, then, 5000);
	const struct delay_figures f = delay_spread_figures(&none);

	for (size_t i = 0; i < DELAY_FIGURES; i++)
		assert_int_equal(f.ns[i], 0);
}

/* ---- maps, with a program that is played ---- */

static struct delays *reader_of(const struct maps *m)
{
	struct delay_maps maps = { .bits = BITS };

	for (size_t i = 0; i < DELAY_MAPS; i++)
		maps.fds[i] = dup(m->fds[i]);
	struct delays *d = delays_new(&maps, 0);

	assert_non_null(d);
	return d;
}

struct fixture {
	struct maps m;
	struct delays *d;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	maps_init(&f->m);
	f->d = reader_of(&f->m);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	delays_free(f->d);
	maps_done(&f->m);
	free(f);
	return 0;
}

/* It runs for a second each second. */
static enum delay_known read_at(
	struct delays *d, uint32_t tid, uint64_t start, int64_t s, uint64_t *ret_max)
{
	const struct delay_thread thread = { tid, start, (uint64_t)(s * NS_PER_S) };
	struct delay_spread spread = { 0 };
	struct delay_figures f = { 0 };
	enum delay_known known = delays_read(d, &thread, s * NS_PER_S, &f, &spread);

	*ret_max = f.have ? f.ns[DELAY_MAX] : UINT64_MAX;
	assert_int_equal(f.have, known == DELAY_KNOWN || known == DELAY_STOOD);
	return known;
}

static void assert_read(struct delays *d, uint32_t tid, uint64_t start, int64_t s,
	enum delay_known known, uint64_t max)
{
	uint64_t found = 0;

	assert_int_equal(read_at(d, tid, start, s, &found), known);
	/* figures are kept in single precision */
	if (max != UINT64_MAX)
		assert_true(found >= max - max / 1000000 && found <= max + max / 1000000);
	else
		assert_int_equal(found, max);
}

static void a_vcpu_is_read_from_turn_to_turn(void **state)
{
	struct fixture *f = *state;

	assert_read(f->d, 7, 70, 1, DELAY_BEGUN, UINT64_MAX);
	assert_read(f->d, 7, 70, 1, DELAY_BEGUN, UINT64_MAX);
	play_wait(&f->m, 7, 70, 5000);
	assert_read(f->d, 7, 70, 2, DELAY_KNOWN, 5000);
	assert_read(f->d, 7, 70, 3, DELAY_KNOWN, 0);
	play_wait(&f->m, 7, 70, 3000);
	play_wait(&f->m, 7, 70, 9000);
	assert_read(f->d, 7, 70, 4, DELAY_KNOWN, 9000);
	assert_read(f->d, 7, 70, 4, DELAY_STOOD, 9000);
	/* a longer one before does not show */
	play_wait(&f->m, 7, 70, 2000);
	assert_read(f->d, 7, 70, 5, DELAY_KNOWN, 2000);
	for (int i = 6; i < 10; i++)
		assert_read(f->d, 7, 70, i, DELAY_KNOWN, 0);
	play_wait(&f->m, 7, 70, 700);
	assert_read(f->d, 7, 70, 10, DELAY_KNOWN, 700);
	delay_head(f->m.threads, BITS)->detached = 1;
	assert_read(f->d, 7, 70, 11, DELAY_DEAD, UINT64_MAX);
}

/* Of a thread that ran without being seen nothing is said; one that did not run did not wait. */
static void who_is_not_seen_must_not_have_run(void **state)
{
	struct fixture *f = *state;
	struct delay_spread spread = { 0 };

	assert_read(f->d, 7, 70, 1, DELAY_BEGUN, UINT64_MAX);
	for (int64_t s = 2; s < 4; s++) {
		const struct delay_thread slept = { 7, 70, (uint64_t)NS_PER_S };
		struct delay_figures figures = { .ns = { 1, 1, 1, 1 } };

		assert_int_equal(
			delays_read(f->d, &slept, s * NS_PER_S, &figures, &spread),
			DELAY_KNOWN);
		for (size_t i = 0; i < DELAY_FIGURES; i++)
			assert_int_equal(figures.ns[i], 0);
	}
	assert_int_equal(spread.n, 0);
	assert_read(f->d, 7, 70, 4, DELAY_UNSEEN, UINT64_MAX);
	play_wait(&f->m, 7, 70, 5000);
	assert_read(f->d, 7, 70, 5, DELAY_KNOWN, 5000);
}

/* Another thread of that number, or in that place, is another one. */
static void places_are_used_again(void **state)
{
	struct fixture *f = *state;
	uint16_t period = 0;

	for (uint32_t round = 1; round <= 3 * delay_n_vcpus(BITS); round++) {
		delays_begin(f->d);
		assert_read(f->d, 7, round, 2 * round, DELAY_BEGUN, UINT64_MAX);
		play_wait(&f->m, 7, round, 1000);
		assert_read(f->d, 7, round, 2 * round + 1, DELAY_KNOWN, 1000);
		/* counted, and read by nobody */
		play_wait(&f->m, 7, round, 100 * round);
		delays_end(f->d, 0);
		assert_int_equal(delays_counts(f->d).vcpus, 1);
		assert_null(look_up(&f->m, 7, round - 1, &period));
		assert_non_null(look_up(&f->m, 7, round, &period));
	}
	delays_begin(f->d);
	delays_end(f->d, 0);
	assert_int_equal(delays_counts(f->d).vcpus, 0);
}

static void more_than_there_is_room_for_is_counted(void **state)
{
	struct fixture *f = *state;
	const uint32_t most = (uint32_t)delay_n_vcpus(BITS);
	uint64_t max = 0;

	for (int turn = 0; turn < 2; turn++) {
		size_t refused = 0;

		delays_begin(f->d);
		for (uint32_t tid = 1; tid <= most + 50; tid++)
			refused += read_at(f->d, tid, 1, turn, &max) == DELAY_NO_ROOM;
		delays_end(f->d, 0);
		assert_int_equal(delays_counts(f->d).room, most);
		assert_int_equal(delays_counts(f->d).no_room, refused);
		assert_int_equal(delays_counts(f->d).vcpus, most + 50 - refused);
		/* buckets are full before all places are */
		assert_true(refused >= 50 && refused < most / 8);
	}
	/* half of them go, and leave room */
	for (int turn = 0; turn < 2; turn++) {
		delays_begin(f->d);
		for (uint32_t tid = most / 2; tid <= most + 50; tid++)
			max += read_at(f->d, tid, 1, turn, &max);
		delays_end(f->d, 0);
	}
	assert_int_equal(delays_counts(f->d).no_room, 0);
}

/* Nobody starts a histogram anew, whoever reads it. */
static void the_next_process_goes_on(void **state)
{
	struct fixture *f = *state;
	uint16_t period = 0;

	for (uint32_t tid = 1; tid <= 2; tid++) {
		assert_read(f->d, tid, 70, 1, DELAY_BEGUN, UINT64_MAX);
		play_wait(&f->m, tid, 70, 5000);
	}
	const struct delay_vcpu *v = look_up(&f->m, 1, 70, &period);

	delays_free(f->d);
	f->d = reader_of(&f->m);
	delays_begin(f->d);
	assert_read(f->d, 1, 70, 2, DELAY_BEGUN, UINT64_MAX);
	play_wait(&f->m, 1, 70, 6000);
	assert_read(f->d, 1, 70, 3, DELAY_KNOWN, 6000);
	delays_end(f->d, 3 * NS_PER_S);
	assert_ptr_equal(look_up(&f->m, 1, 70, &period), v);
	assert_int_equal(sum_of(v), 5000 / 7 * 7 + 6000 / 7 * 7);
	/* the other may be found yet, but not for ever */
	assert_int_equal(delays_counts(f->d).vcpus, 2);
	delays_begin(f->d);
	assert_read(f->d, 1, 70, 100, DELAY_KNOWN, 0);
	delays_end(f->d, 100 * NS_PER_S);
	assert_int_equal(delays_counts(f->d).vcpus, 1);
	/* what is given next was given to nobody */
	assert_read(f->d, 2, 70, 101, DELAY_BEGUN, UINT64_MAX);
	assert_read(f->d, 2, 70, 102, DELAY_UNSEEN, UINT64_MAX);
}

/* As vCPUs, processes are there as long as they are told of, also for who comes next. */
static void processes_come_and_go(void **state)
{
	struct fixture *f = *state;

	for (uint32_t turn = 1; turn < 4; turn++) {
		delays_begin(f->d);
		assert_true(delays_tell_process(f->d, 6, 60, &(uint32_t){ 0 }));
		assert_true(delays_tell_process(f->d, 6, 60, &(uint32_t){ 0 }));
		assert_true(
			delays_tell_process(f->d, 6 + 100 * turn, 60, &(uint32_t){ 0 }));
		assert_read(f->d, 7, 70, turn, turn == 1 ? DELAY_BEGUN : DELAY_KNOWN,
			turn == 1 ? UINT64_MAX : 0);
		play_wait(&f->m, 7, 70, 0);
		delays_end(f->d, 100 * NS_PER_S);
		assert_int_equal(delays_counts(f->d).vcpus, 1);
		for (uint32_t i = 1; i < 4; i++)
			assert_int_equal(is_told(&f->m, 6 + 100 * i, 60) != 0, i == turn);
	}
	uint32_t use = is_told(&f->m, 6, 60);

	assert_true(use >= DELAY_FIRST_USE);
	/* another one of that number */
	delays_begin(f->d);
	assert_true(delays_tell_process(f->d, 6, 61, &(uint32_t){ 0 }));
	delays_end(f->d, 100 * NS_PER_S);
	assert_int_equal(is_told(&f->m, 6, 60), 0);
	use = is_told(&f->m, 6, 61);
	delays_free(f->d);
	f->d = reader_of(&f->m);
	delays_begin(f->d);
	assert_true(delays_tell_process(f->d, 8, 61, &(uint32_t){ 0 }));
	assert_true(is_told(&f->m, 8, 61) > use);
	/* who was in the middle of something is patient */
	delays_end(f->d, 1);
	assert_int_equal(is_told(&f->m, 6, 61), use);
	delays_begin(f->d);
	assert_true(delays_tell_process(f->d, 6, 61, &(uint32_t){ 0 }));
	delays_end(f->d, 100 * NS_PER_S);
	assert_int_equal(is_told(&f->m, 6, 61), use);
	assert_int_equal(is_told(&f->m, 8, 61), 0);
}

/* A VM is told under one number, whichever process it has. */
static void a_vm_has_one_use(void **state)
{
	struct fixture *f = *state;
	uint32_t use = 0, other = 0, next = 0;

	assert_true(delays_tell_process(f->d, 6, 60, &use));
	assert_true(use >= DELAY_FIRST_USE);
	assert_int_equal(is_told(&f->m, 6, 60), use);
	assert_true(delays_tell_process(f->d, 7, 60, &other));
	assert_true(other >= DELAY_FIRST_USE && other != use);
	/* it is started again */
	assert_true(delays_tell_process(f->d, 8, 80, &use));
	assert_int_equal(is_told(&f->m, 8, 80), use);
	assert_int_equal(is_told(&f->m, 6, 60), use);
	/* who comes next finds it out, and what he gives is nobody's, nor was it in a pair */
	play_pair(&f->m, use, other + 1000, 5);
	delays_free(f->d);
	f->d = reader_of(&f->m);
	assert_true(delays_tell_process(f->d, 8, 80, &next));
	assert_int_equal(next, use);
	other = 0;
	assert_true(delays_tell_process(f->d, 9, 80, &other));
	assert_true(other > use + 1000);
	/* of two that were one VM's, told as two */
	assert_true(delays_tell_process(f->d, 7, 60, &next));
	assert_int_equal(is_told(&f->m, 7, 60), use);
}

/* Whatever is in them: what is read is within bounds, and what is written, too. */
static void damaged_maps_do_no_harm(void **state)
{
	(void)state;
	struct maps m;
	uint64_t max = 0;

	maps_init(&m);
	for (int round = 0; round < ROUNDS(50); round++) {
		uint32_t *words = (uint32_t *)(void *)m.threads;

		for (size_t i = 0; i < delay_threads_bytes(BITS) / 4; i++)
			words[i] = (uint32_t)random_u64() >> random_u64() % 32;
		words = (uint32_t *)(void *)m.vcpus;
		for (size_t i = 0; i < delay_vcpus_bytes(BITS) / 4; i++)
			words[i] = (uint32_t)random_u64() >> random_u64() % 32;
		words = (uint32_t *)(void *)m.pairs;
		for (size_t i = 0; i < delay_pairs_bytes(BITS) / 4; i++)
			words[i] = (uint32_t)random_u64() >> random_u64() % 32;
		delay_head(m.threads, BITS)->detached = 0;
		struct delays *d = reader_of(&m);

		for (int turn = 1; turn < 4; turn++) {
			delays_begin(d);
			for (uint32_t tid = 1; tid < 500; tid++) {
				(void)read_at(d, tid, tid % 3, turn, &max);
				(void)delays_tell_process(
					d, 500 + tid, tid % 3, &(uint32_t){ 0 });
			}
			delays_end(d, 100 * NS_PER_S);
		}
		struct delay_counts counts = delays_counts(d);

		assert_true(counts.vcpus <= 499 && counts.vcpus + counts.no_room >= 499);
		delays_free(d);
	}
	maps_done(&m);
}

static void maps_of_no_size_are_refused(void **state)
{
	(void)state;
	const uint32_t sizes[] = { 0, DELAY_LEAST_BITS - 1, DELAY_MOST_BITS + 1, 63 };

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		const struct delay_maps maps = { .fds = { open("/dev/null", O_RDWR),
							 open("/dev/null", O_RDWR),
							 open("/dev/null", O_RDWR) },
			.bits = sizes[i] };

		assert_null(delays_new(&maps, 0));
		/* they were ours no more */
		assert_int_equal(fcntl(maps.fds[0], F_GETFD), -1);
	}
}

int main(void)
{
#define READ_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_wait_is_of_the_step_it_lies_in),
		cmocka_unit_test(percentiles_are_off_by_less_than_a_step),
		cmocka_unit_test(the_middle_of_equal_waits_is_in_the_middle),
		cmocka_unit_test(the_longest_is_of_the_highest_step_that_has_grown),
		READ_TEST(a_vcpu_is_read_from_turn_to_turn),
		READ_TEST(who_is_not_seen_must_not_have_run),
		READ_TEST(places_are_used_again),
		READ_TEST(more_than_there_is_room_for_is_counted),
		READ_TEST(the_next_process_goes_on),
		READ_TEST(processes_come_and_go),
		READ_TEST(a_vm_has_one_use),
		cmocka_unit_test(damaged_maps_do_no_harm),
		cmocka_unit_test(maps_of_no_size_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

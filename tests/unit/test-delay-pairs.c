/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which VM waited for which: the reader's side, with a program that is played. */
#include "delay-maps.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "collect/kernel/delay_pairs.h"
#include "collect/kernel/delay_spread.h"
#include "core/blame.h"
#include "core/snapshot.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/strbuf.h"

#define VMS 4u
#define FOREVER_S 1000 /* longer than anybody is remembered */

struct fixture {
	struct maps m;
	struct delay_pairs_reader *p;
	struct blame *b;
	int64_t now_s;
};

static struct delay_pairs_reader *reader_of(const struct maps *m, int64_t now_s)
{
	struct delay_pairs_reader *p =
		delay_pairs_new(m->fds[DELAY_FD_PAIRS], BITS, now_s * NS_PER_S);

	assert_non_null(p);
	return p;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	maps_init(&f->m);
	f->now_s = FOREVER_S;
	f->p = reader_of(&f->m, f->now_s);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	blame_unref(f->b);
	delay_pairs_free(f->p);
	maps_done(&f->m);
	free(f);
	return 0;
}

static uint32_t use_of(unsigned vm)
{
	return DELAY_FIRST_USE + 1 + vm;
}

static struct vm_ident ident_of(unsigned vm, char name[16])
{
	snprintf(name, 16, "vm%u", vm);
	return (struct vm_ident){
		.uuid = { { [15] = (uint8_t)vm } }, .id = (int)vm, .name = name
	};
}

/* That VM is looked at in this turn. */
static struct delay_vm *tell(struct fixture *f, unsigned vm)
{
	char name[16];
	const struct vm_ident ident = ident_of(vm, name);
	struct delay_vm *v = delay_pairs_vm(f->p, &ident, f->now_s * NS_PER_S);

	/* as delays_tell_process() has it */
	if (!*delay_vm_use(v))
		*delay_vm_use(v) = use_of(vm);
	return v;
}

/* A turn after so many seconds in which these are looked at: a bit for each. */
static void turn(struct fixture *f, int64_t seconds, unsigned which)
{
	f->now_s += seconds;
	for (unsigned i = 0; i < VMS; i++)
		if (which >> i & 1)
			tell(f, i);
	delay_pairs_turn(f->p, f->now_s * NS_PER_S);
	blame_unref(f->b);
	f->b = delay_pairs_blame(f->p);
}

#define ALL ((1u << VMS) - 1)

static const struct blame_vm *vm_of(const struct fixture *f, unsigned vm)
{
	char name[16];
	const struct vm_ident ident = ident_of(vm, name);

	return blame_find(f->b, &ident.uuid);
}

/* Of all VMs.  Each is its VM's, and they are in order. */
static size_t n_pairs(const struct fixture *f)
{
	size_t all = 0;

	for (size_t i = 0; i < f->b->n_vms; i++) {
		size_t n;
		const struct blame_pair *pairs = blame_pairs_of(f->b, &f->b->vms[i], &n);

		for (size_t k = 0; k < n; k++) {
			assert_int_equal(pairs[k].victim, i);
			assert_true(pairs[k].by < f->b->n_vms);
			assert_true(!k || pairs[k - 1].by < pairs[k].by);
		}
		all += n;
	}
	return all;
}

/* Return: 0 if there is no such pair. */
static struct blame_time time_of(const struct fixture *f, unsigned victim, unsigned by)
{
	const struct blame_vm *v = vm_of(f, victim), *other = vm_of(f, by);
	struct blame_time found = { 0 };
	unsigned n = 0;
	size_t n_pairs = 0;
	const struct blame_pair *pairs = v ? blame_pairs_of(f->b, v, &n_pairs) : NULL;

	for (size_t i = 0; other && i < n_pairs; i++) {
		if (&f->b->vms[pairs[i].by] != other)
			continue;
		found = pairs[i].time;
		n++;
	}
	assert_true(n <= 1);
	return found;
}

static void play(const struct fixture *f, unsigned victim, unsigned by, uint64_t ns)
{
	play_pair(&f->m, use_of(victim), use_of(by), ns);
}

static void assert_all(const struct fixture *f, unsigned victim, unsigned by, uint64_t ns)
{
	assert_int_equal(time_of(f, victim, by).all_ns, ns);
}

/* In marks' units. */
static void assert_lately(
	const struct fixture *f, unsigned victim, unsigned by, uint64_t ns)
{
	uint64_t found = time_of(f, victim, by).lately_ns;

	if (found > ns + 20000 || found + 20000 < ns)
		fail_msg("%" PRIu64 " instead of %" PRIu64, found, ns);
}

static void each_pair_has_its_time(void **state)
{
	struct fixture *f = *state;

	turn(f, 1, ALL);
	assert_int_equal(f->b->n_vms, VMS);
	assert_int_equal(n_pairs(f), 0);
	for (unsigned v = 0; v < VMS; v++)
		for (unsigned by = 0; by < VMS; by++)
			if (v != by)
				play(f, v, by, 100 * v + by);
	turn(f, 1, ALL);
	for (int again = 0; again < 3; again++) {
		assert_int_equal(n_pairs(f), VMS * (VMS - 1));
		for (unsigned v = 0; v < VMS; v++) {
			assert_true(vm_of(f, v)->runs);
			for (unsigned by = 0; by < VMS; by++)
				assert_all(f, v, by, v == by ? 0 : 100 * v + by);
		}
		turn(f, 1, ALL);
	}
	play(f, 2, 1, 1000);
	turn(f, 1, ALL);
	assert_all(f, 2, 1, 1201);
	assert_all(f, 1, 2, 102);
}

static void *reader_main(void *arg)
{
	const struct fixture *f = arg;

	assert_int_equal(n_pairs(f), VMS * (VMS - 1));
	for (unsigned v = 0; v < VMS; v++)
		for (unsigned by = 0; by < VMS; by++)
			assert_all(f, v, by, v == by ? 0 : 100 * v + by + 1);
	return NULL;
}

/* Nobody has put them in order when several threads ask. */
static void readers_may_ask_at_once(void **state)
{
	struct fixture *f = *state;
	pthread_t threads[4];

	for (unsigned i = 0; i < VMS * VMS; i++) {
		/* a long way from how they are told */
		unsigned at = i * 5 % (VMS * VMS), v = at / VMS, by = at % VMS;

		if (v != by)
			play(f, v, by, 100 * v + by);
	}
	turn(f, 1, ALL);
	for (unsigned v = 0; v < VMS; v++)
		for (unsigned by = 0; by < VMS; by++)
			if (v != by)
				play(f, v, by, 1);
	turn(f, 1, ALL);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, reader_main, f), 0);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		pthread_join(threads[i], NULL);
}

/* Two processors may have come to different places, while the reader freed one of them. */
static void parts_of_a_pair_are_added(void **state)
{
	struct fixture *f = *state;

	turn(f, 1, ALL);
	play_pair_at(&f->m, use_of(0), use_of(1), 500, 3);
	turn(f, 1, ALL);
	assert_all(f, 0, 1, 500);
	play_pair_at(&f->m, use_of(0), use_of(1), 70, 0);
	play_pair_at(&f->m, use_of(0), use_of(1), 8, 3);
	turn(f, 1, ALL);
	assert_all(f, 0, 1, 578);
	assert_int_equal(n_pairs(f), 1);
}

static void the_last_minute_is_the_last_minute(void **state)
{
	struct fixture *f = *state;
	const uint64_t second = (uint64_t)NS_PER_S;

	turn(f, 1, ALL);
	/* a tenth of each second */
	for (unsigned i = 1; i <= 200; i++) {
		const uint64_t by[DELAY_OWNERS] = { [DELAY_BY_VMS] = second / 10 /
				DELAY_BY_UNIT_NS };

		play(f, 0, 1, second / 10);
		delay_vm_waited(tell(f, 0), by);
		turn(f, 1, ALL);
		const struct blame_vm *vm = vm_of(f, 0);
		int64_t lately_s = vm->lately_ns / NS_PER_S;

		assert_true(i < 70 ? lately_s == i : lately_s >= 60 && lately_s < 70);
		assert_all(f, 0, 1, i * second / 10);
		assert_lately(f, 0, 1, (uint64_t)lately_s * second / 10);
		assert_true(vm->by[BLAME_VMS].lately_ns / 1000000 ==
			(uint64_t)lately_s * 100 -
				(vm->by[BLAME_VMS].lately_ns % 1000000 != 0));
	}
	/* another waits for the first time: all of that is of now */
	play(f, 2, 3, second);
	turn(f, 1, ALL);
	assert_lately(f, 2, 3, second);
	for (unsigned i = 0; i < 80; i++)
		turn(f, 1, ALL);
	assert_lately(f, 2, 3, 0);
	assert_lately(f, 0, 1, 0);
	assert_all(f, 2, 3, second);
}

/* What was counted goes on when a VM is started again, until it is forgotten. */
static void who_comes_again_is_the_same(void **state)
{
	struct fixture *f = *state;

	turn(f, 1, ALL);
	play(f, 0, 1, 5000);
	turn(f, 1, ALL);
	for (unsigned i = 0; i < 29; i++) {
		turn(f, 10, ALL & ~2u);
		assert_false(vm_of(f, 1)->runs);
		assert_all(f, 0, 1, 5000);
	}
	turn(f, 1, ALL);
	assert_true(vm_of(f, 1)->runs);
	assert_int_equal(*delay_vm_use(tell(f, 1)), use_of(1));
	play(f, 0, 1, 5000);
	turn(f, 1, ALL);
	assert_all(f, 0, 1, 10000);
}

static const struct delay_pairs *bucket_of(const struct fixture *f, uint64_t key)
{
	return &f->m.pairs[delay_pair_bucket(key, DELAY_PAIR_BITS(BITS))];
}

/* A place is nobody's for a minute before it is another's, and begins with nothing. */
static void places_of_who_is_gone_are_free_after_a_while(void **state)
{
	struct fixture *f = *state;
	const uint64_t key = delay_pair_key(use_of(0), use_of(1));
	const struct delay_pairs *bucket = bucket_of(f, key);
	int64_t dead_s = 0, free_s = 0;

	turn(f, 1, ALL);
	play(f, 0, 1, 5000);
	turn(f, 1, ALL);
	assert_true(bucket->key[0] == key);
	const int64_t gone_s = f->now_s;

	while (!free_s) {
		turn(f, 1, ALL & ~2u);
		if (!dead_s && bucket->key[0] == DELAY_PAIR_DEAD)
			dead_s = f->now_s;
		if (!bucket->key[0])
			free_s = f->now_s;
		/* who found it in the last moment adds to what nobody reads */
		if (dead_s == f->now_s)
			f->m.pairs[bucket - f->m.pairs].ns[0] += 300;
		assert_true(f->now_s < gone_s + 500);
	}
	assert_true(dead_s > gone_s + 300 && dead_s <= gone_s + 311);
	assert_true(free_s > dead_s + 60 && free_s <= dead_s + 71);
	assert_int_equal(bucket->ns[0], 0);
	assert_int_equal(delay_pairs_counts(f->p).pairs, 0);
	assert_null(vm_of(f, 1));
	/* it is another VM's */
	char name[16];
	const struct vm_ident ident = ident_of(1, name);
	struct delay_vm *vm = delay_pairs_vm(f->p, &ident, f->now_s * NS_PER_S);

	assert_int_equal(*delay_vm_use(vm), 0);
	*delay_vm_use(vm) = 99;
	play_pair(&f->m, use_of(0), 99, 77);
	turn(f, 1, ALL);
	assert_all(f, 0, 1, 77);
}

/* One that waited for long may tell of a VM that is forgotten: that is told of nobody. */
static void who_is_forgotten_is_not_taken_for_another(void **state)
{
	struct fixture *f = *state;

	turn(f, 1, ALL);
	for (unsigned i = 0; i < 40; i++)
		turn(f, 10, ALL & ~2u);
	assert_null(vm_of(f, 1));
	play(f, 0, 1, 5000);
	turn(f, 1, ALL & ~2u);
	assert_int_equal(n_pairs(f), 0);
	assert_int_equal(delay_pairs_counts(f->p).pairs, 1);
	for (unsigned i = 0; i < 10; i++)
		turn(f, 10, ALL & ~2u);
	assert_int_equal(delay_pairs_counts(f->p).pairs, 0);
}

static void what_has_no_room_is_counted(void **state)
{
	struct fixture *f = *state;
	const size_t room = delay_pairs_counts(f->p).room;
	uint64_t lost = 0;

	turn(f, 1, ALL);
	for (uint32_t i = 0; i < room; i++) {
		play_pair(&f->m, use_of(0), 1000 + i, 1);
		lost = delay_pairs_counts(f->p).lost_ns;
	}
	turn(f, 1, ALL);
	assert_int_equal(delay_pairs_counts(f->p).pairs + lost, room);
	assert_true(lost > 0 && lost < room / 4);
	/* all of these are of nobody that is known */
	assert_int_equal(n_pairs(f), 0);
	for (unsigned i = 0; i < 50; i++)
		turn(f, 10, ALL);
	assert_int_equal(delay_pairs_counts(f->p).pairs, 0);
	play(f, 0, 1, 9);
	turn(f, 1, ALL);
	assert_all(f, 0, 1, 9);
}

/* It knows whose processes still run, and how long they waited; not of when that was. */
static void the_next_process_has_the_same_sums(void **state)
{
	struct fixture *f = *state;

	turn(f, 1, ALL);
	play(f, 0, 1, NS_PER_S);
	play(f, 0, 2, NS_PER_S);
	turn(f, 1, ALL);
	delay_pairs_free(f->p);
	f->p = reader_of(&f->m, f->now_s);
	assert_int_equal(delay_pairs_last_use(f->p), use_of(2));
	turn(f, 1, ALL & ~4u);
	assert_all(f, 0, 1, NS_PER_S);
	assert_lately(f, 0, 1, 0);
	assert_int_equal(n_pairs(f), 1);
	play(f, 0, 1, 5000000);
	turn(f, 1, ALL);
	assert_all(f, 0, 1, NS_PER_S + 5000000);
	assert_lately(f, 0, 1, 5000000);
	/* which was found later */
	assert_all(f, 0, 2, NS_PER_S);
	assert_lately(f, 0, 2, 0);
}

/* The places that another one has given back are given back by who comes then. */
static void the_next_process_frees_what_is_dead(void **state)
{
	struct fixture *f = *state;

	turn(f, 1, ALL);
	play(f, 0, 1, NS_PER_S);
	struct delay_pairs *bucket = &f->m.pairs[delay_pair_bucket(
		delay_pair_key(use_of(0), use_of(1)), DELAY_PAIR_BITS(BITS))];

	bucket->key[0] = DELAY_PAIR_DEAD;
	delay_pairs_free(f->p);
	f->p = reader_of(&f->m, f->now_s);
	for (unsigned i = 0; i < 6; i++) {
		turn(f, 10, ALL);
		assert_true(bucket->key[0] == DELAY_PAIR_DEAD);
	}
	turn(f, 10, ALL);
	turn(f, 10, ALL);
	assert_int_equal(bucket->key[0], 0);
	assert_int_equal(bucket->ns[0], 0);
}

static void what_is_told_is_what_is_known(void **state)
{
	struct fixture *f = *state;
	static const char text[] =
		"now: 1003000\n"
		"vm: 00000000-0000-0000-0000-000000000000 2000 vm0\n"
		"owner: vms 0 0\nowner: self 0 0\nowner: host 0 0\n"
		"owner: kernel 10240 10240\nowner: idle 0 0\nowner: quota 0 0\n"
		"owner: unknown 0 0\n"
		"behind: 00000000-0000-0000-0000-000000000001 32768 32770 a%0Avm: b\n";
	const uint64_t by[DELAY_OWNERS] = { [DELAY_BY_KERNEL] = 10 };
	const struct vm_ident hostile = {
		.uuid = { { [15] = 1 } }, .id = 1, .name = "a\nvm: b"
	};
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

	turn(f, 1, 3);
	delay_vm_waited(tell(f, 0), by);
	play(f, 0, 1, 32770);
	f->now_s += 2;
	tell(f, 0);
	(void)delay_pairs_vm(f->p, &hostile, f->now_s * NS_PER_S);
	turn(f, 0, 1);
	blame_describe(f->b, &out);
	if (strncmp(strbuf_str(&out), text, strlen(text)) != 0)
		fail_msg("%s", strbuf_str(&out));
	/* who does not run has no lines of its own */
	for (unsigned i = 0; i < 3; i++)
		turn(f, 10, 1);
	strbuf_clear(&out);
	blame_describe(f->b, &out);
	const char *first = strstr(strbuf_str(&out), "\nvm: ");

	assert_non_null(first);
	assert_null(strstr(first + 1, "\nvm: "));
	assert_non_null(strstr(strbuf_str(&out), "%0Avm: b\n"));
}

/* Whatever is in the map: what is read is within bounds, and what is written, too. */
static void a_damaged_map_does_no_harm(void **state)
{
	struct fixture *f = *state;

	for (int round = 0; round < ROUNDS(20); round++) {
		uint64_t *words = (uint64_t *)(void *)f->m.pairs;

		for (size_t i = 0; i < delay_pairs_bytes(BITS) / 8; i++)
			words[i] = random_u64() >> random_u64() % 64;
		delay_pairs_free(f->p);
		f->p = reader_of(&f->m, f->now_s);
		(void)delay_pairs_last_use(f->p);
		for (unsigned i = 0; i < 50; i++) {
			for (unsigned k = 0; k < 100; k++)
				words[random_u64() % (delay_pairs_bytes(BITS) / 8)] =
					random_u64() % 32 << 32 | random_u64() % 32;
			turn(f, 10, (unsigned)random_u64() % (ALL + 1));
			assert_true(f->b->n_vms <= VMS);
			assert_true(n_pairs(f) <= VMS * (VMS - 1));
		}
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(each_pair_has_its_time),
		TEST(readers_may_ask_at_once),
		TEST(parts_of_a_pair_are_added),
		TEST(the_last_minute_is_the_last_minute),
		TEST(who_comes_again_is_the_same),
		TEST(places_of_who_is_gone_are_free_after_a_while),
		TEST(who_is_forgotten_is_not_taken_for_another),
		TEST(what_has_no_room_is_counted),
		TEST(the_next_process_has_the_same_sums),
		TEST(the_next_process_frees_what_is_dead),
		TEST(what_is_told_is_what_is_known),
		TEST(a_damaged_map_does_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* VMs whose home threads have not run are not asked, and their figures are as new as that. */
#include "sleeper.h"

#include "collect/libvirt/slow_job.h"
#include "util/parse.h"

static void vcpu_ran(struct sleeper *s)
{
	let_run(s, VCPU);
}

static int setup_sleeper(void **state)
{
	struct spec_set *specs = spec_set_new(2);

	specs->n = 0;
	want(specs, "block.*.rd.reqs", "block.*.rd.reqs", METRIC_UINT64, NULL);
	want(specs, "state.state", "state.state", METRIC_INT32, NULL);
	return setup_sleeper_with(state, specs, 0);
}

/* How often it is asked in the next periods. */
static unsigned asked_in(unsigned periods)
{
	unsigned before = fake_calls(FAKE_STATS, 0);

	fake_advance(periods * PERIOD_NS);
	return fake_calls(FAKE_STATS, 0) - before;
}

/* How often its pulse is taken. */
static unsigned pulses_in(unsigned periods)
{
	unsigned before = fake_calls(FAKE_PULSE, 0);

	fake_advance(periods * PERIOD_NS);
	return fake_calls(FAKE_PULSE, 0) - before;
}

/* So that its last answer stands. */
static void fall_asleep(void)
{
	while (!pulses_in(1))
		continue;
}

/* @key: "\nslow.asleep: " */
static uint64_t counted(struct program *p, const char *key)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	uint64_t n = 0;

	virt_status(p->virt, &text);
	const char *at = strstr(strbuf_str(&text), key);

	assert_non_null(at);
	at += strlen(key);
	assert_int_equal(parse_u64_at(&at, &n), 0);
	return n;
}

static void assert_says_asleep(struct program *p, bool expected)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	virt_status(p->virt, &text);
	const char *at = strstr(strbuf_str(&text), ".slow_age_ms: ");

	assert_non_null(at);
	assert_int_equal(
		strcspn(at, "\n") > 7 && !strncmp(strchr(at, '\n') - 7, " asleep", 7),
		expected);
}

static void who_sleeps_is_not_asked(void **state)
{
	struct sleeper *s = *state;

	/* when it got its process, once more, and as soon as it must be */
	assert_in_range(asked_in(SLOW_SLEEP_PERIODS + 2), 2, 3);
	unsigned before_pulses = fake_calls(FAKE_PULSE, 0);

	assert_in_range(asked_in(3 * SLOW_SLEEP_PULSES * SLOW_SLEEP_PERIODS), 2, 3);
	assert_in_range(fake_calls(FAKE_PULSE, 0) - before_pulses,
		3 * (SLOW_SLEEP_PULSES - 1), 3 * SLOW_SLEEP_PULSES);
	uint64_t before = counted(s->p, "\nslow.asleep: ");

	/* nobody takes that for old */
	assert_in_range(worst_age_ns(s->p, 0, 0, 8 * PERIOD_NS), PERIOD_NS / 2,
		3 * PERIOD_NS / 2);
	assert_in_range(counted(s->p, "\nslow.asleep: ") - before, 5, 7);
	assert_true(has_requests(s->p, 0));
	while (asked_in(1))
		continue;
	assert_says_asleep(s->p, true);
	let_run(s, MAIN);
	asked_in(1);
	assert_says_asleep(s->p, false);
}

/* They are as asleep as the first. */
static void start_others(struct sleeper *s)
{
	for (unsigned i = 1; i < FAKE_VMS; i++) {
		fake_start(i);
		fake_settle();
		give_process(s, i);
	}
}

/* Though it did nothing that anybody could see. */
static void who_hangs_asleep_is_found(void **state)
{
	struct sleeper *s = *state;

	fall_asleep();
	fake_hold(FAKE_PULSE, 0);
	fake_hold(FAKE_STATS, 0);
	fake_advance((SLOW_SLEEP_PERIODS + 1) * PERIOD_NS);
	assert_true(fake_held(FAKE_PULSE) > 0);
	fake_advance(5 * NS_PER_S);
	assert_true(is_silent(s->p, 0));
	assert_true(has_requests(s->p, 0));
	fake_release(FAKE_PULSE, 0);
	fake_release(FAKE_STATS, 0);
	fake_advance(3 * PERIOD_NS);
	assert_false(is_silent(s->p, 0));
	assert_true(age_ns(s->p, 0) < 2 * PERIOD_NS);
}

/* Though calls that ask many others take long. */
static void who_hangs_alone_is_given_up_as_soon_as_one(void **state)
{
	struct sleeper *s = *state;

	start_others(s);
	fake_advance(2 * SLOW_SLEEP_PERIODS * PERIOD_NS);
	fake_hold(FAKE_PULSE, 0);
	while (!fake_held(FAKE_PULSE))
		fake_advance(PERIOD_NS / 16);
	fake_hold(FAKE_STATS, FAKE_ALL);
	for (unsigned i = 1; i < FAKE_VMS; i++)
		fake_plug(i, 1 << 20);
	fake_advance(3 * NS_PER_S / 2);
	fake_release(FAKE_STATS, FAKE_ALL);
	fake_settle();
	fake_hold(FAKE_STATS,
		FAKE_ALL); /* or the next one were the last that took its time */
	assert_int_equal(abandoned(s->p), 0);
	fake_advance(NS_PER_S);
	assert_int_equal(abandoned(s->p), 1);
}

/* A pulse that libvirt did not take, as somebody else waits for the monitor, is none. */
static void who_is_passed_by_is_asked(void **state)
{
	fall_asleep();
	(void)state;
	fake_fail(FAKE_CONTROL, 0, VIR_ERR_INTERNAL_ERROR);
	unsigned before = fake_calls(FAKE_STATS, 0);

	while (!pulses_in(1))
		continue;
	/* for its answer, and for one that may stand */
	fake_advance(2 * PERIOD_NS);
	assert_int_equal(fake_calls(FAKE_STATS, 0) - before, 2);
	fake_fail(FAKE_CONTROL, 0, VIR_ERR_OK);
	fall_asleep();
	assert_int_equal(asked_in(2 * SLOW_SLEEP_PERIODS), 0);
}

/* What a thread of it has done when its pulse is taken is seen. */
static void a_pulse_beside_which_others_ran_is_not_enough(void **state)
{
	struct sleeper *s = *state;

	fall_asleep();
	fake_hold(FAKE_PULSE, 0);
	while (!fake_held(FAKE_PULSE))
		fake_advance(PERIOD_NS / 16);
	vcpu_ran(s);
	fake_release(FAKE_PULSE, 0);
	fake_settle();
	assert_int_equal(asked_in(1), 1);
	assert_int_equal(asked_in(1), 0);
}

/* Once because it has, and once more as the answer may have been made before. */
static void assert_noticed(struct sleeper *s, const char *schedstat)
{
	asked_in(SLOW_SLEEP_PERIODS + 2);
	while (!asked_in(1))
		continue;
	let_run(s, schedstat);
	assert_int_equal(asked_in(1), 1);
	assert_int_equal(asked_in(1), 1);
	assert_int_equal(asked_in(1), 0);
}

static void who_ran_is_asked_twice(void **state)
{
	assert_noticed(*state, MAIN);
	assert_noticed(*state, IO);
}

/* What a guest calculates is none of the monitor's figures; nor is that somebody asks. */
static void vcpus_and_the_monitors_thread_may_run(void **state)
{
	struct sleeper *s = *state;

	asked_in(SLOW_SLEEP_PERIODS + 2);
	while (!asked_in(1))
		continue;
	for (unsigned i = 1; i < SLOW_SLEEP_PERIODS - 1; i++) {
		let_run(s, VCPU);
		let_run(s, MONITOR);
		assert_int_equal(asked_in(1), 0);
	}
}

static void set_vcpu_stat(struct sleeper *s, char state)
{
	_cleanup_free_ char *text = xasprintf("71 (CPU 0/KVM) %c 1 2 3\n", state);

	fixture_add(&s->root, "proc/70/task/71/stat", text);
}

static void io_thread_ran(struct sleeper *s)
{
	let_run(s, IO);
}

static void vcpu_runs(struct sleeper *s)
{
	set_vcpu_stat(s, 'R');
}

static void one_began(struct sleeper *s)
{
	fixture_add(&s->root, "proc/70/task/74/comm", "worker\n");
	fixture_add(&s->root, "proc/70/task/74/schedstat", "0 0 0\n");
}

static void the_monitors_ran(struct sleeper *s)
{
	let_run(s, MONITOR);
}

/* Return: how often it is asked in the period after one in which @what happened in the middle. */
static unsigned asked_after(struct sleeper *s, void (*what)(struct sleeper *s))
{
	asked_in(SLOW_SLEEP_PERIODS + 2);
	while (!asked_in(1))
		continue;
	fake_hold(FAKE_STATS, 0);
	while (!fake_held(FAKE_STATS))
		fake_advance(PERIOD_NS / 16);
	what(s);
	fake_release(FAKE_STATS, 0);
	fake_settle();
	set_vcpu_stat(s, 'S');
	return asked_in(1);
}

/* The main thread may have done something for them, after it was asked and before it was looked at. */
static void an_answer_beside_which_others_ran_is_not_the_last(void **state)
{
	struct sleeper *s = *state;

	assert_int_equal(asked_after(s, the_monitors_ran), 0);
	assert_int_equal(asked_after(s, vcpu_ran), 1);
	assert_int_equal(asked_in(1), 0);
	assert_int_equal(asked_after(s, io_thread_ran), 1);
	assert_int_equal(asked_after(s, one_began), 1);
	assert_int_equal(asked_after(s, vcpu_runs), 1);
	assert_int_equal(asked_in(1), 0);
}

/* So that little happens beside it; and who is asked with others fails with them. */
static void who_may_sleep_is_asked_alone(void **state)
{
	struct sleeper *s = *state;

	for (unsigned i = 1; i < FAKE_VMS; i++)
		fake_start(i);
	asked_in(SLOW_SLEEP_PERIODS + 2);
	while (!asked_in(1))
		continue;
	fake_fail(FAKE_PULSE, 0, VIR_ERR_INTERNAL_ERROR);
	fake_fail(FAKE_STATS, 0, VIR_ERR_INTERNAL_ERROR);
	assert_in_range(
		worst_age_ns(s->p, 1, FAKE_VMS - 1, (SLOW_SLEEP_PERIODS + 1) * PERIOD_NS),
		PERIOD_NS / 2, 3 * PERIOD_NS / 2);
	assert_true(age_ns(s->p, 0) > PERIOD_NS / 2);
	fake_fail(FAKE_PULSE, 0, VIR_ERR_OK);
	fake_fail(FAKE_STATS, 0, VIR_ERR_OK);
}

/* Though a job has several of them. */
static void each_question_counts(void **state)
{
	struct sleeper *s = *state;
	unsigned calls = 0;

	start_others(s);
	fake_advance(2 * SLOW_SLEEP_PERIODS * PERIOD_NS);
	uint64_t before = counted(s->p, "\nslow.calls: ");

	for (unsigned i = 0; i < FAKE_VMS; i++)
		calls -= fake_calls(FAKE_STATS, i) + fake_calls(FAKE_PULSE, i);
	fake_advance(2 * SLOW_SLEEP_PULSES * SLOW_SLEEP_PERIODS * PERIOD_NS);
	for (unsigned i = 0; i < FAKE_VMS; i++)
		calls += fake_calls(FAKE_STATS, i) + fake_calls(FAKE_PULSE, i);
	assert_true(calls >= FAKE_VMS * SLOW_SLEEP_PULSES);
	assert_int_equal(counted(s->p, "\nslow.calls: ") - before, calls);
}

static void who_runs_always_is_asked_always(void **state)
{
	struct sleeper *s = *state;

	for (unsigned i = 0; i < 10; i++) {
		let_run(s, MAIN);
		assert_int_equal(asked_in(1), 1);
	}
}

/* An event tells of what has just happened. */
static void who_is_said_to_have_changed_is_asked(void **state)
{
	asked_in(SLOW_SLEEP_PERIODS + 2);
	while (!asked_in(1))
		continue;
	unsigned before = fake_calls(FAKE_STATS, 0);

	(void)state;
	fake_plug(0, 1 << 20);
	fake_settle();
	assert_int_equal(fake_calls(FAKE_STATS, 0), before + 1);
}

/* As if it ran. */
static void who_cannot_be_seen_is_asked(void **state)
{
	struct sleeper *s = *state;

	asked_in(SLOW_SLEEP_PERIODS + 2);
	fixture_add(&s->root, IO, "");
	assert_in_range(asked_in(8), 7, 8);
	let_run(s, IO);
	/* with that, and as soon as it must be */
	assert_int_equal(asked_in(SLOW_SLEEP_PULSES * SLOW_SLEEP_PERIODS + 2), 2);
	fixture_add(&s->root, MAIN, "nonsense\n");
	assert_in_range(asked_in(8), 7, 8);
	let_run(s, MAIN);
	assert_int_equal(asked_in(8), 2);
	/* it has ended, and somebody else may have its number now */
	fixture_add(&s->root, "proc/70/stat", "");
	assert_in_range(asked_in(8), 7, 8);
	fixture_add(&s->root, "proc/70/stat", "70 (qemu) Z 1 2 3\n");
	assert_in_range(asked_in(8), 7, 8);
}

static void who_has_many_io_threads_is_asked(void **state)
{
	struct sleeper *s = *state;

	for (unsigned i = 0; i < HOME_IO_THREADS; i++) {
		_cleanup_free_ char *comm = xasprintf("proc/70/task/%u/comm", 80 + i);
		_cleanup_free_ char *stat =
			xasprintf("proc/70/task/%u/schedstat", 80 + i);

		fixture_add(&s->root, comm, "IO many\n");
		fixture_add(&s->root, stat, "1 2 3\n");
	}
	let_run(s, MAIN); /* that is who made them */
	assert_in_range(asked_in(8), 7, 8);
}

/* Its last figures are no answer. */
static void who_did_not_answer_is_asked(void **state)
{
	struct sleeper *s = *state;

	asked_in(SLOW_SLEEP_PERIODS + 2);
	fake_fail(FAKE_STATS, FAKE_ALL, VIR_ERR_INTERNAL_ERROR);
	let_run(s, MAIN);
	assert_in_range(asked_in(8), 7, 8);
	assert_true(age_ns(s->p, 0) > 6 * PERIOD_NS);
	fake_fail(FAKE_STATS, FAKE_ALL, VIR_ERR_OK);
	assert_in_range(asked_in(2), 1, 2);
	assert_true(age_ns(s->p, 0) < 2 * PERIOD_NS);
}

#define SLEEPER(name)                                                                    \
	cmocka_unit_test_setup_teardown(name, setup_sleeper, teardown_sleeper)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		SLEEPER(who_sleeps_is_not_asked),
		SLEEPER(who_hangs_asleep_is_found),
		SLEEPER(who_hangs_alone_is_given_up_as_soon_as_one),
		SLEEPER(who_is_passed_by_is_asked),
		SLEEPER(a_pulse_beside_which_others_ran_is_not_enough),
		SLEEPER(who_ran_is_asked_twice),
		SLEEPER(vcpus_and_the_monitors_thread_may_run),
		SLEEPER(an_answer_beside_which_others_ran_is_not_the_last),
		SLEEPER(who_may_sleep_is_asked_alone),
		SLEEPER(each_question_counts),
		SLEEPER(who_runs_always_is_asked_always),
		SLEEPER(who_is_said_to_have_changed_is_asked),
		SLEEPER(who_cannot_be_seen_is_asked),
		SLEEPER(who_has_many_io_threads_is_asked),
		SLEEPER(who_did_not_answer_is_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

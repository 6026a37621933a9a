/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Answers that lack what was named before: libvirt passes a monitor by that is busy just then,
 * and does not say so.
 */
#include "virt-program.h"

/* It is so for a moment, at any time: after what may have gone before. */
static void assert_nothing_lost(struct program *p, unsigned vm)
{
	fake_fail(FAKE_MONITOR, vm, VIR_ERR_OPERATION_TIMEOUT);
	for (unsigned i = 0; i < 15; i++) {
		fake_advance(100 * NS_PER_MS);
		assert_true(has_requests(p, vm));
	}
	fake_fail(FAKE_MONITOR, vm, VIR_ERR_OK);
	fake_advance(2 * PERIOD_NS);
	assert_in_range(worst_age_ns(p, 0, vm, 5 * NS_PER_S), 1, 3 * PERIOD_NS / 2);
	assert_true(has_requests(p, vm));
}

static void a_monitor_that_is_passed_by_loses_nothing(void **state)
{
	struct program *p = *state;

	start_vms(2);
	start_program(p, NULL);
	assert_true(has_requests(p, 1));
	assert_nothing_lost(p, 1);
}

static void nor_after_a_call_that_hung(void **state)
{
	struct program *p = *state;

	start_vms(2);
	start_program(p, NULL);
	fake_hold(FAKE_STATS, FAKE_ALL);
	fake_hold(FAKE_CONTROL, FAKE_ALL);
	fake_advance(8 * NS_PER_S);
	/* what was asked for first is still in the monitor's way */
	fake_fail(FAKE_MONITOR, 1, VIR_ERR_OPERATION_TIMEOUT);
	fake_release(FAKE_CONTROL, FAKE_ALL);
	fake_release(FAKE_STATS, FAKE_ALL);
	fake_settle();
	assert_true(has_requests(p, 1));
	assert_nothing_lost(p, 1);
}

static void nor_after_a_call_that_failed(void **state)
{
	struct program *p = *state;

	start_vms(2);
	start_program(p, NULL);
	fake_fail(FAKE_STATS, FAKE_ALL, VIR_ERR_INTERNAL_ERROR);
	fake_advance(3 * PERIOD_NS);
	fake_fail(FAKE_MONITOR, 1, VIR_ERR_OPERATION_TIMEOUT);
	fake_fail(FAKE_STATS, FAKE_ALL, VIR_ERR_OK);
	assert_nothing_lost(p, 1);
}

static void nor_when_libvirt_is_there_again(void **state)
{
	struct program *p = *state;

	start_vms(2);
	start_program(p, NULL);
	fake_fail(FAKE_OPEN, FAKE_ALL, VIR_ERR_SYSTEM_ERROR);
	fake_break(false);
	fake_advance(5 * NS_PER_S);
	assert_true(has_requests(p, 1));
	/* it finds its VMs' monitors again, one after another */
	fake_fail(FAKE_MONITOR, 1, VIR_ERR_OPERATION_TIMEOUT);
	fake_fail(FAKE_OPEN, FAKE_ALL, VIR_ERR_OK);
	assert_nothing_lost(p, 1);
}

static void what_is_lacking_for_good_is_gone(void **state)
{
	struct program *p = *state;

	start_vms(2);
	start_program(p, NULL);
	fake_fail(
		FAKE_MONITOR, 1, VIR_ERR_OPERATION_TIMEOUT); /* the disk was unplugged */
	fake_advance(5 * NS_PER_S);
	assert_false(has_requests(p, 1));
	assert_true(has_requests(p, 0));
	/* and it is asked no more often than before */
	assert_in_range(worst_age_ns(p, 0, 1, 5 * NS_PER_S), 1, 3 * PERIOD_NS / 2);
	unsigned before = fake_calls(FAKE_STATS, 1);

	fake_advance(10 * PERIOD_NS);
	assert_in_range(fake_calls(FAKE_STATS, 1) - before, 9, 11);
	fake_fail(FAKE_MONITOR, 1, VIR_ERR_OK);
	fake_advance(2 * PERIOD_NS);
	assert_true(has_requests(p, 1));
}

/* ---- the first answer, which nothing went before ---- */

#define LONG_NS (60 * NS_PER_S)

static int setup_seldom(void **state)
{
	return setup_with(state, all_of(COLLECTOR_LIBVIRT), LONG_NS);
}

/* What its monitor did not tell may come, or does not apply. */
static bool is_sought(struct program *p, unsigned vm)
{
	bool available = false, there = has_metric(p, vm, "balloon.unused", &available);

	assert_false(available || has_requests(p, vm));
	return there;
}

static void a_first_answer_that_lacks_something_is_asked_for_again(void **state)
{
	struct program *p = *state;

	start_vms(2);
	fake_fail(FAKE_MONITOR, 1, VIR_ERR_OPERATION_TIMEOUT);
	start_program(p, NULL);
	assert_true(has_requests(p, 0));
	assert_true(is_sought(p, 1));
	fake_advance(NS_PER_S);
	assert_true(is_sought(p, 1));
	fake_fail(FAKE_MONITOR, 1, VIR_ERR_OK);
	fake_advance(NS_PER_S);
	assert_true(has_requests(p, 1));
}

static void nor_does_one_that_appears_wait_for_a_period(void **state)
{
	struct program *p = *state;

	start_program(p, NULL);
	fake_fail(FAKE_MONITOR, 1, VIR_ERR_OPERATION_TIMEOUT);
	fake_start(1);
	fake_settle();
	assert_true(is_sought(p, 1));
	fake_fail(FAKE_MONITOR, 1, VIR_ERR_OK);
	fake_advance(NS_PER_S);
	assert_true(has_requests(p, 1));
}

/* As long as it was busy, and once again. */
static void nor_does_one_that_is_busy_for_long(void **state)
{
	struct program *p = *state;

	start_vms(1);
	fake_fail(FAKE_MONITOR, 0, VIR_ERR_OPERATION_TIMEOUT);
	start_program(p, NULL);
	fake_advance(5 * NS_PER_S);
	fake_fail(FAKE_MONITOR, 0, VIR_ERR_OK);
	fake_advance(5 * NS_PER_S);
	assert_true(has_requests(p, 0));
}

/* A VM that has nothing of which a monitor must be asked costs a few questions, once. */
static void what_was_never_there_is_not_asked_for_for_ever(void **state)
{
	struct program *p = *state;

	start_vms(2);
	fake_fail(FAKE_MONITOR, 1, VIR_ERR_OPERATION_TIMEOUT);
	start_program(p, NULL);
	fake_advance(2 * LONG_NS);
	assert_false(is_sought(p, 1));
	assert_in_range(fake_calls(FAKE_STATS, 1), 2, 12);
	unsigned before = fake_calls(FAKE_STATS, 1);

	fake_advance(10 * LONG_NS);
	assert_in_range(fake_calls(FAKE_STATS, 1) - before, 10, 12);
	/* and who told all that there is was asked once a period */
	assert_in_range(fake_calls(FAKE_STATS, 0), 12, 15);
}

/* A driver that always waits for monitors says all that there is. */
static void an_answer_that_was_waited_for_is_whole(void **state)
{
	struct program *p = *state;

	start_vms(1);
	fake_forbid_nowait();
	fake_fail(FAKE_MONITOR, 0, VIR_ERR_OPERATION_TIMEOUT);
	start_program(p, NULL);
	assert_false(is_sought(p, 0));
	unsigned before = fake_calls(FAKE_STATS, 0);

	/* not before it is its turn, whenever in a period that is */
	fake_advance(LONG_NS);
	assert_int_equal(fake_calls(FAKE_STATS, 0), before + 1);
}

/* More is named, but nothing that a monitor alone knows. */
static void what_is_plugged_in_hides_no_lack(void **state)
{
	struct program *p = *state;

	start_vms(2);
	start_program(p, NULL);
	fake_fail(FAKE_MONITOR, 1, VIR_ERR_OPERATION_TIMEOUT);
	fake_plug(1, 2048);
	fake_settle();
	assert_nothing_lost(p, 1);
}

/* What the kernel tells, too. */
static int setup_few(void **state)
{
	struct spec_set *specs = spec_set_new(2);

	specs->n = 0;
	want(specs, "cpu.time", "cpu.time", METRIC_UINT64, NULL);
	want(specs, "net.*.rx.bytes", "net.*.rx.bytes", METRIC_UINT64, NULL);
	return setup_with(state, specs, PERIOD_NS);
}

/* The kernel tells it from now on: an answer that has it no more is no worse. */
static void what_is_not_asked_for_any_more_is_no_lack(void **state)
{
	struct program *p = *state;

	start_vms(2);
	fake_plug(1, 2048);
	start_program(p, NULL);
	_cleanup_run_ struct run *run = run_of(p, 1);

	assert_non_null(run);
	fake_advance(2 * PERIOD_NS);
	for (unsigned i = 0; i < 4; i++) {
		int64_t before = atomic_load(&run->slow_mono_ns);
		unsigned calls = fake_calls(FAKE_STATS, 1);

		atomic_fetch_xor(&run->known, READS(NICS));
		while (fake_calls(FAKE_STATS, 1) == calls)
			fake_advance(10 * NS_PER_MS);
		fake_settle();
		assert_true(atomic_load(&run->slow_mono_ns) > before);
	}
}

#define TEST_SELDOM(name) cmocka_unit_test_setup_teardown(name, setup_seldom, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_monitor_that_is_passed_by_loses_nothing),
		TEST(nor_after_a_call_that_hung),
		TEST(nor_after_a_call_that_failed),
		TEST(nor_when_libvirt_is_there_again),
		TEST(what_is_lacking_for_good_is_gone),
		TEST(what_is_plugged_in_hides_no_lack),
		cmocka_unit_test_setup_teardown(
			what_is_not_asked_for_any_more_is_no_lack, setup_few, teardown),
		TEST_SELDOM(a_first_answer_that_lacks_something_is_asked_for_again),
		TEST_SELDOM(nor_does_one_that_appears_wait_for_a_period),
		TEST_SELDOM(nor_does_one_that_is_busy_for_long),
		TEST_SELDOM(what_was_never_there_is_not_asked_for_for_ever),
		TEST_SELDOM(an_answer_that_was_waited_for_is_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

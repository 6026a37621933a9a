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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_monitor_that_is_passed_by_loses_nothing),
		TEST(nor_after_a_call_that_hung),
		TEST(nor_after_a_call_that_failed),
		TEST(nor_when_libvirt_is_there_again),
		TEST(what_is_lacking_for_good_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What guests say of their memory is asked at a period of its own. */
#include "sleeper.h"

#include "collect/libvirt/slow_job.h"
#include "core/metric_list.h"
#include "model/inherited.h"

#define BALLOON_PERIODS 6

static struct spec_set *specs_of(bool often)
{
	struct spec_set *specs = spec_set_new(3);

	specs->n = 0;
	want(specs, "unused", "balloon.unused", METRIC_UINT64, NULL);
	if (!often)
		return specs;
	want(specs, "block.*.rd.reqs", "block.*.rd.reqs", METRIC_UINT64, NULL);
	want(specs, "state.state", "state.state", METRIC_INT32, NULL);
	return specs;
}

static int setup_seldom(void **state)
{
	return setup_sleeper_with(state, specs_of(true), BALLOON_PERIODS * PERIOD_NS);
}

static int setup_balloon_alone(void **state)
{
	return setup_sleeper_with(state, specs_of(false), BALLOON_PERIODS * PERIOD_NS);
}

/* How often it is asked in the next periods, and of those for its balloon. */
static unsigned asked_in(unsigned periods, unsigned *ret_balloon)
{
	unsigned before = fake_calls(FAKE_STATS, 0), balloon = fake_balloons[0];

	fake_advance(periods * PERIOD_NS);
	*ret_balloon = fake_balloons[0] - balloon;
	return fake_calls(FAKE_STATS, 0) - before;
}

/* The VM runs without rest.  Return: as asked_in(). */
static unsigned asked_busy(struct sleeper *s, unsigned periods, unsigned *ret_balloon)
{
	unsigned n = 0, balloon = 0;

	*ret_balloon = 0;
	for (unsigned i = 0; i < periods; i++) {
		let_run(s, MAIN);
		n += asked_in(1, &balloon);
		*ret_balloon += balloon;
	}
	return n;
}

static bool has_unused(struct program *p)
{
	bool available = false;

	has_metric(p, 0, "unused", &available);
	return available;
}

static void the_balloon_has_a_period_of_its_own(void **state)
{
	struct sleeper *s = *state;
	unsigned balloon = 0;

	assert_true(has_unused(s->p));
	(void)asked_busy(s, 2 * BALLOON_PERIODS, &balloon);
	for (int i = 0; i < 3; i++) {
		assert_in_range(asked_busy(s, BALLOON_PERIODS, &balloon),
			BALLOON_PERIODS - 1, BALLOON_PERIODS + 1);
		assert_int_equal(balloon, 1);
		/* answers that were not asked for it take nothing away */
		assert_true(has_unused(s->p));
		assert_true(has_requests(s->p, 0));
	}
}

/* What somebody says has changed is asked for at once, with all. */
static void who_is_asked_at_once_is_asked_for_all(void **state)
{
	struct sleeper *s = *state;
	unsigned balloon = 0;

	do
		(void)asked_busy(s, 1, &balloon);
	while (!balloon);
	(void)asked_busy(s, 2, &balloon);
	assert_int_equal(balloon, 0);
	unsigned before = fake_balloons[0];

	fake_suspend(0);
	fake_settle();
	/* by the event, and as its description was read again */
	assert_in_range(fake_balloons[0] - before, 1, 2);
	/* and from then on the period counts */
	(void)asked_busy(s, BALLOON_PERIODS - 2, &balloon);
	assert_int_equal(balloon, 0);
	(void)asked_busy(s, 3, &balloon);
	assert_int_equal(balloon, 1);
}

/* What it did after its balloon was last asked for may have changed that. */
static void who_sleeps_is_asked_for_it_once_more(void **state)
{
	struct sleeper *s = *state;
	unsigned balloon = 0;

	/* until all is known, and stands */
	(void)asked_in(4 * BALLOON_PERIODS, &balloon);
	while (asked_in(BALLOON_PERIODS, &balloon) || balloon)
		continue;
	let_run(s, MAIN);
	unsigned n = asked_in(2 * BALLOON_PERIODS, &balloon);

	/* twice at once, as the answer may have been made before, and for the balloon */
	assert_in_range(n, 2, 3 + 1);
	assert_in_range(balloon, 1, 2);
	assert_int_equal(asked_in(BALLOON_PERIODS, &balloon), 0);
}

static void monitors_that_are_kept_busy_take_nothing_away(void **state)
{
	struct sleeper *s = *state;
	unsigned balloon = 0;

	(void)asked_busy(s, 2 * BALLOON_PERIODS, &balloon);
	fake_fail(FAKE_MONITOR, 0, VIR_ERR_INTERNAL_ERROR);
	(void)asked_busy(s, 1, &balloon);
	assert_true(has_unused(s->p));
	assert_true(has_requests(s->p, 0));
	fake_fail(FAKE_MONITOR, 0, VIR_ERR_OK);
	(void)asked_busy(s, 2 * BALLOON_PERIODS, &balloon);
	assert_true(balloon >= 1);
	assert_true(has_unused(s->p));
	assert_false(is_silent(s->p, 0));
}

/* Where nothing else is asked for there is one question, and one period. */
static void alone_it_has_the_slow_period(void **state)
{
	struct sleeper *s = *state;
	unsigned balloon = 0;

	(void)asked_busy(s, BALLOON_PERIODS, &balloon);
	assert_in_range(balloon, BALLOON_PERIODS - 1, BALLOON_PERIODS + 1);
	assert_true(has_unused(s->p));
}

/* What the process before had shown; @slot: UINT32_MAX: none. */
static struct metric_list *list_of(struct spec_set *specs, uint32_t slot, uint32_t more)
{
	struct metric_list_builder *b = metric_list_builder_new(specs, 1);
	struct value v = value_u64(7);

	if (slot != UINT32_MAX)
		metric_list_builder_add_source(b, slot, slot ? "0" : NULL, &v);
	if (more != UINT32_MAX)
		metric_list_builder_add_source(b, more, more ? "0" : NULL, &v);
	return metric_list_builder_finish(b);
}

/* A question for the rest says nothing about it, however long the first was ago. */
static void what_is_inherited_of_it_is_its_lanes_to_take(void **state)
{
	(void)state;
	enum { UNUSED, REQUESTS };
	struct spec_set *specs = specs_of(true);
	struct metric_list *all = list_of(specs, UNUSED, REQUESTS);
	struct metric_list *often = list_of(specs, REQUESTS, UINT32_MAX);
	struct metric_list *none = list_of(specs, UINT32_MAX, UINT32_MAX);
	struct metric_list *rest = inherited_rest(all, often, LANE_LIBVIRT, true, true);

	assert_int_equal(rest->n, 1);
	assert_string_equal(rest->metrics[0].label->name, "unused");
	metric_list_unref(rest);
	rest = inherited_rest(all, none, LANE_SELDOM, true, true);
	assert_int_equal(rest->n, 1);
	assert_string_equal(rest->metrics[0].label->name, "block.0.rd.reqs");
	metric_list_unref(rest);
	/* where there is one question it says all */
	rest = inherited_rest(all, often, LANE_LIBVIRT, true, false);
	assert_int_equal(rest->n, 0);
	metric_list_unref(rest);
	metric_list_unref(all);
	metric_list_unref(often);
	metric_list_unref(none);
	spec_set_unref(specs);
}

#define TEST_SELDOM(name)                                                                \
	cmocka_unit_test_setup_teardown(name, setup_seldom, teardown_sleeper)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_SELDOM(the_balloon_has_a_period_of_its_own),
		TEST_SELDOM(who_is_asked_at_once_is_asked_for_all),
		TEST_SELDOM(who_sleeps_is_asked_for_it_once_more),
		TEST_SELDOM(monitors_that_are_kept_busy_take_nothing_away),
		cmocka_unit_test(what_is_inherited_of_it_is_its_lanes_to_take),
		cmocka_unit_test_setup_teardown(alone_it_has_the_slow_period,
			setup_balloon_alone, teardown_sleeper),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

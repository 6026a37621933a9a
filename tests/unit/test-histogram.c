/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A value that is a histogram: what it counts, and how it gets from one list to the next. */
#include "samples.h"

#include <errno.h>

#include "bpf/delay_format.h"
#include "core/histogram.h"
#include "util/cleanup.h"
#include "util/strbuf.h"

/* ---- the type ---- */

/* A bucket has whole steps of the kernel's, so nothing is guessed. */
static void bounds_are_where_steps_begin(void **state)
{
	(void)state;
	for (uint32_t kind = 0; kind < HISTOGRAM_KINDS; kind++) {
		const struct histogram_bounds *b = histogram_bounds(kind);

		assert_true(b->n > 0 && b->n < HISTOGRAM_BUCKETS);
		for (size_t i = 0; i < b->n; i++) {
			assert_true(i == 0 || b->at[i] > b->at[i - 1]);
			assert_int_equal(delay_step_from(delay_step(b->at[i])), b->at[i]);
		}
		assert_int_equal(histogram_find(histogram_fingerprint(kind)), kind);
	}
	assert_int_equal(histogram_find(0), HISTOGRAM_KINDS);
}

static void nothing_overflows(void **state)
{
	(void)state;
	struct histogram h = { 0 }, none = { 0 };

	for (int i = 0; i < 3; i++)
		for (size_t k = 0; k <= histogram_bounds(h.kind)->n; k++)
			histogram_add(&h, k, UINT64_MAX / 2);
	histogram_add_sum(&h, UINT64_MAX);
	assert_true(h.sum == HISTOGRAM_MOST_SUM && h.counts[0] == HISTOGRAM_MOST);
	assert_true(histogram_count(&h) >= h.counts[0]);
	const struct histogram before = h;

	h.origin = 1;
	histogram_go_on(&h, &none, &before);
	assert_true(histogram_equal(&h, &before));
}

static struct histogram of(uint64_t origin, uint64_t a, uint64_t b, uint64_t sum)
{
	return (struct histogram){ .origin = origin, .counts = { a, b }, .sum = sum };
}

static void who_begins_anew_is_added(void **state)
{
	(void)state;
	static const struct {
		struct {
			uint64_t origin, a, b, sum;
		} told;
		uint64_t a, b, sum;
	} steps[] = { { { 1, 3, 0, 9 }, 3, 0, 9 }, { { 1, 4, 2, 30 }, 4, 2, 30 },
		/* another one, also if that has as much, or more */
		{ { 2, 0, 0, 0 }, 4, 2, 30 }, { { 2, 4, 2, 30 }, 8, 4, 60 },
		{ { 3, 9, 9, 90 }, 17, 13, 150 }, { { 3, 9, 9, 90 }, 17, 13, 150 },
		/* one that has less of anything is another one, too */
		{ { 3, 10, 8, 91 }, 27, 21, 241 }, { { 3, 11, 9, 90 }, 38, 30, 331 } };
	struct histogram shown = { 0 }, then = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		const struct histogram now = of(steps[i].told.origin, steps[i].told.a,
			steps[i].told.b, steps[i].told.sum);
		const struct histogram wanted =
			of(0, steps[i].a, steps[i].b, steps[i].sum);

		histogram_go_on(&shown, &then, &now);
		then = now;
		if (!histogram_equal(&shown, &wanted))
			fail_msg("step %zu", i);
	}
	assert_int_equal(histogram_count(&shown), 68);
}

static void it_is_no_other_type(void **state)
{
	(void)state;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	const struct histogram h = { 0 };
	const struct value v = value_histogram(&h);
	enum metric_type type;
	struct value out;

	value_format(&v, &text);
	assert_int_equal(text.len, 0);
	assert_string_equal(metric_type_name(METRIC_HISTOGRAM), "histogram");
	/* nobody may tell us one */
	assert_int_equal(metric_type_parse("histogram", &type), -EINVAL);
	for (int i = 0; i < METRIC_TYPE_COUNT; i++) {
		const struct value other = { .type = (enum metric_type)i };

		assert_int_equal(value_cast(&v, other.type, &out), -EINVAL);
		assert_int_equal(value_cast(&other, METRIC_HISTOGRAM, &out), -EINVAL);
	}
	assert_int_equal(value_cast(&v, METRIC_HISTOGRAM, &out), 0);
	assert_ptr_equal(out.h, &h);
	assert_int_equal(
		unit_convert(&v, unit_find("ns"), unit_find("s"), &out), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bounds_are_where_steps_begin),
		cmocka_unit_test(nothing_overflows),
		cmocka_unit_test(who_begins_anew_is_added),
		cmocka_unit_test(it_is_no_other_type),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A value that is a histogram: what it counts, and how it gets from one list to the next. */
#include "samples.h"

#include <errno.h>

#include "bpf/delay_format.h"
#include "collect/kernel/delay_histogram.h"
#include "collect/kernel/delay_spread.h"
#include "conf/conf.h"
#include "core/blob.h"
#include "core/histogram.h"
#include "core/render_xml.h"
#include "core/snapshot.h"
#include "model/counters.h"
#include "util/cleanup.h"
#include "util/limits.h"
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

/* ---- in the configuration ---- */

/* Reads one metric.  Return: the configuration, which has no more than another one if it is bad. */
static struct conf *conf_of(const char *metric, struct strbuf *text)
{
	_cleanup_free_ char *xml = xasprintf(
		"<vhostmd><globals/><metrics>\n%s\n"
		"<metric context='vm'><name>n</name><source>domain.name</source></metric>"
		"</metrics></vhostmd>",
		metric);
	struct conf_report report = { .text = text };
	struct conf *conf = NULL;

	assert_int_equal(conf_parse(xml, strlen(xml), "t.conf", &report, &conf), 0);
	return conf;
}

static void a_configuration_asks_for_it_by_source(void **state)
{
	(void)state;
	static const char *const ways[] = { "", " type='histogram'" };

	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		_cleanup_free_ char *metric =
			xasprintf("<metric context='vm'%s><name>w</name>"
				  "<source>delay.histogram</source></metric>",
				ways[i]);
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT,
					       described = STRBUF_INIT;
		struct conf *conf = conf_of(metric, &text);

		assert_string_equal(strbuf_str(&text), "");
		assert_int_equal(conf->specs->specs[0].type, METRIC_HISTOGRAM);
		assert_int_equal(conf->specs->specs[0].kind, SPEC_SOURCE);
		conf_describe(conf, &described);
		assert_non_null(strstr(
			strbuf_str(&described), "histogram source delay.histogram"));
		conf_unref(conf);
	}
}

static void what_it_cannot_be_is_said_with_its_line(void **state)
{
	(void)state;
	static const struct {
		const char *metric, *says;
	} wrong[] = {
		{ "<metric type='uint64' context='vm'><name>w</name>"
		  "<source>delay.histogram</source></metric>",
			"t.conf:2: error: source 'delay.histogram' is a histogram, which is no uint64" },
		{ "<metric type='string' context='vm'><name>w</name>"
		  "<source>delay.histogram</source></metric>",
			"t.conf:2: error: source 'delay.histogram' is a histogram, which is no string" },
		{ "<metric type='histogram' context='vm'><name>w</name>"
		  "<source>delay.p99</source></metric>",
			"t.conf:2: error: source 'delay.p99' is a uint64, which is no histogram" },
		{ "<metric type='histogram' context='vm'><name>w</name>"
		  "<action>echo 1</action></metric>",
			"t.conf:2: error: a histogram needs a <source>" },
		{ "<metric context='vm'><name>w</name>"
		  "<source unit='ms'>delay.histogram</source></metric>",
			"t.conf:2: error: 'delay.histogram' is a histogram, which is shown in base units" },
		{ "<metric type='group' context='vm'><name>w</name><action>x</action>"
		  "<variable name='a' type='histogram'/></metric>",
			"t.conf:2: error: type of a variable must be one of" },
	};

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
		struct conf *conf = conf_of(wrong[i].metric, &text);

		if (!strstr(strbuf_str(&text), wrong[i].says))
			fail_msg("'%s' is not in: %s", wrong[i].says, strbuf_str(&text));
		assert_int_equal(conf->specs->n, 1);
		conf_unref(conf);
	}
}

/* ---- in a list, and a snapshot ---- */

static struct spec_set *specs_of_two(void)
{
	struct spec_set *specs = spec_set_new(2);

	specs->n = 0;
	want(specs, "threads", "process.threads", METRIC_UINT32, NULL);
	want(specs, "waits", "delay.histogram", METRIC_HISTOGRAM, NULL);
	return specs;
}

/* @h: NULL: it cannot be had now. */
static struct metric_list *list_of(struct spec_set *specs, const struct histogram *h)
{
	struct metric_list_builder *b = metric_list_builder_new(specs, 100);
	struct value threads = value_u64(7), waits = value_histogram(h);

	for (uint32_t slot = 0; slot < specs->n; slot++)
		metric_list_builder_add_source(b, slot, NULL,
			specs->specs[slot].type != METRIC_HISTOGRAM ? &threads
				: h                                 ? &waits
								    : NULL);
	return metric_list_builder_finish(b);
}

static void a_list_has_its_own(void **state)
{
	(void)state;
	struct spec_set *specs = specs_of_two(), *others = spec_set_new(1);
	struct histogram h = of(5, 1, 2, 3);
	struct metric_list *list = list_of(specs, &h);
	const struct histogram first = h;

	h.counts[0] = 9;
	const struct metric *m = find(list, "waits");

	assert_true(m->available && histogram_equal(m->value.h, &first));
	assert_int_equal((uintptr_t)m->value.h % sizeof(uint64_t), 0);
	/* with another configuration, and without what another lane has */
	others->n = 0;
	want(others, "waits", "delay.histogram", METRIC_HISTOGRAM, NULL);
	struct metric_list *rebased = metric_list_rebase(list, others);

	metric_list_unref(list);
	assert_int_equal(rebased->n, 1);
	assert_true(histogram_equal(rebased->metrics[0].value.h, &first));
	/* what is the same is as old as it was */
	struct metric_list *same = list_of(others, &first), *more = list_of(others, &h);

	rebased->metrics[0].changed_ns = 4;
	metric_list_carry(same, rebased);
	metric_list_carry(more, rebased);
	assert_int_equal(same->metrics[0].changed_ns, 4);
	assert_int_equal(more->metrics[0].changed_ns, 100);
	metric_list_unref(same);
	metric_list_unref(more);
	metric_list_unref(rebased);
	spec_set_unref(others);
	spec_set_unref(specs);
}

/* Whoever walks over a snapshot's metrics meets none. */
static void a_snapshot_has_it_apart(void **state)
{
	(void)state;
	static const struct vm_ident vm = { .id = 1, .name = "vm" };
	const struct histogram h = of(5, 1, 2, 3);
	struct spec_set *specs = specs_of_two();
	struct metric_list *list = list_of(specs, &h), *other = list_of(specs, NULL);
	struct metric_list *lists[] = { list, other };
	struct snapshot *s = snapshot_new(&vm, 1, lists, 2, 1);

	assert_int_equal(s->n, 1);
	assert_string_equal(snapshot_metric(s, 0)->label->name, "threads");
	assert_null(snapshot_find(s, "waits"));
	assert_int_equal(s->n_histograms, 1); /* the first lane's */
	assert_true(histogram_equal(snapshot_histogram(s, 0)->value.h, &h));
	const struct blob *xml = render_xml_fragment(s);

	assert_null(strstr(xml->data, "waits"));
	assert_non_null(strstr(xml->data, "threads"));
	snapshot_unref(s);
	/* nor is it missed where it cannot be had */
	s = snapshot_new(&vm, 1, &other, 1, 1);
	assert_int_equal(s->n, 1);
	assert_false(snapshot_histogram(s, 0)->available);
	snapshot_unref(s);
	metric_list_unref(list);
	metric_list_unref(other);
	spec_set_unref(specs);
}

/* ---- counters ---- */

static struct histogram settle(struct counters *counters, struct spec_set *specs,
	uint64_t origin, uint64_t a, uint64_t b, uint64_t sum)
{
	const struct histogram h = of(origin, a, b, sum);
	_cleanup_metric_list_ struct metric_list *list = list_of(specs, &h);

	counters_settle(counters, list);
	assert_true(find(list, "waits")->available);
	return *find(list, "waits")->value.h;
}

/* Configured twice it counts once, and whatever it is called it goes on. */
static void it_counts_on_under_two_names(void **state)
{
	(void)state;
	struct spec_set *specs = spec_set_new(2);
	struct counters counters = { 0 };

	specs->n = 0;
	want(specs, "waits", "delay.histogram", METRIC_HISTOGRAM, NULL);
	want(specs, "again", "delay.histogram", METRIC_HISTOGRAM, NULL);
	for (uint64_t n = 1; n < 4; n++) {
		const struct histogram h = of(1, n, 0, 2 * n);
		_cleanup_metric_list_ struct metric_list *list = list_of(specs, &h);

		counters_settle(&counters, list);
		assert_true(histogram_equal(find(list, "waits")->value.h, &h));
		assert_true(histogram_equal(find(list, "again")->value.h, &h));
	}
	assert_int_equal(counters.n_histograms, 1);
	struct histogram shown = settle(&counters, specs, 2, 1, 1, 1);

	assert_int_equal(shown.counts[0], 4);
	assert_int_equal(shown.counts[1], 1);
	assert_int_equal(shown.sum, 7);
	counters_done(&counters);
	spec_set_unref(specs);
}

static void so_many_are_restored(void **state)
{
	(void)state;
	struct counters counters = { 0 };
	struct histogram h = of(0, 1, 2, 3), beyond = h, big = h;

	beyond.counts[histogram_bounds(h.kind)->n + 1] = 1;
	big.counts[0] = HISTOGRAM_MOST + 1;
	assert_int_equal(counters_restore_histogram(&counters, 0, &h), -EINVAL);
	assert_int_equal(counters_restore_histogram(&counters, 1, &beyond), -EINVAL);
	assert_int_equal(counters_restore_histogram(&counters, 1, &big), -EINVAL);
	for (uint64_t key = 1; key <= LIMIT_SCOPE_HISTOGRAMS; key++) {
		assert_int_equal(counters_restore_histogram(&counters, key, &h), 0);
		assert_int_equal(counters_restore_histogram(&counters, key, &h), -EINVAL);
	}
	assert_int_equal(counters_restore_histogram(&counters, 99, &h), -E2BIG);
	assert_true(histogram_equal(counters_histogram(&counters, 1), &h));
	assert_null(counters_histogram(&counters, 99));
	counters_done(&counters);
}

/* ---- from the steps ---- */

/* Each bucket has what is shorter than its bound, and the quantiles are in the same. */
static void steps_become_buckets(void **state)
{
	(void)state;
	const struct histogram_bounds *b = histogram_bounds(HISTOGRAM_WAITS);
	struct histogram *h = delay_histogram_new();
	struct delay_spread spread = { 0 };
	uint64_t below = 0;

	for (uint32_t i = 0; i < DELAY_STEPS; i++) {
		spread.counts[i] = 1000 + i;
		spread.n += 1000 + i;
	}
	spread.max_ns = delay_step_from(DELAY_STEPS - 1);
	spread.by[DELAY_BY_VMS] = 7;
	spread.by[DELAY_BY_UNKNOWN] = 3;
	delay_histogram_add(h, &spread);
	assert_int_equal(histogram_count(h), spread.n);
	assert_int_equal(h->sum, 10 * DELAY_BY_UNIT_NS);
	for (size_t k = 0; k <= b->n; k++) {
		uint64_t n = 0;

		for (uint32_t i = 0; i < DELAY_STEPS; i++)
			if ((k == 0 || delay_step_from(i) >= b->at[k - 1]) &&
				(k == b->n || delay_step_from(i) < b->at[k]))
				n += spread.counts[i];
		assert_int_equal(h->counts[k], n);
		/* the wait of the last rank in a bucket is one of that bucket */
		below += n;
		unsigned percent = (unsigned)(100 * below / spread.n);
		uint64_t p = delay_spread_percentile(&spread, percent);

		assert_true(k == b->n || p <= b->at[k]);
	}
	/* it counts on; who waited for nothing adds nothing */
	delay_histogram_add(h, &spread);
	delay_histogram_add(h, &(struct delay_spread){ 0 });
	assert_int_equal(histogram_count(h), 2 * spread.n);
	assert_int_equal(h->sum, 20 * DELAY_BY_UNIT_NS);
	assert_true(h->origin != 0);
	free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bounds_are_where_steps_begin),
		cmocka_unit_test(nothing_overflows),
		cmocka_unit_test(who_begins_anew_is_added),
		cmocka_unit_test(it_is_no_other_type),
		cmocka_unit_test(a_configuration_asks_for_it_by_source),
		cmocka_unit_test(what_it_cannot_be_is_said_with_its_line),
		cmocka_unit_test(a_list_has_its_own),
		cmocka_unit_test(a_snapshot_has_it_apart),
		cmocka_unit_test(it_counts_on_under_two_names),
		cmocka_unit_test(so_many_are_restored),
		cmocka_unit_test(steps_become_buckets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What collectors bring of the configuration in checkpoint-specs.h, and metrics that are to be
 * the same in the next process.
 */
#pragma once

#include "test.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../fuzz/checkpoint-specs.h"
#include "core/histogram.h"
#include "core/metric_list.h"
#include "core/snapshot.h"
#include "util/clock.h"
#include "util/mem.h"

/* Time is the test's, in place of libc's; early, so that a corpus is of the past. */
static int64_t fake_ns = 2 * NS_PER_S;

int clock_gettime(clockid_t id, struct timespec *ret)
{
	(void)id;
	*ret = ns_to_timespec(fake_ns);
	return 0;
}

/* Slots of checkpoint_specs. */
enum {
	CPU_TIME_HOST,
	LOAD,
	KERNEL,
	CPU_TIME,
	VCPU_TIME,
	RD_BYTES,
	STATE,
	STALE,
	ACT,
	GROUP,
	XML,
	WAITS
};

static const struct vm_ident vm_a = { .uuid = { { 1 } }, .id = 1, .name = "a<b> c" };
static const struct vm_ident vm_b = { .uuid = { { 2 } }, .id = 2, .name = "\xff\xfe" };

/* ---- what collectors bring ---- */

static inline struct metric_list *host_list(const struct plan *plan, double load)
{
	struct metric_list_builder *b = metric_list_builder_new(plan->specs, fake_ns);
	struct value seconds = value_real(1234.5), text = value_string("6.1 \xc3\xa4"),
		     v = value_real(load);

	metric_list_builder_add(b, CPU_TIME_HOST, NULL, &seconds);
	metric_list_builder_add(b, LOAD, NULL, &v);
	metric_list_builder_add(b, KERNEL, NULL, &text);
	return metric_list_builder_finish(b);
}

/* From the kernel's lane. */
static inline struct metric_list *fast_list_of(const struct plan *plan, uint64_t time)
{
	struct metric_list_builder *b = metric_list_builder_new(plan->specs, fake_ns);
	struct value v = value_u64(time), zero = value_u64(0);

	metric_list_builder_add(b, CPU_TIME, NULL, &v);
	metric_list_builder_add(b, VCPU_TIME, "0", &v);
	metric_list_builder_add(b, VCPU_TIME, "1", NULL);
	metric_list_builder_add(b, VCPU_TIME, "17", &zero);
	metric_list_builder_add(b, STALE, NULL, &zero);
	return metric_list_builder_finish(b);
}

/* From libvirt's. */
static inline struct metric_list *slow_list(const struct plan *plan, uint64_t bytes)
{
	struct metric_list_builder *b = metric_list_builder_new(plan->specs, fake_ns);
	struct value v = value_u64(bytes), state = value_i64(-1);

	v.type = METRIC_UINT32;
	metric_list_builder_set_device(b, "vda");
	metric_list_builder_add(b, RD_BYTES, "0", &v);
	metric_list_builder_set_device(b, NULL);
	state.type = METRIC_INT32;
	metric_list_builder_add(b, STATE, NULL, &state);
	return metric_list_builder_finish(b);
}

static inline struct metric_list *act_list(const struct plan *plan, int64_t value)
{
	struct metric_list_builder *b = metric_list_builder_new(plan->specs, fake_ns);
	struct value v = value_i64(value);

	metric_list_builder_add(b, ACT, NULL, &v);
	return metric_list_builder_finish(b);
}

static inline struct metric_list *group_list(const struct plan *plan)
{
	struct metric_list_builder *b = metric_list_builder_new(plan->specs, fake_ns);
	struct value v = value_u64(UINT64_MAX);

	metric_list_builder_add_named(b, GROUP, "a", "MiB", METRIC_UINT64, &v);
	metric_list_builder_add_named(b, GROUP, "b", NULL, METRIC_STRING, NULL);
	return metric_list_builder_finish(b);
}

static inline struct metric_list *xml_list(const struct plan *plan)
{
	struct metric_list_builder *b = metric_list_builder_new(plan->specs, fake_ns);
	struct value empty = value_string(""), tiny = value_real(-4.9e-324),
		     small = value_i64(INT32_MIN);

	metric_list_builder_add_named(b, XML, "x.s", NULL, METRIC_STRING, &empty);
	metric_list_builder_add_named(b, XML, "x.r", "%", METRIC_REAL64, &tiny);
	metric_list_builder_add_named(b, XML, "x.i", NULL, METRIC_INT32, &small);
	return metric_list_builder_finish(b);
}

/* @n waits in each bucket but the first; @origin: who counts. */
static inline struct metric_list *waits_list(
	const struct plan *plan, uint64_t n, uint64_t origin)
{
	struct metric_list_builder *b = metric_list_builder_new(plan->specs, fake_ns);
	struct histogram h = { .kind = HISTOGRAM_WAITS, .origin = origin };
	struct value v = value_histogram(&h);

	for (size_t i = 1; i <= histogram_bounds(h.kind)->n; i++)
		histogram_add(&h, i, n);
	histogram_add_sum(&h, n << 33);
	metric_list_builder_add_source(b, WAITS, NULL, &v);
	return metric_list_builder_finish(b);
}

static inline bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static inline void assert_same_metric(const struct metric *a, const struct metric *b)
{
	assert_string_equal(a->label->name, b->label->name);
	assert_true(same_text(a->label->unit, b->label->unit));
	assert_true(same_text(a->label->index, b->label->index));
	assert_true(same_text(metric_device(a), metric_device(b)));
	assert_true(a->label->series == b->label->series);
	assert_int_equal(a->value.type, b->value.type);
	assert_int_equal(a->available, b->available);
	assert_int_equal(a->changed_ns, b->changed_ns);
	if (a->available && a->value.type == METRIC_STRING)
		assert_string_equal(a->value.s, b->value.s);
	else if (a->available && a->value.type == METRIC_HISTOGRAM)
		assert_true(histogram_equal(a->value.h, b->value.h));
	else if (a->available)
		assert_true(a->value.u == b->value.u); /* a real's bits, too */
}

/* ---- another configuration ---- */

static inline struct plan *changed_plan(void (*change)(struct spec_set *specs))
{
	struct plan *plan = checkpoint_plan();
	struct spec_set *specs = checkpoint_spec_set();

	change(specs);
	struct plan *changed = plan_new(NULL, specs, &plan->settings);

	spec_set_unref(specs);
	plan_unref(plan);
	return changed;
}

/* Without the first metric; one has another type, one another unit. */
static inline void change_specs(struct spec_set *specs)
{
	spec_done(&specs->specs[0]);
	specs->n--;
	memmove(specs->specs, specs->specs + 1, specs->n * sizeof(*specs->specs));
	specs->specs[CPU_TIME - 1].type = METRIC_REAL64;
	free(specs->specs[RD_BYTES - 1].unit);
	specs->specs[RD_BYTES - 1].unit = xstrdup("MiB");
	specs->specs[RD_BYTES - 1].convert = unit_find("MiB");
}

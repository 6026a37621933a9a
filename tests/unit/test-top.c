/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vhostmdctl top without a terminal and without a daemon: what it makes of the daemon's files. */
#include "test.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "prom_text.h"
#include "top_batch.h"
#include "top_columns.h"
#include "top_lines.h"
#include "top_model.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"

#define UUID "6be3fdb8-bef5-6fec-b1b7-e61bbceab708"
#define OTHER "00000000-0000-0000-0000-000000000001"
#define LABELS "{uuid=\"" UUID "\",name=\"web\"}"
#define LABELS_OF(more) "{uuid=\"" UUID "\",name=\"web\"," more "}"
#define INFO "vhostmd_vm_info" LABELS_OF("id=\"7\"") " 1\n"
#define STOOD_S 1000 /* the host has run for so long */
#define PERIOD_MS 5000

/* What the next reading finds; times in ms since the world began. */
struct world {
	struct top_model *model;
	int64_t now_ms, prom_ms; /* read; the newest sample of the document */
	int64_t fast_ms;   /* the last beat, as status has it; -1: it does not say */
	int64_t slow_ms;   /* likewise of the VM UUID */
	const char *marks; /* behind its ages */
};

static struct top_vm *vm_of(const struct world *w)
{
	assert_true(w->model->n > 0);
	for (size_t i = 0; i < w->model->n; i++)
		if (!strcmp(w->model->vms[i]->uuid, UUID))
			return w->model->vms[i];
	fail();
	return NULL;
}

static int64_t real_ns(int64_t ms)
{
	return 1700000000 * NS_PER_S + ms * NS_PER_MS;
}

static char *status_text(const struct world *w)
{
	struct strbuf text = STRBUF_INIT;

	strbuf_addf(
		&text, "version: 2.0.0\nperiod_ms: %d\nnonsense\nvm.x: 1\n", PERIOD_MS);
	if (w->fast_ms >= 0)
		strbuf_addf(&text, "fast.age_ms: %" PRId64 "\n", w->now_ms - w->fast_ms);
	strbuf_addf(&text, "vm." UUID ".age_ms: %" PRId64 "%s\n", w->now_ms - w->fast_ms,
		w->marks);
	strbuf_addf(&text, "vm." UUID ".slow_age_ms: %" PRId64 "%s\n",
		w->slow_ms < 0 ? -1 : w->now_ms - w->slow_ms, w->marks);
	return strbuf_steal(&text);
}

static enum top_news update(struct world *w, const char *prom)
{
	_cleanup_free_ char *text = xstrdup(prom), *status = status_text(w);
	struct top_sample s = { .prom = text,
		.prom_size = strlen(text),
		.prom_real_ns = real_ns(w->prom_ms),
		.status = status,
		.status_size = strlen(status),
		.status_real_ns = real_ns(w->now_ms),
		.real_ns = real_ns(w->now_ms),
		.mono_ns = STOOD_S * NS_PER_S + w->now_ms * NS_PER_MS };

	return top_model_update(w->model, &s);
}

/* A beat of the fast lane at @ms, read a third of a second later. */
static enum top_news beat(struct world *w, int64_t ms, const char *prom)
{
	w->fast_ms = w->prom_ms = ms;
	w->now_ms = ms + 333;
	return update(w, prom);
}

static struct world new_world(void)
{
	return (struct world){ .model = top_model_new(), .slow_ms = -1, .marks = "" };
}

static void free_world(struct world *w)
{
	top_model_free(w->model);
}
#define _cleanup_world_ _cleanup_(free_world)

#define assert_near(is, should) assert_true(fabs((is) - (should)) < 1e-3)

static double value(const struct world *w, enum top_column column)
{
	return top_column_value(
		vm_of(w), column, STOOD_S * NS_PER_S + w->now_ms * NS_PER_MS);
}

/* A document with a VM that the kernel shows, and its CPU time. */
static char *cpu_prom(const char *id, double cpu_s)
{
	return xasprintf(
		"# HELP vhostmd_vm_info x\nvhostmd_vm_info" LABELS_OF(
			"id=\"%s\"") " 1\n"
				     "vhostmd_vm_cgroup_cpu_throttled_time_seconds_total" LABELS
				     " 0\n"
				     "vhostmd_vm_cpu_time_seconds_total" LABELS " %.3f\n"
				     "vhostmd_vm_vcpu_current" LABELS " 2\n",
		id, cpu_s);
}

static enum top_news cpu_beat(struct world *w, int64_t ms, const char *id, double cpu_s)
{
	_cleanup_free_ char *prom = cpu_prom(id, cpu_s);

	return beat(w, ms, prom);
}

/* ---- rates ---- */

static void rates_are_of_the_samples_times(void **state)
{
	_cleanup_world_ struct world w = new_world();
	_cleanup_free_ char *first = cpu_prom("7", 10), *second = cpu_prom("7", 12.5);

	(void)state;
	w.fast_ms = w.prom_ms = 5000;
	w.now_ms = 9000; /* read late */
	assert_int_equal(update(&w, first), TOP_NEW);
	assert_true(isnan(value(&w, COLUMN_CPU)));
	assert_int_equal(beat(&w, 10000, second), TOP_NEW);
	assert_near(value(&w, COLUMN_CPU), 50);
	assert_near(value(&w, COLUMN_AGE), 0.333);
}

static void what_was_not_sampled_anew_keeps_its_rate(void **state)
{
	_cleanup_world_ struct world w = new_world();
	_cleanup_free_ char *prom = cpu_prom("7", 11);

	(void)state;
	cpu_beat(&w, 5000, "7", 10);
	cpu_beat(&w, 10000, "7", 11);
	assert_near(value(&w, COLUMN_CPU), 20);
	for (w.now_ms = 11000; w.now_ms < 15000; w.now_ms += 1000) {
		assert_int_equal(update(&w, prom), TOP_OLD);
		assert_near(value(&w, COLUMN_CPU), 20);
	}
	/* ages have ms alone */
	w.fast_ms++;
	assert_int_equal(update(&w, prom), TOP_OLD);
	assert_near(value(&w, COLUMN_CPU), 20);
	assert_int_equal(cpu_beat(&w, 15000, "7", 12), TOP_NEW);
	assert_near(value(&w, COLUMN_CPU), 20);
	/* one that was missed */
	assert_int_equal(cpu_beat(&w, 25000, "7", 14), TOP_NEW);
	assert_near(value(&w, COLUMN_CPU), 20);
}

static void documents_that_do_not_go_together_wait(void **state)
{
	_cleanup_world_ struct world w = new_world();
	_cleanup_free_ char *older = cpu_prom("7", 11), *newer = cpu_prom("7", 12);

	(void)state;
	cpu_beat(&w, 5000, "7", 10);
	cpu_beat(&w, 10000, "7", 11);
	/* the next beat is in the one and not in the other */
	w.now_ms = 14999;
	w.prom_ms = 15001;
	assert_int_equal(update(&w, newer), TOP_UNSURE);
	assert_near(value(&w, COLUMN_CPU), 20);
	w.fast_ms = 15000;
	w.now_ms = 15100;
	w.prom_ms = 10000;
	assert_int_equal(update(&w, older), TOP_UNSURE);
	assert_near(value(&w, COLUMN_CPU), 20);
	assert_int_equal(cpu_beat(&w, 15000, "7", 12), TOP_NEW);
	assert_near(value(&w, COLUMN_CPU), 20);
}

static void nobody_waits_for_them_for_ever(void **state)
{
	_cleanup_world_ struct world w = new_world();
	_cleanup_free_ char *prom = cpu_prom("7", 12);

	(void)state;
	cpu_beat(&w, 5000, "7", 10);
	w.fast_ms = 10000;
	w.now_ms = 10100;
	assert_int_equal(update(&w, prom), TOP_UNSURE);
	assert_int_equal(update(&w, prom), TOP_UNSURE);
	assert_int_equal(update(&w, prom), TOP_NEW);
	assert_near(value(&w, COLUMN_CPU), 40);
}

static void without_status_the_documents_time_is_taken(void **state)
{
	_cleanup_world_ struct world w = new_world();
	_cleanup_free_ char *first = cpu_prom("7", 10), *second = cpu_prom("7", 11);

	(void)state;
	w.fast_ms = -1;
	w.prom_ms = 5000;
	w.now_ms = 5100;
	update(&w, first);
	w.prom_ms = 15000;
	w.now_ms = 17000;
	assert_int_equal(update(&w, second), TOP_NEW);
	assert_near(value(&w, COLUMN_CPU), 10);
}

static void what_is_old_is_stale(void **state)
{
	_cleanup_world_ struct world w = new_world();
	const struct top_model *m = w.model;

	(void)state;
	assert_false(top_is_stale(m, m->sampled_ns, 5 * NS_PER_S));
	cpu_beat(&w, 5000, "7", 10);
	assert_false(top_is_stale(m, m->sampled_ns, (STOOD_S + 19) * NS_PER_S));
	assert_true(top_is_stale(m, m->sampled_ns, (STOOD_S + 21) * NS_PER_S));
}

/* A daemon that starts tells an age of its fast lane from before there was one. */
static void before_the_first_beat_there_is_no_age(void **state)
{
	_cleanup_world_ struct world w = new_world();

	(void)state;
	w.marks = "\nfast.cycles: 0";
	w.prom_ms = 4000;
	w.now_ms = 5000;
	w.fast_ms = 5000 - STOOD_S * 1000 + 1;
	assert_int_equal(update(&w, "vhostmd_up 1\n"), TOP_NEW);
	assert_int_equal(w.model->sampled_ns, (STOOD_S + 4) * NS_PER_S);
}

static void counters_that_fall_begin_anew(void **state)
{
	_cleanup_world_ struct world w = new_world();

	(void)state;
	cpu_beat(&w, 5000, "7", 10);
	cpu_beat(&w, 10000, "7", 11);
	cpu_beat(&w, 15000, "7", 3);
	assert_true(isnan(value(&w, COLUMN_CPU)));
	cpu_beat(&w, 20000, "7", 5);
	assert_near(value(&w, COLUMN_CPU), 40);
}

static void another_run_begins_anew(void **state)
{
	_cleanup_world_ struct world w = new_world();

	(void)state;
	cpu_beat(&w, 5000, "7", 10);
	cpu_beat(&w, 10000, "7", 11);
	assert_int_equal(vm_of(&w)->n_points, 2);
	/* it may have used more by now than the one before */
	cpu_beat(&w, 15000, "8", 100);
	assert_true(isnan(value(&w, COLUMN_CPU)));
	cpu_beat(&w, 20000, "8", 101);
	assert_true(isnan(value(&w, COLUMN_CPU)) || value(&w, COLUMN_CPU) < 21);
	cpu_beat(&w, 25000, "8", 102);
	assert_near(value(&w, COLUMN_CPU), 20);
}

/* It was sampled when it was found, between two beats, and nobody says when that was. */
static void one_that_starts_begins_with_the_next_beat(void **state)
{
	_cleanup_world_ struct world w = new_world();
	_cleanup_free_ char *found = cpu_prom("7", 1);

	(void)state;
	beat(&w, 5000, "vhostmd_up 1\n");
	assert_int_equal(w.model->n, 0);
	beat(&w, 10000, "vhostmd_up 1\n");
	w.now_ms = 14000;
	w.prom_ms = 13900;
	update(&w, found);
	cpu_beat(&w, 15000, "7", 1.5);
	assert_true(isnan(value(&w, COLUMN_CPU)));
	cpu_beat(&w, 20000, "7", 2.5);
	assert_near(value(&w, COLUMN_CPU), 20);
}

/* Of a VM that the kernel does not show libvirt tells everything, somewhat later than the beat. */
static void what_libvirt_tells_later_is_no_rate_of_zero(void **state)
{
	_cleanup_world_ struct world w = new_world();

	(void)state;
	for (int i = 1; i < 12; i++) {
		_cleanup_free_ char *prom = xasprintf(
			INFO "vhostmd_vm_cpu_time_seconds_total" LABELS " %d\n", i / 2);

		/* every other reading finds the beat, and libvirt's answer not yet */
		w.slow_ms = 5000 * (i / 2 * 2) + 100;
		beat(&w, 5000 * i, prom);
		if (i >= 5)
			assert_near(value(&w, COLUMN_CPU), 10);
	}
}

#define DISK LABELS_OF("device=\"vda\"")
static char *disk_prom(int n)
{
	return xasprintf(INFO "vhostmd_vm_block_rd_bytes_total" DISK " %d\n"
			      "vhostmd_vm_block_wr_bytes_total" DISK " 7\n"
			      "vhostmd_vm_block_rd_reqs_total" DISK " %d\n"
			      "vhostmd_vm_block_rd_time_seconds_total" DISK " %.3f\n"
			      "vhostmd_vm_block_wr_reqs_total" DISK " 5\n",
		n * 1024, n, n * 0.002);
}

static void disks_have_the_slow_lanes_times(void **state)
{
	_cleanup_world_ struct world w = new_world();
	_cleanup_free_ char *first = disk_prom(100), *second = disk_prom(250),
			    *third = disk_prom(400);

	(void)state;
	w.slow_ms = 4000;
	beat(&w, 5000, first);
	assert_true(isnan(value(&w, COLUMN_READ)));
	beat(&w, 10000, first);
	assert_true(isnan(value(&w, COLUMN_READ)));
	w.slow_ms = 19000;
	beat(&w, 20000, second);
	assert_near(value(&w, COLUMN_READ), 10 * 1024);
	assert_near(value(&w, COLUMN_REQUESTS), 10);
	assert_near(value(&w, COLUMN_LATENCY), 2);
	assert_near(value(&w, COLUMN_WRITTEN), 0);
	beat(&w, 25000, second);
	assert_near(value(&w, COLUMN_READ), 10 * 1024);
	/* status tells of an answer that is not in the document yet */
	w.fast_ms = w.prom_ms = 30000;
	w.now_ms = 34100;
	w.slow_ms = 34000;
	update(&w, second);
	assert_near(value(&w, COLUMN_READ), 10 * 1024);
	beat(&w, 35000, third);
	assert_near(value(&w, COLUMN_READ), 10 * 1024);
	assert_near(value(&w, COLUMN_LATENCY), 2);
}

static void a_disk_that_is_plugged_in_spoils_nothing(void **state)
{
	_cleanup_world_ struct world w = new_world();
	_cleanup_free_ char *first = disk_prom(100), *second = disk_prom(200);
	_cleanup_free_ char *both =
		xasprintf("%svhostmd_vm_block_rd_bytes_total" LABELS_OF(
				  "device=\"vdb\"") " 99999999\n",
			second);

	(void)state;
	w.slow_ms = 5000;
	beat(&w, 5000, first);
	w.slow_ms = 15000;
	beat(&w, 15000, both);
	assert_int_equal(vm_of(&w)->things[TOP_DISK].n, 2);
	assert_near(value(&w, COLUMN_READ), 10 * 1024);
	w.slow_ms = 25000;
	beat(&w, 25000, second);
	assert_int_equal(vm_of(&w)->things[TOP_DISK].n, 1);
	assert_near(value(&w, COLUMN_READ), 0);
}

static void shares_are_of_the_vcpus_time(void **state)
{
	_cleanup_world_ struct world w = new_world();
	char *prom[2];

	(void)state;
	for (int i = 0; i < 2; i++) {
		prom[i] = xasprintf(INFO
			"vhostmd_vm_cgroup_cpu_throttled_time_seconds_total" LABELS
			" %d\n"
			"vhostmd_vm_pressure_memory_some_seconds_total" LABELS " %.2f\n"
			"vhostmd_vm_vcpu_current" LABELS " 2\n"
			"vhostmd_vm_vcpu_delay_seconds_total" LABELS_OF(
				"vcpu=\"0\"") " %d\n"
					      "vhostmd_vm_vcpu_delay_seconds_total" LABELS_OF(
						      "vcpu=\"1\"") " %d\n",
			100 * i, 0.25 * i, i, 2 * i);
		beat(&w, 5000 * (i + 1), prom[i]);
		free(prom[i]);
	}
	assert_near(value(&w, COLUMN_STEAL), 30);
	assert_near(value(&w, COLUMN_THROTTLED), 100);
	assert_near(value(&w, COLUMN_PRESSURE), 5);
	assert_near(vm_of(&w)->things[TOP_VCPU].at[1].rate[TOP_VCPU_DELAY], 0.4);
}

static void the_daemons_own_rates_do_at_first(void **state)
{
	_cleanup_world_ struct world w = new_world();

	(void)state;
	beat(&w, 5000,
		INFO "vhostmd_vm_usage_cpu_ratio" LABELS " 0.25\n"
		     "vhostmd_vm_usage_steal_ratio" LABELS " 0.125\n"
		     "vhostmd_vm_vcpu_current" LABELS " 4\n");
	assert_near(value(&w, COLUMN_CPU), 100);
	assert_near(value(&w, COLUMN_STEAL), 12.5);
}

static void vms_that_are_gone_are_not_shown(void **state)
{
	_cleanup_world_ struct world w = new_world();

	(void)state;
	beat(&w, 5000,
		INFO "vhostmd_vm_info{uuid=\"" OTHER "\",name=\"db\",id=\"2\"} 1\n");
	assert_int_equal(w.model->n, 2);
	assert_string_equal(w.model->vms[0]->name, "db");
	w.marks = " stale silent";
	beat(&w, 10000, INFO);
	assert_int_equal(w.model->n, 1);
	assert_true(vm_of(&w)->stale && vm_of(&w)->silent);
}

static void of_the_last_minutes_the_newest_are_kept(void **state)
{
	_cleanup_world_ struct world w = new_world();

	(void)state;
	for (int i = 1; i <= TOP_POINTS + 20; i++)
		cpu_beat(&w, 5000 * i, "7", 0.05 * i * i);
	assert_int_equal(vm_of(&w)->n_points, TOP_POINTS);
	for (size_t i = 1; i < TOP_POINTS; i++) {
		const struct top_point *newer = top_vm_point(vm_of(&w), i - 1);
		const struct top_point *older = top_vm_point(vm_of(&w), i);

		assert_true(newer->value[GRAPH_CPU] > older->value[GRAPH_CPU]);
		assert_int_equal(newer->ns - older->ns, 5 * NS_PER_S);
	}
	assert_null(top_vm_point(vm_of(&w), TOP_POINTS));
}

/* ---- texts ---- */

static void lines_that_are_none_are_passed_over(void **state)
{
	char text[] =
		"# TYPE x gauge\nx{a=\"1\\\\\\\"\\n2\",b=\"\"} 1e3\n\nx\nx 1 2\nx{a} 1\n"
		"x{a=\"} 1\nx{a=\"1\"}1\nx{a=\"1\" 1\nx NaN\n{a=\"1\"} 1\nx{} -2.5\ny 7";
	struct prom_text t;
	struct prom_line line;

	(void)state;
	prom_text_begin(&t, text, sizeof(text) - 1);
	assert_true(prom_text_next(&t, &line));
	assert_string_equal(prom_text_label(&line, "a"), "1\\\"\n2");
	assert_string_equal(prom_text_label(&line, "b"), "");
	assert_null(prom_text_label(&line, "c"));
	assert_near(line.value, 1000);
	assert_true(prom_text_next(&t, &line));
	assert_near(line.value, -2.5);
	assert_int_equal(line.n_labels, 0);
	assert_true(prom_text_next(&t, &line));
	assert_string_equal(line.family, "y");
	assert_false(prom_text_next(&t, &line));
}

static struct top_record record_of(const struct world *w, const struct top_vm **vms)
{
	return (struct top_record){ .model = w->model,
		.vms = vms,
		.n = 1,
		.mono_ns = STOOD_S * NS_PER_S + w->now_ms * NS_PER_MS,
		.real_ns = real_ns(w->now_ms) };
}

#define HOSTILE                                                                          \
	"vhostmd_vm_info{uuid=\"" UUID "\",name=\"a,\\\"b\\n\x1b[2J\xff=\",id=\"7\"} 1\n"

static void csv_is_rfc_4180s(void **state)
{
	_cleanup_world_ struct world w = new_world();
	_cleanup_strbuf_ struct strbuf head = STRBUF_INIT, out = STRBUF_INIT;

	(void)state;
	beat(&w, 5000,
		HOSTILE "vhostmd_vm_vcpu_current{uuid=\"" UUID "\",name=\"x\"} 2\n");
	const struct top_vm *vm = vm_of(&w);
	const struct top_record record = record_of(&w, &vm);
	size_t commas = 0, should = 0;
	bool quoted = false;

	top_csv_add_header(&head);
	top_csv_add(&record, &out);
	assert_string_equal(strbuf_str(&out),
		"1700000005.333," UUID ",\"7\","
		"\"a,\"\"b\\x0a\\x1b[2J\\xff=\",,2,,,,,,,,,,,,,0.333,0,0\r\n");
	for (const char *p = strbuf_str(&out); *p; p++) {
		quoted ^= *p == '"';
		commas += *p == ',' && !quoted;
	}
	for (const char *p = strbuf_str(&head); *p; p++)
		should += *p == ',';
	assert_int_equal(commas, should);
}

static void json_is_json_whatever_the_name(void **state)
{
	_cleanup_world_ struct world w = new_world();
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

	(void)state;
	beat(&w, 5000,
		HOSTILE "vhostmd_vm_net_rx_bytes_total{uuid=\"" UUID
			"\",name=\"x\",device=\"e\\\"\x07\"} 5\n");
	const struct top_vm *vm = vm_of(&w);
	const struct top_record record = record_of(&w, &vm);

	top_json_add(&record, &out);
	assert_true(utf8_valid(strbuf_str(&out), out.len));
	assert_non_null(strstr(
		strbuf_str(&out), "{\"name\": \"a,\\\"b\\\\x0a\\\\x1b[2J\\\\xff=\""));
	assert_non_null(
		strstr(strbuf_str(&out), "[{\"name\": \"e\\\"\\u0007\", \"received"));
	assert_ptr_equal(strchr(strbuf_str(&out), '\n'), out.data + out.len - 1);
	assert_null(strstr(strbuf_str(&out), "nan"));
}

static void nothing_of_others_reaches_the_screen(void **state)
{
	_cleanup_world_ struct world w = new_world();
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

	(void)state;
	beat(&w, 5000,
		HOSTILE "vhostmd_vm_block_rd_bytes_total{uuid=\"" UUID
			"\",name=\"x\",device=\"\x1b[31m\"} 5\n");
	top_vm_add(vm_of(&w), 20, true, 0, &out);
	top_host_add(w.model, &out);
	top_help_add(w.model, &out);
	assert_true(utf8_valid(strbuf_str(&out), out.len));
	for (size_t i = 0; i < out.len; i++)
		assert_true(out.data[i] == '\n' || (unsigned char)out.data[i] >= 0x20);
	assert_non_null(strstr(strbuf_str(&out), "\\x1b[31m"));
}

static void graphs_are_as_high_as_their_figures(void **state)
{
	_cleanup_world_ struct world w = new_world();
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

	(void)state;
	cpu_beat(&w, 5000, "7", 0);
	cpu_beat(&w, 10000, "7", 5);
	cpu_beat(&w, 15000, "7", 5);
	cpu_beat(&w, 20000, "7", 7.6);
	top_vm_add(vm_of(&w), 48, false, 0, &out);
	assert_non_null(strstr(strbuf_str(&out), "The last 15 s\n"));
	assert_non_null(strstr(strbuf_str(&out), "   52.0 |     #_=| of 100.0\n"));
}

static void what_nobody_has_is_said(void **state)
{
	_cleanup_world_ struct world w = new_world();
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

	(void)state;
	top_lacking_add(w.model, "; ", &out);
	assert_int_equal(out.len, 0); /* no VM: nobody knows */
	cpu_beat(&w, 5000, "7", 0);
	top_lacking_add(w.model, "; ", &out);
	assert_non_null(strstr(strbuf_str(&out), "STATE (state.state)"));
	assert_null(strstr(strbuf_str(&out), "CPU% ("));
	assert_null(strstr(strbuf_str(&out), "THR% ("));
}

static void numbers_are_short(void **state)
{
	static const struct {
		double value;
		enum top_format format;
		const char *text;
	} cases[] = {
		{ NAN, FORMAT_SIZE, "-" },
		{ INFINITY, FORMAT_PERCENT, "-" },
		{ 0, FORMAT_SIZE, "0" },
		{ 999, FORMAT_SIZE, "999" },
		{ 1000, FORMAT_SIZE, "1.0K" },
		{ 10 << 20, FORMAT_SIZE, "10M" },
		{ 1e18, FORMAT_SIZE, "888P" },
		{ 12.34, FORMAT_PERCENT, "12.3" },
		{ 12345, FORMAT_PERCENT, "12345" },
		{ 0.123, FORMAT_MS, "0.12" },
		{ 1e9, FORMAT_NUMBER, "1e+09" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

		top_format_add(cases[i].value, cases[i].format, &out);
		assert_string_equal(strbuf_str(&out), cases[i].text);
	}
}

/* ---- many ---- */

static void a_thousand_are_sorted_and_filtered(void **state)
{
	enum { VMS = 1000 };
	_cleanup_world_ struct world w = new_world();
	_cleanup_strbuf_ struct strbuf prom = STRBUF_INIT;
	const struct top_vm **vms = NULL;
	struct top_query query = { .filter = "", .sort = COLUMN_MEMORY };

	(void)state;
	/* not in the order of their uuids */
	for (unsigned i = 0; i < VMS; i++)
		strbuf_addf(&prom,
			"vhostmd_vm_info{uuid=\"%08x-0000-0000-0000-000000000000\","
			"name=\"vm-%u\",id=\"%u\"} 1\n",
			i * 2654435761u, i, i);
	for (unsigned i = 1; i < VMS; i++)
		strbuf_addf(&prom,
			"vhostmd_vm_balloon_rss_bytes{uuid=\"%08x-0000-0000-0000-"
			"000000000000\",name=\"vm-%u\"} %u\n",
			i * 2654435761u, i, i * 7919 % VMS);
	beat(&w, 5000, strbuf_str(&prom));
	assert_int_equal(w.model->n, VMS);
	assert_int_equal(top_select(w.model, &query, 0, &vms), VMS);
	for (size_t i = 1; i + 1 < VMS; i++)
		assert_true(top_column_value(vms[i - 1], COLUMN_MEMORY, 0) >=
			top_column_value(vms[i], COLUMN_MEMORY, 0));
	assert_string_equal(vms[VMS - 1]->name, "vm-0"); /* not known: last */
	free(vms);
	query = (struct top_query){
		.filter = "vm-?", .sort = COLUMN_NAME, .reverse = true
	};
	assert_int_equal(top_select(w.model, &query, 0, &vms), 10);
	assert_string_equal(vms[0]->name, "vm-9");
	free(vms);
	query = (struct top_query){ .filter = "M-99", .sort = COLUMN_NAME };
	assert_int_equal(top_select(w.model, &query, 0, &vms), 11);
	assert_string_equal(vms[1]->name, "vm-990");
	free(vms);
}

static void columns_are_found(void **state)
{
	(void)state;
	for (size_t i = 0; i < TOP_COLUMNS; i++) {
		const struct top_column_info *c = &top_columns[i];

		assert_int_equal(top_column_find(c->sort), i);
		if (c->key)
			assert_int_equal(top_column_of_key(c->key), i);
		/* keys of the screen's own */
		assert_null(c->key ? strchr("qrh/?", c->key) : NULL);
	}
	assert_int_equal(top_column_find("size"), TOP_COLUMNS);
	assert_int_equal(top_column_of_key('x'), TOP_COLUMNS);
	assert_int_equal(top_column_of_key(0), TOP_COLUMNS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rates_are_of_the_samples_times),
		cmocka_unit_test(what_was_not_sampled_anew_keeps_its_rate),
		cmocka_unit_test(documents_that_do_not_go_together_wait),
		cmocka_unit_test(nobody_waits_for_them_for_ever),
		cmocka_unit_test(without_status_the_documents_time_is_taken),
		cmocka_unit_test(what_is_old_is_stale),
		cmocka_unit_test(before_the_first_beat_there_is_no_age),
		cmocka_unit_test(counters_that_fall_begin_anew),
		cmocka_unit_test(another_run_begins_anew),
		cmocka_unit_test(one_that_starts_begins_with_the_next_beat),
		cmocka_unit_test(what_libvirt_tells_later_is_no_rate_of_zero),
		cmocka_unit_test(disks_have_the_slow_lanes_times),
		cmocka_unit_test(a_disk_that_is_plugged_in_spoils_nothing),
		cmocka_unit_test(shares_are_of_the_vcpus_time),
		cmocka_unit_test(the_daemons_own_rates_do_at_first),
		cmocka_unit_test(vms_that_are_gone_are_not_shown),
		cmocka_unit_test(of_the_last_minutes_the_newest_are_kept),
		cmocka_unit_test(lines_that_are_none_are_passed_over),
		cmocka_unit_test(csv_is_rfc_4180s),
		cmocka_unit_test(json_is_json_whatever_the_name),
		cmocka_unit_test(nothing_of_others_reaches_the_screen),
		cmocka_unit_test(graphs_are_as_high_as_their_figures),
		cmocka_unit_test(what_nobody_has_is_said),
		cmocka_unit_test(numbers_are_short),
		cmocka_unit_test(a_thousand_are_sorted_and_filtered),
		cmocka_unit_test(columns_are_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

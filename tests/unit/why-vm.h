/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VM that nothing holds back, as two snapshots show it, and what may hold it back.  For tests
 * of guest/why*.c that are one file each.
 */
#pragma once

#include "guest-root.h"

#include <math.h>

#include "dump.h"
#include "util/strbuf.h"
#include "why.h"

#define SECONDS 20.0

/* A metric before and now, as a host writes it; a NULL name: it is not told. */
struct told {
	const char *name, *type, *unit;
	bool is_host;
	char before[64], now[64];
};

#define NUMBER(name, unit, before, now)                                                  \
	{                                                                                \
		name, "real64", unit, false, before, now                                 \
	}
#define HOSTS(name, unit, before, now)                                                   \
	{                                                                                \
		name, "real64", unit, true, before, now                                  \
	}
#define DISK(n, device)                                                                  \
	{ "block." n ".name", "string", "", false, device, device },                     \
		NUMBER("block." n ".rd.reqs", "", "100", "200"),                         \
		NUMBER("block." n ".rd.bytes", "B", "1000000", "2000000"),               \
		NUMBER("block." n ".rd.times", "ns", "100000000", "200000000"),          \
		NUMBER("block." n ".wr.reqs", "", "100", "200"),                         \
		NUMBER("block." n ".wr.bytes", "B", "1000000", "2000000"),               \
		NUMBER("block." n ".wr.times", "ns", "100000000", "200000000"),          \
		NUMBER("block." n ".fl.reqs", "", "10", "20"),                           \
		NUMBER("block." n ".fl.times", "ns", "10000000", "20000000"),            \
		NUMBER("block." n ".iotune.total_iops_sec", "", "1000", "1000"),         \
		NUMBER("block." n ".iotune.read_bytes_sec", "B", "10000000", "10000000")

/* A VM that nothing holds back. */
static const struct told well[] = {
	HOSTS("host.uptime", "s", "1000", "1020"),
	HOSTS("TotalPhyCPUs", "", "4", "4"),
	HOSTS("TotalCPUTime", "s", "100", "110"),
	HOSTS("host.cpu.steal", "s", "3", "3"),
	HOSTS("host.overcommit.cpu", "", "2.5", "2.5"),
	HOSTS("host.overcommit.memory", "", "0.5", "0.5"),
	HOSTS("host.pressure.memory.some.avg10", "%", "0", "0"),
	NUMBER("domain.session", "", "5", "5"),
	NUMBER("sample.generation", "", "1", "2"),
	NUMBER("sample.slow.age", "s", "3", "3"),
	NUMBER("sample.stale", "", "0", "0"),
	{ "sample.unavailable", "string", "", false, "", "" },
	{ "domain.unlimited", "string", "", false, "", "" },
	NUMBER("vcpu.current", "", "2", "2"),
	NUMBER("vcpu.0.time", "s", "50", "51"),
	NUMBER("vcpu.0.delay", "s", "1", "1.02"),
	NUMBER("vcpu.1.time", "s", "50", "51"),
	NUMBER("vcpu.1.delay", "s", "1", "1.02"),
	NUMBER("usage.steal", "%", "0", "0"),
	NUMBER("usage.throttled", "%", "0", "0"),
	NUMBER("usage.memory.pressure", "%", "0", "0"),
	NUMBER("domain.cpu.limit", "", "2", "2"),
	NUMBER("cgroup.cpu.throttled.time", "s", "7", "7"),
	NUMBER("pressure.memory.some.total", "us", "100", "100"),
	NUMBER("balloon.current", "MiB", "512", "512"),
	NUMBER("balloon.maximum", "MiB", "512", "512"),
	NUMBER("balloon.rss", "MiB", "300", "300"),
	DISK("0", "vda"),
	DISK("1", "vdb"),
};

struct vm {
	struct told told[ARRAY_LEN(well)];
};

static inline struct vm a_well_one(void)
{
	struct vm vm;

	memcpy(vm.told, well, sizeof(well));
	return vm;
}

static inline struct told *find(struct vm *vm, const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(vm->told); i++)
		if (vm->told[i].name && !strcmp(vm->told[i].name, name))
			return &vm->told[i];
	fail_msg("no %s", name);
	return NULL;
}

static inline void set(
	struct vm *vm, const char *name, const char *before, const char *now)
{
	struct told *t = find(vm, name);

	snprintf(t->before, sizeof(t->before), "%s", before);
	snprintf(t->now, sizeof(t->now), "%s", now);
}

static inline void set_now(struct vm *vm, const char *name, double now)
{
	struct told *t = find(vm, name);

	snprintf(t->now, sizeof(t->now), "%.9f", now);
}

static inline void grow(struct vm *vm, const char *name, double by)
{
	set_now(vm, name, strtod(find(vm, name)->now, NULL) + by);
}

static inline void drop(struct vm *vm, const char *name)
{
	find(vm, name)->name = NULL;
}

/* ---- looking ---- */

/* @more: metrics besides. */
static inline struct vhostmd_snapshot *snapshot(
	struct vhostmd_source *s, const struct vm *vm, bool is_now, const char *more)
{
	_cleanup_strbuf_ struct strbuf doc = STRBUF_INIT;

	strbuf_adds(&doc, "<metrics>");
	for (size_t i = 0; i < ARRAY_LEN(vm->told); i++) {
		const struct told *t = &vm->told[i];

		if (!t->name)
			continue;
		strbuf_addf(&doc, "<metric type='%s' context='%s' unit='%s'", t->type,
			t->is_host ? "host" : "vm", t->unit);
		if (!t->is_host)
			strbuf_adds(&doc, " id='1' uuid='" OWN "'");
		strbuf_addf(&doc, "><name>%s</name><value>%s</value></metric>", t->name,
			is_now ? t->now : t->before);
	}
	strbuf_adds(&doc, more);
	strbuf_adds(&doc, "</metrics>\r");
	put_image("/dev/one", strbuf_str(&doc), 0);
	return read_source(s);
}

static inline struct why_report look_with(const struct vm *vm, const char *more)
{
	make_folders("/dev/one");
	struct vhostmd_source *s = open_source(below("/dev/one"));
	struct vhostmd_snapshot *before = snapshot(s, vm, false, more);
	struct vhostmd_snapshot *now = snapshot(s, vm, true, more);
	struct why_report report;

	why_look(before, now, &report);
	vhostmd_snapshot_free(before);
	vhostmd_snapshot_free(now);
	vhostmd_close(s);
	/* whatever there was to be seen, it can be told */
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	dump_why(&report, &text);
	dump_why_json(&report, &text);
	for (size_t i = 0; i < report.n; i++)
		for (size_t k = 0; k < WHY_FIGURE_COUNT; k++)
			assert_true(!isinf(report.entries[i].figures[k]));
	return report;
}

static inline struct why_report look(const struct vm *vm)
{
	return look_with(vm, "");
}

/* These degrees, and WHY_NONE of all others, which are 0 there. */
static inline void check_degrees(const struct why_report *r,
	const enum why_degree expected[static WHY_CAUSE_COUNT])
{
	assert_int_equal(r->error, 0);
	for (int i = 0; i < WHY_CAUSE_COUNT; i++) {
		enum why_degree is = why_degree_of(r, (enum why_cause)i);
		enum why_degree should = expected[i] ? expected[i] : WHY_NONE;

		if (is != should)
			fail_msg(
				"cause %d: is %d, should be %d", i, (int)is, (int)should);
	}
}

static inline void check_one(
	const struct vm *vm, enum why_cause cause, enum why_degree degree)
{
	enum why_degree expected[WHY_CAUSE_COUNT] = { 0 };
	struct why_report r = look(vm);

	expected[cause] = degree;
	check_degrees(&r, expected);
	assert_int_equal(why_verdict(&r), degree);
	why_done(&r);
}

/* A cause is not known for want of a metric, and no other cause is seen. */
static inline void check_unknown(
	const struct vm *vm, enum why_cause cause, const char *metric_name, int error)
{
	struct why_report r = look(vm);
	bool found = false;

	assert_int_equal(r.error, 0);
	for (size_t i = 0; i < r.n; i++) {
		const struct why_entry *e = &r.entries[i];

		assert_true(e->degree <= WHY_NONE);
		found |= e->cause == cause && e->degree == WHY_UNKNOWN &&
			e->error == error && !strcmp(e->metric, metric_name);
	}
	if (!found)
		fail_msg("%s is not named", metric_name);
	assert_int_equal(why_degree_of(&r, cause), WHY_UNKNOWN);
	assert_int_equal(why_verdict(&r), WHY_UNKNOWN);
	why_done(&r);
}

static inline void check_words(
	const struct vm *vm, bool json, const char *const *words, size_t n)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct why_report r = look(vm);

	(json ? dump_why_json : dump_why)(&r, &text);
	for (size_t i = 0; i < n; i++)
		if (!strstr(strbuf_str(&text), words[i]))
			fail_msg("no '%s' in:\n%s", words[i], strbuf_str(&text));
	why_done(&r);
}

#define CHECK_WORDS(vm, json, ...)                                                       \
	check_words(vm, json, (const char *const[]){ __VA_ARGS__ },                      \
		ARRAY_LEN(((const char *const[]){ __VA_ARGS__ })))

/* ---- causes ---- */

static inline void be_stolen(struct vm *vm)
{
	grow(vm, "vcpu.0.delay", 9);
}

/* What the quota stops waits, too, in the kernel's figures. */
static inline void be_stopped(struct vm *vm)
{
	grow(vm, "cgroup.cpu.throttled.time", 12);
	grow(vm, "vcpu.0.delay", 6);
	grow(vm, "vcpu.1.delay", 6);
	set_now(vm, "domain.cpu.limit", 0.4);
}

static inline void be_pressed(struct vm *vm)
{
	grow(vm, "pressure.memory.some.total", 5e6);
}

static inline void be_ballooned(struct vm *vm)
{
	set_now(vm, "balloon.current", 256);
}

static inline void be_slow(struct vm *vm)
{
	grow(vm, "block.0.rd.times", 100 * 80e6);
}

static inline void be_limited(struct vm *vm)
{
	set(vm, "block.1.iotune.total_iops_sec", "10", "10");
	grow(vm, "block.1.wr.times", 100 * 80e6);
}

static inline void be_overcommitted(struct vm *vm)
{
	be_stolen(vm);
	grow(vm, "TotalCPUTime", 68);
}

static inline void be_stolen_below(struct vm *vm)
{
	grow(vm, "host.cpu.steal", 16);
}

static inline void be_short(struct vm *vm)
{
	be_pressed(vm);
	set_now(vm, "host.pressure.memory.some.avg10", 30);
}

/* Those that say why another one is have that one first. */
static const struct {
	void (*apply)(struct vm *vm);
	enum why_cause causes[2];
} all_causes[] = {
	{ be_stolen, { WHY_STEAL, WHY_STEAL } },
	{ be_stopped, { WHY_QUOTA, WHY_QUOTA } },
	{ be_pressed, { WHY_MEMORY, WHY_MEMORY } },
	{ be_ballooned, { WHY_BALLOON, WHY_BALLOON } },
	{ be_slow, { WHY_DISK_LATENCY, WHY_DISK_LATENCY } },
	{ be_limited, { WHY_DISK_LIMIT, WHY_DISK_LIMIT } },
	{ be_overcommitted, { WHY_STEAL, WHY_HOST_CPU } },
	{ be_stolen_below, { WHY_HOST_STEAL, WHY_HOST_STEAL } },
	{ be_short, { WHY_MEMORY, WHY_HOST_MEMORY } },
};

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What holds a VM back, from two snapshots: each cause alone and with each other, and how much. */
#include "why-vm.h"

static void nothing_is_said_as_clearly(void **state)
{
	(void)state;
	struct vm vm = a_well_one();

	check_one(&vm, WHY_STEAL, WHY_NONE);
	CHECK_WORDS(&vm, false, "Nothing holds this VM back, as seen in 20.0 s.\n",
		"No cause:\n", "  cpu steal        vCPU 0 waited 0.1 % of the time",
		"  balloon          the balloon has taken 0 of 512 MiB\n",
		"2.5 virtual CPUs are promised");
	CHECK_WORDS(&vm, true, "\"held_back\": \"none\"", "\"seconds\": 20.000");
}

static void each_cause_is_named_alone(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all_causes); i++) {
		enum why_degree expected[WHY_CAUSE_COUNT] = { 0 };
		struct vm vm = a_well_one();

		all_causes[i].apply(&vm);
		expected[all_causes[i].causes[0]] = WHY_MUCH;
		expected[all_causes[i].causes[1]] = WHY_MUCH;
		struct why_report r = look(&vm);

		check_degrees(&r, expected);
		why_done(&r);
	}
}

static void each_cause_is_named_beside_each_other(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all_causes); i++) {
		for (size_t k = i + 1; k < ARRAY_LEN(all_causes); k++) {
			enum why_degree expected[WHY_CAUSE_COUNT] = { 0 };
			struct vm vm = a_well_one();

			all_causes[i].apply(&vm);
			all_causes[k].apply(&vm);
			for (size_t n = 0; n < 2; n++) {
				expected[all_causes[i].causes[n]] = WHY_MUCH;
				expected[all_causes[k].causes[n]] = WHY_MUCH;
			}
			struct why_report r = look(&vm);

			check_degrees(&r, expected);
			why_done(&r);
		}
	}
}

static void causes_have_words_and_figures(void **state)
{
	(void)state;
	struct vm vm = a_well_one();

	for (size_t i = 0; i < ARRAY_LEN(all_causes); i++)
		all_causes[i].apply(&vm);
	CHECK_WORDS(&vm, false, "This VM is held back much, as seen in 20.0 s.\n",
		"  cpu steal        much  vCPU 0 waited ",
		"  cpu quota        much  its CPU quota stopped it for 12.00 s, 86 %",
		"may keep 0.4 of the host's CPUs busy\n",
		"  memory pressure  much  waited for memory",
		"  balloon          much  the balloon has taken 256 of 512 MiB (50 %)",
		"  disk latency     much  disk vda (block.0): 100 reads took 81.0 ms",
		"  disk limit       much  disk vdb (block.1): 10.0 of 10.0 permitted "
		"(total_iops_sec)");
	CHECK_WORDS(&vm, true, "\"held_back\": \"much\"",
		"{\"cause\": \"cpu steal\", \"degree\": \"much\", \"subject\": "
		"\"vcpu.0\", \"lost_percent\": ",
		"\"device\": \"vdb\", \"kind\": \"writes\", \"limited\": \"total_iops_sec\"");
}

/* ---- degrees ---- */

static void degrees_begin_where_the_manual_says(void **state)
{
	(void)state;
	static const struct {
		enum why_cause cause;
		const char *name;
		double none, some, much; /* what the figure grows by */
	} rows[] = {
		{ WHY_STEAL, "vcpu.1.delay", 0.97, 0.99, 1.99 },
		{ WHY_MEMORY, "pressure.memory.some.total", 0.99e6, 1.01e6, 2.01e6 },
		{ WHY_BALLOON, "balloon.current", -25, -26, -129 },
		{ WHY_DISK_LATENCY, "block.0.wr.times", 1.89e9, 1.91e9, 4.91e9 },
		{ WHY_HOST_STEAL, "host.cpu.steal", 3.99, 4.01, 8.01 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const double by[] = { rows[i].none, rows[i].some, rows[i].much };

		for (size_t k = 0; k < ARRAY_LEN(by); k++) {
			struct vm vm = a_well_one();

			grow(&vm, rows[i].name, by[k]);
			check_one(
				&vm, rows[i].cause, (enum why_degree)(WHY_NONE + (int)k));
		}
	}
}

/* 2 s of running, 20 s in all. */
static void a_quota_is_judged_by_what_would_have_run(void **state)
{
	(void)state;
	static const struct {
		double stopped;
		enum why_degree degree;
	} rows[] = { { 0.99, WHY_NONE }, { 1.01, WHY_MUCH } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct vm vm = a_well_one();

		grow(&vm, "cgroup.cpu.throttled.time", rows[i].stopped);
		check_one(&vm, WHY_QUOTA, rows[i].degree);
	}
	struct vm vm = a_well_one();

	grow(&vm, "cgroup.cpu.throttled.time", 1.5);
	grow(&vm, "vcpu.0.time", 18);
	check_one(&vm, WHY_QUOTA, WHY_SOME);
}

static void what_the_quota_stops_is_not_stolen(void **state)
{
	(void)state;
	struct vm vm = a_well_one();

	be_stopped(&vm);
	grow(&vm, "vcpu.0.delay", 0.8);
	check_one(&vm, WHY_QUOTA, WHY_MUCH);
}

/* Where few requests are made none of them holds a VM back. */
static void a_slow_disk_must_matter(void **state)
{
	(void)state;
	struct vm vm = a_well_one();

	set(&vm, "block.0.rd.reqs", "100", "105");
	set(&vm, "block.0.rd.times", "0", "900000000");
	check_one(&vm, WHY_DISK_LATENCY, WHY_NONE);
	vm = a_well_one();
	/* many that are quick */
	set(&vm, "block.0.rd.reqs", "100", "20000");
	grow(&vm, "block.0.rd.times", 19e9);
	drop(&vm, "block.0.iotune.total_iops_sec");
	check_one(&vm, WHY_DISK_LATENCY, WHY_NONE);
}

/* Figures of the monitor are of a time of their own. */
static void a_limit_is_reached_in_the_time_of_its_figures(void **state)
{
	(void)state;
	struct vm vm = a_well_one();

	be_limited(&vm); /* 200 requests, 10 each second */
	set(&vm, "sample.slow.age", "14", "4");
	check_one(&vm, WHY_DISK_LIMIT, WHY_MUCH); /* in 30 s, in bursts */
	set(&vm, "block.1.wr.times", "0", "1200000000");
	check_one(&vm, WHY_DISK_LIMIT, WHY_NONE); /* and nothing waited long */
	set(&vm, "sample.slow.age", "4", "4");
	check_one(&vm, WHY_DISK_LIMIT, WHY_SOME);
	set(&vm, "block.1.iotune.total_iops_sec", "30", "30");
	be_slow(&vm);
	check_one(&vm, WHY_DISK_LATENCY, WHY_MUCH);
}

static void an_overcommitted_host_holds_back_who_waits(void **state)
{
	(void)state;
	struct vm vm = a_well_one();

	grow(&vm, "TotalCPUTime", 68);
	check_one(&vm, WHY_HOST_CPU, WHY_NONE);
	be_stolen(&vm);
	set_now(&vm, "host.overcommit.cpu", 1);
	check_one(&vm, WHY_STEAL, WHY_MUCH);
	drop(&vm, "host.overcommit.cpu");
	struct why_report r = look(&vm);

	assert_int_equal(why_degree_of(&r, WHY_HOST_CPU), WHY_UNKNOWN);
	assert_int_equal(why_verdict(&r), WHY_MUCH);
	why_done(&r);
}

/* ---- other figures ---- */

static void rates_of_the_host_do_in_place_of_counters(void **state)
{
	(void)state;
	static const char *const counters[] = { "vcpu.0.delay", "vcpu.1.delay",
		"cgroup.cpu.throttled.time", "pressure.memory.some.total" };
	static const struct {
		enum why_cause cause;
		const char *name;
	} rates[] = { { WHY_STEAL, "usage.steal" }, { WHY_QUOTA, "usage.throttled" },
		{ WHY_MEMORY, "usage.memory.pressure" } };
	struct vm vm = a_well_one();

	for (size_t i = 0; i < ARRAY_LEN(counters); i++)
		drop(&vm, counters[i]);
	check_one(&vm, WHY_STEAL, WHY_NONE);
	for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
		struct vm one = vm;

		set_now(&one, rates[i].name, 30);
		check_one(&one, rates[i].cause, WHY_MUCH);
		set_now(&one, rates[i].name, 130);
		check_unknown(&one, rates[i].cause, rates[i].name, VHOSTMD_ERR_RANGE);
	}
	/* half of the waiting is the quota's */
	set_now(&vm, "usage.steal", 12);
	set_now(&vm, "usage.throttled", 6);
	struct why_report r = look(&vm);

	assert_int_equal(why_degree_of(&r, WHY_STEAL), WHY_SOME);
	why_done(&r);
}

static void a_vm_waits_for_memory_no_longer_than_its_host(void **state)
{
	(void)state;
	struct vm vm = a_well_one();

	drop(&vm, "pressure.memory.some.total");
	drop(&vm, "usage.memory.pressure");
	check_one(&vm, WHY_MEMORY, WHY_NONE);
	set_now(&vm, "host.pressure.memory.some.avg10", 12);
	struct why_report r = look(&vm);

	assert_int_equal(why_degree_of(&r, WHY_MEMORY), WHY_UNKNOWN);
	assert_int_equal(why_degree_of(&r, WHY_HOST_MEMORY), WHY_MUCH);
	why_done(&r);
}

/* As configurations may have them; without a unit it is the source's own. */
static void units_are_the_hosts(void **state)
{
	(void)state;
	static const struct {
		const char *name, *unit, *before, *now;
	} rows[] = {
		{ "vcpu.0.delay", "ns", "1000000000", "10000000000" },
		{ "vcpu.0.delay", "", "1000000000", "10000000000" },
		{ "vcpu.0.delay", "ms", "1000", "10000" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct vm vm = a_well_one();

		set(&vm, rows[i].name, rows[i].before, rows[i].now);
		find(&vm, rows[i].name)->unit = rows[i].unit;
		check_one(&vm, WHY_STEAL, WHY_MUCH);
	}
	struct vm vm = a_well_one();

	find(&vm, "balloon.current")->unit = "furlong";
	check_unknown(&vm, WHY_BALLOON, "balloon.current", VHOSTMD_ERR_RANGE);
	find(&vm, "balloon.current")->unit = "s";
	check_unknown(&vm, WHY_BALLOON, "balloon.current", VHOSTMD_ERR_RANGE);
	/* KiB */
	set(&vm, "balloon.current", "524288", "524288");
	find(&vm, "balloon.current")->unit = "";
	check_one(&vm, WHY_BALLOON, WHY_NONE);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(nothing_is_said_as_clearly),
		T(each_cause_is_named_alone),
		T(each_cause_is_named_beside_each_other),
		T(causes_have_words_and_figures),
		T(degrees_begin_where_the_manual_says),
		T(a_quota_is_judged_by_what_would_have_run),
		T(what_the_quota_stops_is_not_stolen),
		T(a_slow_disk_must_matter),
		T(a_limit_is_reached_in_the_time_of_its_figures),
		T(an_overcommitted_host_holds_back_who_waits),
		T(rates_of_the_host_do_in_place_of_counters),
		T(a_vm_waits_for_memory_no_longer_than_its_host),
		T(units_are_the_hosts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

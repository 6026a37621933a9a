/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What holds a VM back, where it is not known: for want of figures, with snapshots that do not fit
 * together, and with figures that cannot be true.
 */
#include "why-vm.h"

/* ---- not known ---- */

static void what_is_not_told_is_not_known(void **state)
{
	(void)state;
	static const struct {
		enum why_cause cause;
		const char *dropped[6], *named;
	} rows[] = {
		{ WHY_STEAL, { "vcpu.0.delay", "vcpu.1.delay", "usage.steal" },
			"vcpu.*.delay" },
		{ WHY_QUOTA,
			{ "cgroup.cpu.throttled.time", "usage.throttled",
				"domain.cpu.limit" },
			"usage.throttled" },
		{ WHY_MEMORY,
			{ "pressure.memory.some.total", "usage.memory.pressure",
				"host.pressure.memory.some.avg10" },
			"usage.memory.pressure" },
		{ WHY_BALLOON, { "balloon.maximum" }, "balloon.maximum" },
		{ WHY_BALLOON, { "balloon.current" }, "balloon.current" },
		{ WHY_DISK_LATENCY, { "block.0.rd.reqs" }, "block.0.rd.reqs" },
		{ WHY_DISK_LATENCY, { "block.1.wr.times" }, "block.1.wr.times" },
		{ WHY_DISK_LIMIT,
			{ "block.1.iotune.total_iops_sec",
				"block.1.iotune.read_bytes_sec" },
			"block.1.iotune.*" },
		{ WHY_HOST_STEAL, { "host.cpu.steal" }, "host.cpu.steal" },
		{ WHY_HOST_STEAL, { "TotalPhyCPUs" }, "host.cpu.count" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct vm vm = a_well_one();

		for (size_t k = 0; rows[i].dropped[k]; k++)
			drop(&vm, rows[i].dropped[k]);
		check_unknown(&vm, rows[i].cause, rows[i].named, VHOSTMD_ERR_NO_METRIC);
	}
	struct vm vm = a_well_one();

	drop(&vm, "balloon.maximum");
	CHECK_WORDS(&vm, false, "Nothing that is known holds this VM back",
		"Not known:\n  balloon          the host does not tell "
		"balloon.maximum\n");
	be_slow(&vm);
	CHECK_WORDS(&vm, false, "This VM is held back much", "Not known:\n  balloon ");
	CHECK_WORDS(
		&vm, true, "\"degree\": \"unknown\", \"metric\": \"balloon.maximum\"");
}

static void what_cannot_be_told_now_is_not_known(void **state)
{
	(void)state;
	struct vm vm = a_well_one();

	drop(&vm, "vcpu.0.delay");
	drop(&vm, "vcpu.1.delay");
	set(&vm, "sample.unavailable", "usage.steal", "usage.steal balloon.current");
	drop(&vm, "usage.steal");
	check_unknown(&vm, WHY_STEAL, "usage.steal", VHOSTMD_ERR_UNAVAILABLE);
	vm = a_well_one();
	drop(&vm, "balloon.current");
	set(&vm, "sample.unavailable", "", "balloon.current");
	check_unknown(&vm, WHY_BALLOON, "balloon.current", VHOSTMD_ERR_UNAVAILABLE);
	CHECK_WORDS(&vm, false, "the host cannot tell balloon.current now");
}

static void limits_that_are_not_set_are_known(void **state)
{
	(void)state;
	struct vm vm = a_well_one();

	drop(&vm, "block.1.iotune.total_iops_sec");
	drop(&vm, "block.1.iotune.read_bytes_sec");
	set(&vm, "domain.unlimited", "", "block.1.iotune.total_bytes_sec");
	check_one(&vm, WHY_DISK_LIMIT, WHY_NONE);
	/* nor is a quota */
	drop(&vm, "cgroup.cpu.throttled.time");
	drop(&vm, "usage.throttled");
	check_one(&vm, WHY_QUOTA, WHY_NONE);
	set_now(&vm, "domain.cpu.limit", 0.5);
	check_unknown(&vm, WHY_QUOTA, "usage.throttled", VHOSTMD_ERR_NO_METRIC);
}

static void disks_that_the_host_did_not_look_at_are_not_known(void **state)
{
	(void)state;
	struct vm vm = a_well_one();

	be_slow(&vm);
	set(&vm, "sample.slow.age", "1", "21");
	check_unknown(&vm, WHY_DISK_LATENCY, "block.*.rd.times", VHOSTMD_ERR_SAME_SAMPLE);
	CHECK_WORDS(&vm, false, "try a longer --interval");
	set(&vm, "sample.slow.age", "1", "1");
	set_now(&vm, "sample.stale", 1);
	check_unknown(&vm, WHY_DISK_LIMIT, "block.*.rd.times", VHOSTMD_ERR_SAME_SAMPLE);
	CHECK_WORDS(&vm, false, "no answer from this VM's monitor");
}

static void a_vm_without_disks_has_no_slow_one(void **state)
{
	(void)state;
	static const char count[] = "<metric type='uint32' context='vm' id='1' uuid='" OWN
				    "'><name>block.count</name><value>0</value></metric>";
	struct vm vm = a_well_one();

	for (size_t i = 0; i < ARRAY_LEN(vm.told); i++)
		if (!strncmp(vm.told[i].name, "block.", 6))
			vm.told[i].name = NULL;
	check_unknown(&vm, WHY_DISK_LATENCY, "block.*.rd.times", VHOSTMD_ERR_NO_METRIC);
	struct why_report r = look_with(&vm, count);

	assert_int_equal(why_verdict(&r), WHY_NONE);
	why_done(&r);
}

/* ---- snapshots that do not fit together ---- */

static void counters_that_were_set_back_say_nothing(void **state)
{
	(void)state;
	static const struct {
		enum why_cause cause;
		const char *name;
	} rows[] = { { WHY_STEAL, "vcpu.0.delay" },
		{ WHY_QUOTA, "cgroup.cpu.throttled.time" },
		{ WHY_MEMORY, "pressure.memory.some.total" },
		{ WHY_DISK_LATENCY, "block.0.rd.times" },
		{ WHY_DISK_LATENCY, "block.0.fl.reqs" },
		{ WHY_DISK_LIMIT, "block.1.wr.reqs" },
		{ WHY_HOST_STEAL, "host.cpu.steal" } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct vm vm = a_well_one();

		set_now(&vm, rows[i].name, 0.5);
		check_unknown(&vm, rows[i].cause, rows[i].name, VHOSTMD_ERR_RESET);
	}
}

static void of_a_vm_that_moved_nothing_is_said(void **state)
{
	(void)state;
	struct vm vm = a_well_one();

	for (size_t i = 0; i < ARRAY_LEN(all_causes); i++)
		all_causes[i].apply(&vm);
	set_now(&vm, "domain.session", 6);
	struct why_report r = look(&vm);

	assert_int_equal(r.error, VHOSTMD_ERR_MOVED);
	assert_int_equal(r.n, 0);
	why_done(&r);
	CHECK_WORDS(&vm, false,
		"It is not known whether anything holds this VM back: it "
		"was started, restored or\nmigrated");
	CHECK_WORDS(&vm, true, "\"held_back\": \"unknown\"", "\"causes\": [\n  ]");
	vm = a_well_one();
	set(&vm, "sample.generation", "1", "1");
	r = look(&vm);
	assert_int_equal(r.error, VHOSTMD_ERR_SAME_SAMPLE);
	why_done(&r);
	CHECK_WORDS(&vm, false, "both are of the same sample");
}

/* A document of the host's alone: nothing is said of this VM. */
static void without_this_vm_nothing_is_said(void **state)
{
	(void)state;
	struct vm vm = a_well_one();

	for (size_t i = 0; i < ARRAY_LEN(vm.told); i++)
		if (!vm.told[i].is_host)
			vm.told[i].name = NULL;
	struct why_report r = look(&vm);

	assert_int_equal(r.error, VHOSTMD_ERR_IDENTITY);
	why_done(&r);
}

static void vcpus_that_come_and_go_are_no_fault(void **state)
{
	(void)state;
	static const char plugged[] =
		"<metric type='real64' context='vm' unit='s' id='1' "
		"uuid='" OWN "'><name>%s</name><value>9</value></metric>";
	struct vm vm = a_well_one();
	char more[256];

	struct vhostmd_source *s = open_source(below("/dev/one"));
	struct vhostmd_snapshot *two = snapshot(s, &vm, false, "");

	snprintf(more, sizeof(more), plugged, "vcpu.2.delay");
	struct vhostmd_snapshot *three = snapshot(s, &vm, true, more);
	struct why_report r;

	why_look(two, three, &r);
	assert_int_equal(why_degree_of(&r, WHY_STEAL), WHY_NONE);
	why_done(&r);
	vhostmd_snapshot_free(two);
	two = snapshot(s, &vm, false, more);
	vhostmd_snapshot_free(three);
	three = snapshot(s, &vm, true, "");
	why_look(two, three, &r);
	assert_int_equal(why_degree_of(&r, WHY_STEAL), WHY_NONE);
	why_done(&r);
	vhostmd_snapshot_free(two);
	vhostmd_snapshot_free(three);
	vhostmd_close(s);
}

/* ---- what cannot be true ---- */

static void impossible_times_are_not_believed(void **state)
{
	(void)state;
	struct vm vm = a_well_one();

	grow(&vm, "vcpu.0.delay", 3600);
	check_unknown(&vm, WHY_STEAL, "vcpu.0.delay", VHOSTMD_ERR_RANGE);
	vm = a_well_one();
	grow(&vm, "pressure.memory.some.total", 3600e6);
	check_unknown(&vm, WHY_MEMORY, "pressure.memory.some.total", VHOSTMD_ERR_RANGE);
	vm = a_well_one();
	grow(&vm, "cgroup.cpu.throttled.time", 1e9);
	check_unknown(&vm, WHY_QUOTA, "cgroup.cpu.throttled.time", VHOSTMD_ERR_RANGE);
	vm = a_well_one();
	grow(&vm, "host.cpu.steal", 3600);
	check_unknown(&vm, WHY_HOST_STEAL, "host.cpu.steal", VHOSTMD_ERR_RANGE);
	vm = a_well_one();
	set(&vm, "balloon.maximum", "0", "0");
	check_unknown(&vm, WHY_BALLOON, "balloon.maximum", VHOSTMD_ERR_RANGE);
	vm = a_well_one();
	set(&vm, "block.1.iotune.total_iops_sec", "0", "0");
	check_unknown(
		&vm, WHY_DISK_LIMIT, "block.1.iotune.total_iops_sec", VHOSTMD_ERR_RANGE);
}

/* Any one figure may be anything: nothing comes of it but degrees and finite figures. */
static void hostile_values_do_no_harm(void **state)
{
	(void)state;
	static const char *const values[] = { "nan", "inf", "-1", "1e308",
		"18446744073709551615", "0", "1e-308", "", "x", "&#10;" };

	for (size_t i = 0; i < ARRAY_LEN(well); i++) {
		for (size_t k = 0; k < ARRAY_LEN(values); k++) {
			struct vm vm = a_well_one();
			struct told *t = &vm.told[i];
			size_t which = (i + k) % 3; /* before, now, both */

			if (which != 0)
				snprintf(t->now, sizeof(t->now), "%s", values[k]);
			if (which != 1)
				snprintf(t->before, sizeof(t->before), "%s", values[k]);
			struct why_report r = look(&vm);

			for (int c = 0; c < WHY_CAUSE_COUNT; c++)
				assert_in_range(why_degree_of(&r, (enum why_cause)c),
					WHY_UNKNOWN, WHY_MUCH);
			why_done(&r);
		}
	}
}

static void there_are_only_so_many_vcpus(void **state)
{
	(void)state;
	static const char *const odd[] = { "vcpu..delay", "vcpu.00.delay",
		"vcpu.-1.delay", "vcpu.1024.delay", "vcpu.4294967296.delay",
		"vcpu.1.5.delay", "vcpu.0.delayx", "vcpu.99999999999999999999.delay",
		"vcpu.", "block.0", "block.01.rd.reqs" };
	_cleanup_strbuf_ struct strbuf more = STRBUF_INIT;
	struct vm vm = a_well_one();
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(odd) + 1500; i++) {
		strbuf_adds(&more,
			"<metric type='real64' context='vm' unit='s' id='1' "
			"uuid='" OWN "'><name>");
		if (i < ARRAY_LEN(odd))
			strbuf_adds(&more, odd[i]);
		else
			strbuf_addf(&more, "vcpu.%zu.delay", i - ARRAY_LEN(odd));
		strbuf_adds(&more, "</name><value>1</value></metric>");
	}
	struct why_report r = look_with(&vm, strbuf_str(&more));

	for (size_t i = 0; i < r.n; i++)
		n += r.entries[i].cause == WHY_STEAL;
	assert_int_equal(n, 1024);
	assert_int_equal(why_verdict(&r), WHY_NONE);
	why_done(&r);
}

/* What a host calls a disk goes to a terminal. */
static void names_of_the_host_are_made_harmless(void **state)
{
	(void)state;
	struct vm vm = a_well_one();

	be_slow(&vm);
	set(&vm, "block.0.name", "x", "a&#10;\"b\\");
	CHECK_WORDS(&vm, false, "disk a \"b\\ (block.0): ");
	CHECK_WORDS(&vm, true, "\"device\": \"a\\u000a\\\"b\\\\\"");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_is_not_told_is_not_known),
		T(what_cannot_be_told_now_is_not_known),
		T(limits_that_are_not_set_are_known),
		T(disks_that_the_host_did_not_look_at_are_not_known),
		T(a_vm_without_disks_has_no_slow_one),
		T(counters_that_were_set_back_say_nothing),
		T(of_a_vm_that_moved_nothing_is_said),
		T(without_this_vm_nothing_is_said),
		T(vcpus_that_come_and_go_are_no_fault),
		T(impossible_times_are_not_believed),
		T(hostile_values_do_no_harm),
		T(there_are_only_so_many_vcpus),
		T(names_of_the_host_are_made_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

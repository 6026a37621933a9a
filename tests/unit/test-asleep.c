/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * VMs that sleep: what is not read again, when it is read even so.
 * Files say here what a kernel would never let them say, so that it shows who reads them.
 */
#include "fixture.h"
#include "samples.h"

#include "collect/kernel/qemu_cgroup.h"
#include "util/clock.h"

#define EVERYTHING (~UINT64_C(0))
#define SCOPE "machine.slice/machine-qemu\\x2d3\\x2da.scope"
#define AT(file) "sys/fs/cgroup/" SCOPE "/" file
#define LOOK_SAMPLES 16

static const char group_text[] = "0::/" SCOPE "/libvirt/emulator\n";

static void set_usage(struct fixture *f, unsigned us)
{
	char text[96];

	snprintf(text, sizeof(text), "usage_usec %u\nuser_usec 1\nsystem_usec 2\n", us);
	fixture_add(f, AT("cpu.stat"), text);
}

static void set_pressure(
	struct fixture *f, const char *what, const char *average, unsigned total)
{
	char path[128], text[192];

	snprintf(path, sizeof(path), AT("%s.pressure"), what);
	snprintf(text, sizeof(text),
		"some avg10=%s avg60=0.00 avg300=0.00 total=%u\n"
		"full avg10=0.00 avg60=0.00 avg300=0.00 total=%u\n",
		average, total, total / 2);
	fixture_add(f, path, text);
}

/* ---- cgroups ---- */

struct group {
	struct fixture f;
	struct qemu_cgroup cg;
	struct vm_sample s;
	int64_t mono_ns;
};

static void group_init(struct group *g)
{
	*g = (struct group){ .cg = QEMU_CGROUP_INIT, .mono_ns = NS_PER_S };
	fixture_init(&g->f);
	set_usage(&g->f, 3000);
	set_pressure(&g->f, "cpu", "0.00", 40);
	set_pressure(&g->f, "memory", "0.00", 40);
	set_pressure(&g->f, "io", "0.00", 40);
	qemu_cgroup_open(g->f.fd, group_text, EVERYTHING, &g->cg);
}

static void group_done(struct group *g)
{
	qemu_cgroup_done(&g->cg);
	fixture_done(&g->f);
}

/* Samples after some time.  Return: the total of a file of pressures. */
static uint64_t total_after(struct group *g, int64_t ns, enum vm_key key)
{
	vm_sample_clear(&g->s);
	g->s.mono_ns = g->mono_ns += ns;
	assert_true(qemu_cgroup_sample(&g->cg, &g->s));
	return fact_u64(&g->s, key);
}

static void who_waits_before_it_sleeps_is_seen(void **state)
{
	(void)state;
	static const struct {
		const char *what;
		enum vm_key some, full;
	} files[] = { { "memory", VM_PRESSURE_MEMORY_SOME_TOTAL,
			      VM_PRESSURE_MEMORY_FULL_TOTAL },
		{ "io", VM_PRESSURE_IO_SOME_TOTAL, VM_PRESSURE_IO_FULL_TOTAL } };

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		struct group g;
		enum vm_key key = files[i].some;

		group_init(&g);
		assert_int_equal(total_after(&g, NS_PER_S, key), 40);
		assert_false(qemu_cgroup_slept(&g.cg)); /* there was none before */
		/* a thread waits on, for as long as it takes, and nobody runs */
		for (unsigned total = 50; total < 400; total += 10) {
			set_pressure(&g.f, files[i].what, "0.00", total);
			assert_int_equal(total_after(&g, NS_PER_S, key), total);
			assert_true(qemu_cgroup_slept(&g.cg));
		}
		/* it waits no more: the next sample shows that, those behind need no file */
		assert_int_equal(total_after(&g, NS_PER_S, key), 390);
		set_pressure(&g.f, files[i].what, "0.00", 500);
		for (int k = 0; k < LOOK_SAMPLES - 1; k++) {
			assert_int_equal(total_after(&g, NS_PER_S, key), 390);
			assert_int_equal(fact_u64(&g.s, files[i].full), 195);
			assert_true(g.s.facts[key - 3].have);
			assert_true(g.s.facts[key - 3].value.real == 0);
		}
		/* but it is looked at now and then */
		assert_int_equal(total_after(&g, NS_PER_S, key), 500);
		assert_int_equal(total_after(&g, NS_PER_S, key), 500);
		set_pressure(&g.f, files[i].what, "0.00", 600);
		assert_int_equal(total_after(&g, NS_PER_S, key), 500);
		/* and as soon as somebody has run */
		set_usage(&g.f, 3001);
		assert_int_equal(total_after(&g, NS_PER_S, key), 600);
		assert_false(qemu_cgroup_slept(&g.cg));
		group_done(&g);
	}
}

/* Averages fall by themselves, and who is ready but gets no processor does not run. */
static void what_moves_by_itself_is_read_each_time(void **state)
{
	(void)state;
	struct group g;

	group_init(&g);
	for (unsigned i = 0; i < 40; i++) {
		char average[8];

		snprintf(average, sizeof(average), "0.%02u", 40 - i);
		set_pressure(&g.f, "memory", average, 40);
		set_pressure(&g.f, "cpu", "0.00", 40 + i / 4);
		assert_int_equal(total_after(&g, NS_PER_S, VM_PRESSURE_CPU_SOME_TOTAL),
			40 + i / 4);
		assert_true(g.s.facts[VM_PRESSURE_MEMORY_SOME_AVG10].value.real > 0);
	}
	set_pressure(&g.f, "memory", "0.00", 40);
	(void)total_after(&g, NS_PER_S, VM_PRESSURE_MEMORY_SOME_TOTAL);
	assert_true(g.s.facts[VM_PRESSURE_MEMORY_SOME_AVG10].value.real == 0);
	group_done(&g);
}

/* What a thread that runs just now uses is counted with the next tick. */
static void two_looks_within_a_tick_tell_nothing(void **state)
{
	(void)state;
	const enum vm_key key = VM_PRESSURE_MEMORY_SOME_TOTAL;
	struct group g;

	group_init(&g);
	for (unsigned i = 0; i < 5; i++) {
		set_pressure(&g.f, "memory", "0.00", 40 + i / 4);
		assert_int_equal(total_after(&g, 10 * NS_PER_MS, key), 40 + i / 4);
		assert_false(qemu_cgroup_slept(&g.cg));
	}
	group_done(&g);
}

/* A file that goes away, or is of another form, is not what it was. */
static void what_cannot_be_read_is_not_known_any_more(void **state)
{
	(void)state;
	const enum vm_key key = VM_PRESSURE_MEMORY_SOME_TOTAL;
	struct group g;

	group_init(&g);
	for (int i = 0; i < 3; i++)
		(void)total_after(&g, NS_PER_S, key);
	fixture_add(&g.f, AT("memory.pressure"), "");
	for (int i = 0; i < LOOK_SAMPLES; i++) {
		vm_sample_clear(&g.s);
		g.s.mono_ns = g.mono_ns += NS_PER_S;
		assert_true(qemu_cgroup_sample(&g.cg, &g.s));
	}
	assert_false(g.s.facts[key].have);
	vm_sample_clear(&g.s);
	assert_true(qemu_cgroup_sample(&g.cg, &g.s));
	assert_false(g.s.facts[key].have);
	group_done(&g);
}

static void set_periods(struct fixture *f, const char *path, unsigned periods)
{
	char text[128];

	snprintf(text, sizeof(text),
		"usage_usec 5\nnr_periods %u\nnr_throttled 0\nthrottled_usec 0\n",
		periods);
	fixture_add(f, path, text);
}

/* In a group of a VM that sleeps no period passes; in those above it others may run. */
static void a_quota_above_is_seen_while_the_vm_sleeps(void **state)
{
	(void)state;
	struct group g = { .cg = QEMU_CGROUP_INIT, .mono_ns = NS_PER_S };

	fixture_init(&g.f);
	set_periods(&g.f, "sys/fs/cgroup/machine.slice/cpu.stat", 0);
	set_periods(&g.f, AT("libvirt/vcpu0/cpu.stat"), 0);
	set_usage(&g.f, 3000);
	qemu_cgroup_open(g.f.fd, group_text, EVERYTHING, &g.cg);
	for (int i = 0; i < 2; i++)
		(void)total_after(&g, NS_PER_S, VM_THROTTLE_PERIODS);
	set_periods(&g.f, AT("libvirt/vcpu0/cpu.stat"), 5);
	for (int i = 0; i < 40; i++)
		assert_int_equal(total_after(&g, NS_PER_S, VM_THROTTLE_PERIODS), 0);
	set_periods(&g.f, "sys/fs/cgroup/machine.slice/cpu.stat", 7);
	for (int i = 0; i < LOOK_SAMPLES; i++)
		(void)total_after(&g, NS_PER_S, VM_THROTTLE_PERIODS);
	/* whoever finds one has all of them read */
	assert_int_equal(total_after(&g, NS_PER_S, VM_THROTTLE_PERIODS), 12);
	group_done(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_waits_before_it_sleeps_is_seen),
		cmocka_unit_test(what_moves_by_itself_is_read_each_time),
		cmocka_unit_test(two_looks_within_a_tick_tell_nothing),
		cmocka_unit_test(what_cannot_be_read_is_not_known_any_more),
		cmocka_unit_test(a_quota_above_is_seen_while_the_vm_sleeps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

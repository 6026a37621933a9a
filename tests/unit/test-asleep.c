/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * VMs that sleep: what is not read again, when it is read even so.
 * Files say here what a kernel would never let them say, so that it shows who reads them.
 */
#include "fixture.h"
#include "process.h"
#include "samples.h"

#include <errno.h>

#include "collect/kernel/qemu_cgroup.h"
#include "collect/kernel/qemu_proc.h"
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

/* ---- processes ---- */

#define READ_LITTLE (READS(CPU) | READS(RSS) | READS(VCPUS))

struct process {
	struct fixture f;
	struct qemu_proc *proc;
	struct vm_sample s;
	int64_t mono_ns;
};

static void process_init(struct process *p, uint64_t reads)
{
	*p = (struct process){ .mono_ns = NS_PER_S };
	add_process(&p->f);
	fixture_add(&p->f, "proc/4711/cgroup", group_text);
	fixture_add(&p->f, "proc/4711/statm", "900 20 3 1 0 100 0\n");
	set_usage(&p->f, 3000);
	assert_int_equal(qemu_proc_open(p->f.fd, &ident, reads, &p->proc), 0);
}

static void process_done(struct process *p)
{
	qemu_proc_free(p->proc);
	vm_sample_done(&p->s);
	fixture_done(&p->f);
}

static int sample_process(struct process *p)
{
	vm_sample_clear(&p->s);
	p->s.mono_ns = p->mono_ns += NS_PER_S;
	return qemu_proc_sample(p->proc, &p->s);
}

static uint64_t pages(const struct process *p)
{
	return fact_u64(&p->s, VM_RSS) * 1024 / (uint64_t)sysconf(_SC_PAGESIZE);
}

/* stat has 10 pages here, statm 20. */
static void memory_is_had_from_the_cheaper_file(void **state)
{
	(void)state;
	struct process p;

	process_init(&p, READ_LITTLE);
	assert_int_equal(sample_process(&p), 0);
	assert_int_equal(pages(&p), 20);
	assert_int_equal(p.s.known, READ_LITTLE);
	fixture_add(&p.f, "proc/4711/statm", "900 21 3 1 0 100 0\n");
	assert_int_equal(sample_process(&p), 0);
	assert_int_equal(pages(&p), 21); /* it may change while nobody runs */
	/* one that is cut, or of another form, tells nothing */
	static const char *const odd[] = { "", "9", "900 2", "900 21", "x 21 3\n",
		"900\n", "900 21\n", "0 0 0 0 0 0 0\n", "18446744073709551616 21 3\n" };

	for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
		fixture_add(&p.f, "proc/4711/statm", odd[i]);
		assert_int_equal(sample_process(&p), 0);
		assert_int_equal(pages(&p), 10);
	}
	/* a process that has ended has no memory */
	fixture_add(&p.f, "proc/4711/stat", "4711 (qemu) Z 1 2 3\n");
	assert_int_equal(sample_process(&p), -ESRCH);
	process_done(&p);
}

/* What statm does not have, or no cgroup tells, is read from stat. */
static void the_other_file_is_read_where_it_must_be(void **state)
{
	(void)state;
	struct process p;

	process_init(&p, READ_LITTLE | READS(PROCESS));
	assert_int_equal(sample_process(&p), 0);
	assert_int_equal(pages(&p), 10);
	assert_int_equal(fact_u64(&p.s, VM_MINOR_FAULTS), 500);
	process_done(&p);

	process_init(&p, READ_LITTLE);
	assert_int_equal(unlinkat(p.f.fd, AT("cpu.stat"), 0), 0);
	qemu_proc_free(p.proc);
	assert_int_equal(qemu_proc_open(p.f.fd, &ident, READ_LITTLE, &p.proc), 0);
	assert_int_equal(sample_process(&p), 0);
	assert_int_equal(pages(&p), 10);
	assert_true(p.s.facts[VM_CPU_TIME].have);
	process_done(&p);
}

static void threads_are_noticed_by_their_directory(void **state)
{
	(void)state;
	struct process p;

	process_init(&p, READ_LITTLE);
	for (int i = 0; i < 6; i++) /* one of them never gets a name */
		assert_int_equal(sample_process(&p), 0);
	assert_int_equal(p.s.n_vcpus, 2);
	/* while nobody runs there is no other thread, and none is looked for */
	add_thread(&p.f, 4720, "CPU 2/KVM\n", "3000 30 1\n");
	for (int i = 0; i < 20; i++)
		assert_int_equal(sample_process(&p), 0);
	assert_int_equal(p.s.n_vcpus, 2);
	assert_true(qemu_proc_slept(p.proc));
	set_usage(&p.f, 3100);
	assert_int_equal(sample_process(&p), 0);
	assert_false(qemu_proc_slept(p.proc));
	assert_int_equal(p.s.n_vcpus, 3);
	assert_int_equal(p.s.vcpus[2].delay_ns, 30);
	remove_thread(&p.f, 4713);
	set_usage(&p.f, 3200);
	assert_int_equal(sample_process(&p), 0);
	assert_int_equal(p.s.n_vcpus, 2);
	/* waits may grow while a thread does not run */
	add_thread(&p.f, 4720, "CPU 2/KVM\n", "3000 31 1\n");
	assert_int_equal(sample_process(&p), 0);
	assert_true(qemu_proc_slept(p.proc));
	assert_int_equal(p.s.vcpus[1].delay_ns, 31);
	process_done(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_waits_before_it_sleeps_is_seen),
		cmocka_unit_test(what_moves_by_itself_is_read_each_time),
		cmocka_unit_test(two_looks_within_a_tick_tell_nothing),
		cmocka_unit_test(what_cannot_be_read_is_not_known_any_more),
		cmocka_unit_test(a_quota_above_is_seen_while_the_vm_sleeps),
		cmocka_unit_test(memory_is_had_from_the_cheaper_file),
		cmocka_unit_test(the_other_file_is_read_where_it_must_be),
		cmocka_unit_test(threads_are_noticed_by_their_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

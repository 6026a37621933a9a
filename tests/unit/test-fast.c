/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The fast lane from fixtures: processes, threads, interfaces, rates, limits. */
#include "fast-sample.h"
#include "fixture.h"
#include "plans.h"
#include "process.h"
#include "samples.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <stdatomic.h>

#include "collect/kernel/fast_list.h"
#include "collect/kernel/fast_vm.h"
#include "collect/kernel/link_stats.h"
#include "collect/kernel/qemu_proc.h"
#include "collect/libvirt/domain_xml.h"
#include "model/domain.h"
#include "model/run.h"
#include "util/clock.h"

#define EVERYTHING (~UINT64_C(0))
/* ---- a process ---- */

static void the_process_is_found_and_sampled(void **state)
{
	(void)state;
	struct fixture f;
	struct qemu_proc *proc = NULL;
	struct vm_sample s = { 0 };
	const uint64_t tick = (uint64_t)NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK);

	add_process(&f);
	assert_int_equal(qemu_proc_open(f.fd, &ident, EVERYTHING, &proc), 0);
	assert_int_equal(qemu_proc_start_ticks(proc), 7777);
	assert_int_equal(qemu_proc_pid(proc), 4711);
	assert_true(qemu_proc_runs(f.fd, 4711, 7777));
	assert_false(qemu_proc_runs(f.fd, 4711, 7778)); /* another one with its pid */
	assert_false(qemu_proc_runs(f.fd, 4712, 7777));
	assert_int_equal(qemu_proc_sample(proc, &s), 0);
	assert_int_equal(fact_u64(&s, VM_CPU_USER), 100 * tick);
	assert_int_equal(fact_u64(&s, VM_CPU_TIME), 300 * tick);
	assert_int_equal(fact_u64(&s, VM_THREADS), 4);
	assert_int_equal(fact_u64(&s, VM_MINOR_FAULTS), 500);
	assert_int_equal(fact_u64(&s, VM_MAJOR_FAULTS), 7);
	assert_int_equal(
		fact_u64(&s, VM_RSS), 10 * (uint64_t)sysconf(_SC_PAGESIZE) / 1024);
	assert_int_equal(fact_u64(&s, VM_IO_READ), 5);
	assert_int_equal(fact_u64(&s, VM_IO_WRITE), 50);
	assert_int_equal(fact_u64(&s, VM_IO_WRITE_CALLS), 4);
	assert_int_equal(s.n_vcpus, 2);
	assert_true(s.vcpus[0].number == 0 && s.vcpus[0].time_ns == 1000 &&
		s.vcpus[0].delay_ns == 10 && s.vcpus[0].wait_ns == 2500000);
	assert_true(s.vcpus[1].number == 1 && s.vcpus[1].time_ns == 2000);
	assert_int_equal(s.known, READS(CPU) | READS(RSS) | READS(VCPUS));
	assert_false(s.facts[VM_THROTTLED_TIME].have); /* no cgroup of its own */
	qemu_proc_free(proc);
	vm_sample_done(&s);
	fixture_done(&f);
}

static void threads_that_come_and_go_are_noticed(void **state)
{
	(void)state;
	struct fixture f;
	struct qemu_proc *proc = NULL;
	struct vm_sample s = { 0 };

	add_process(&f);
	assert_int_equal(qemu_proc_open(f.fd, &ident, EVERYTHING, &proc), 0);
	assert_int_equal(qemu_proc_sample(proc, &s), 0);
	assert_int_equal(s.n_vcpus, 2);
	add_thread(&f, 4720, "CPU 2/KVM\n", "3000 30 1\n");
	set_stat(&f, 5);
	vm_sample_clear(&s);
	assert_int_equal(qemu_proc_sample(proc, &s), 0);
	assert_int_equal(s.n_vcpus, 3);
	assert_int_equal(s.vcpus[2].delay_ns, 30);
	remove_thread(&f, 4713);
	set_stat(&f, 4);
	vm_sample_clear(&s);
	assert_int_equal(qemu_proc_sample(proc, &s), 0);
	assert_int_equal(s.n_vcpus, 2);
	assert_true(s.vcpus[0].number == 0 && s.vcpus[1].number == 2);
	/* a thread names itself only after it has started */
	add_thread(&f, 4730, "qemu-system-x86\n", "5000 50 1\n");
	set_stat(&f, 5);
	vm_sample_clear(&s);
	assert_int_equal(qemu_proc_sample(proc, &s), 0);
	assert_int_equal(s.n_vcpus, 2);
	add_thread(&f, 4730, "CPU 3/KVM\n", "5000 50 1\n");
	vm_sample_clear(&s);
	assert_int_equal(qemu_proc_sample(proc, &s), 0);
	assert_true(s.n_vcpus == 3 && s.vcpus[2].number == 3);
	remove_thread(&f, 4730);
	set_stat(&f, 4);
	vm_sample_clear(&s);
	assert_int_equal(qemu_proc_sample(proc, &s), 0);
	assert_int_equal(s.n_vcpus, 2);
	/* one comes as another goes: the number stays the same */
	remove_thread(&f, 4720);
	add_thread(&f, 4721, "CPU 1/KVM\n", "4000 40 1\n");
	for (int i = 0; i < 20; i++) {
		vm_sample_clear(&s);
		s.mono_ns += NS_PER_S;
		assert_int_equal(qemu_proc_sample(proc, &s), 0);
	}
	assert_true(s.n_vcpus == 2 && s.vcpus[1].number == 1);
	qemu_proc_free(proc);
	vm_sample_done(&s);
	fixture_done(&f);
}

static void sample_and_derive(
	struct qemu_proc *proc, struct vm_sample *s, struct vm_counters *last)
{
	int64_t mono_ns = s->mono_ns + NS_PER_S;

	vm_sample_clear(s);
	s->mono_ns = mono_ns;
	assert_int_equal(qemu_proc_sample(proc, s), 0);
	vm_sample_derive(s, last);
}

/* All that the VM used is its vCPUs', its I/O threads' or the emulator's. */
static void emulator_and_io_threads_are_told_apart(void **state)
{
	(void)state;
	struct fixture f;
	struct qemu_proc *proc = NULL;
	struct vm_sample s = { 0 };
	struct vm_counters last = { 0 };

	add_process(&f);
	assert_int_equal(qemu_proc_open(f.fd, &ident, EVERYTHING, &proc), 0);
	sample_and_derive(proc, &s, &last);
	assert_true(s.n_iothreads == 1 && s.iothreads[0].number == 1);
	assert_int_equal(fact_u64(&s, VM_VCPUS_TIME), 3000);
	assert_int_equal(fact_u64(&s, VM_IOTHREADS_TIME), 500);
	const uint64_t emulator = fact_u64(&s, VM_CPU_TIME) - 3500;

	assert_int_equal(fact_u64(&s, VM_EMULATOR_TIME), emulator);
	/* what was used by those that are unplugged stays theirs */
	remove_thread(&f, 4713);
	remove_thread(&f, 4715);
	set_stat(&f, 3);
	sample_and_derive(proc, &s, &last);
	assert_true(s.n_vcpus == 1 && s.n_iothreads == 0);
	assert_int_equal(fact_u64(&s, VM_VCPUS_TIME), 3000);
	assert_int_equal(fact_u64(&s, VM_VCPUS_DELAY), 30);
	assert_int_equal(fact_u64(&s, VM_IOTHREADS_TIME), 500);
	assert_int_equal(fact_u64(&s, VM_EMULATOR_TIME), emulator);
	/* plugged again it goes on from there */
	add_thread(&f, 4720, "CPU 1/KVM\n", "7 3 1\n");
	set_stat(&f, 4);
	sample_and_derive(proc, &s, &last);
	add_thread(&f, 4720, "CPU 1/KVM\n", "107 13 1\n");
	sample_and_derive(proc, &s, &last);
	assert_int_equal(s.vcpus[1].time_ns, 2100);
	assert_int_equal(fact_u64(&s, VM_VCPUS_TIME), 3100);
	assert_int_equal(fact_u64(&s, VM_VCPUS_DELAY), 40);
	qemu_proc_free(proc);
	/* for the others, I/O threads need not be looked at */
	assert_int_equal(
		qemu_proc_open(f.fd, &ident, READS(CPU) | READS(VCPUS), &proc), 0);
	sample_and_derive(proc, &s, &last);
	assert_false(s.facts[VM_IOTHREADS_TIME].have);
	assert_false(s.facts[VM_EMULATOR_TIME].have);
	qemu_proc_free(proc);
	vm_counters_done(&last);
	vm_sample_done(&s);
	fixture_done(&f);
}

/* Its old cgroup tells nothing any more, its new one counts from its own start. */
static void a_process_that_is_moved_is_followed(void **state)
{
	(void)state;
#define CGROUP(name) "machine.slice/machine-qemu" name ".scope"
	struct fixture f;
	struct qemu_proc *proc = NULL;
	struct vm_sample s = { 0 };
	struct vm_counters last = { 0 };

	add_process(&f);
	fixture_add(&f, "proc/4711/cgroup", "0::/" CGROUP("-1") "\n");
	fixture_add(&f, "sys/fs/cgroup/" CGROUP("-1") "/cpu.stat",
		"usage_usec 9000\nuser_usec 5000\nsystem_usec 4000\n");
	assert_int_equal(qemu_proc_open(f.fd, &ident, EVERYTHING, &proc), 0);
	sample_and_derive(proc, &s, &last);
	assert_int_equal(fact_u64(&s, VM_CPU_TIME), 9000000);
	fixture_add(&f, "proc/4711/cgroup", "0::/" CGROUP("-2") "\n");
	fixture_add(&f, "sys/fs/cgroup/" CGROUP("-2") "/cpu.stat",
		"usage_usec 100\nuser_usec 50\nsystem_usec 50\n");
	for (int i = 0; i < 16; i++)
		sample_and_derive(proc, &s, &last);
	fixture_add(&f, "sys/fs/cgroup/" CGROUP("-2") "/cpu.stat",
		"usage_usec 1100\nuser_usec 550\nsystem_usec 550\n");
	sample_and_derive(proc, &s, &last);
	assert_int_equal(fact_u64(&s, VM_CPU_TIME), 10000000);
	assert_int_equal(fact_u64(&s, VM_CPU_USER), 5500000);
	assert_int_equal((int)(s.facts[VM_USAGE_CPU].value.real * 1000 + 0.5), 50);
	/* in nobody's it has what /proc tells, which is more, and another beginning */
	fixture_add(&f, "proc/4711/cgroup", "0::/system.slice\n");
	for (int i = 0; i < 16; i++)
		sample_and_derive(proc, &s, &last);
	assert_int_equal(fact_u64(&s, VM_CPU_TIME), 10000000);
	qemu_proc_free(proc);
	vm_counters_done(&last);
	vm_sample_done(&s);
	fixture_done(&f);
}

/* What costs more than a sample is not done more often for shorter periods. */
static void short_periods_do_not_look_up_more(void **state)
{
	(void)state;
	struct fixture f;
	struct qemu_proc *proc = NULL;
	struct vm_sample s = { 0 };

	add_process(&f);
	assert_int_equal(qemu_proc_open(f.fd, &ident, EVERYTHING, &proc), 0);
	for (int i = 0; i < 8; i++) /* all have got their names */
		assert_int_equal(qemu_proc_sample(proc, &s), 0);
	for (int i = 0; i < 2; i++) {
		int seen = 0;

		/* one comes as another goes, as above */
		remove_thread(&f, i ? 4720 : 4713);
		add_thread(&f, i ? 4721 : 4720, "CPU 1/KVM\n", i ? "2 0 1\n" : "1 0 1\n");
		for (int k = 0; k < 200; k++) {
			vm_sample_clear(&s);
			s.mono_ns += NS_PER_S / 10;
			assert_int_equal(qemu_proc_sample(proc, &s), 0);
			seen += s.n_vcpus == 2 && s.vcpus[1].time_ns == 1u + i;
		}
		assert_in_range(seen, 1, 200 - 17);
	}
	qemu_proc_free(proc);
	vm_sample_done(&s);
	fixture_done(&f);
}

/* A pid file may be old, and its pid another process' by now. */
static void a_reused_pid_is_not_mistaken(void **state)
{
	(void)state;
	static const char *const pids[] = { "", "x", "-1", "99999999999999999999",
		"4712" };
	struct fixture f;
	struct qemu_proc *proc = NULL;

	add_process(&f);
	add_cmdline_of(&f, "a", "00010203-0405-0607-0809-0a0b0c0d0e00");
	assert_int_equal(qemu_proc_open(f.fd, &ident, EVERYTHING, &proc), -ESRCH);
	fixture_add(&f, "proc/4711/cmdline", "sleep");
	assert_int_equal(qemu_proc_open(f.fd, &ident, EVERYTHING, &proc), -ESRCH);
	fixture_add(&f, "proc/4711/cmdline", "");
	assert_int_equal(qemu_proc_open(f.fd, &ident, EVERYTHING, &proc), -ESRCH);
	for (size_t i = 0; i < ARRAY_LEN(pids); i++) {
		fixture_add(&f, "run/libvirt/qemu/a b.pid", pids[i]);
		assert_int_equal(
			qemu_proc_open(f.fd, &ident, EVERYTHING, &proc), -ENOENT);
	}
	assert_null(proc);
	fixture_done(&f);
}

/* libvirt names the pid file after the VM, as XML would write the name. */
static void the_process_of_an_odd_name_is_found(void **state)
{
	(void)state;
	struct vm_ident odd = ident;
	struct qemu_proc *proc = NULL;
	struct fixture f;

	odd.name = "a'b\"<&>";
	add_process(&f);
	assert_int_equal(qemu_proc_open(f.fd, &odd, EVERYTHING, &proc), -ENOENT);
	fixture_add(&f, "run/libvirt/qemu/a&apos;b&quot;&lt;&amp;&gt;.pid", "4711\n");
	assert_int_equal(qemu_proc_open(f.fd, &odd, EVERYTHING, &proc), 0);
	qemu_proc_free(proc);
	fixture_done(&f);
}

/* With <hwuuid> the guest is shown another uuid than libvirt's: the name says whose it is. */
static void the_process_of_a_hwuuid_is_found(void **state)
{
	(void)state;
	static const struct {
		const char *name, *guest;
		bool found;
	} cases[] = { { "a b", "a b,debug-threads=on", true }, { "a b", "a b", true },
		{ "a,b", "a,,b,debug-threads=on", true }, { "a,", "a,,", true },
		{ "a", "a,,b", false }, { "a", "ab", false }, { "a b", "a", false },
		{ "a,debug-threads=on", "a,debug-threads=on", false },
		{ "", "a", false } };
	struct qemu_proc *proc = NULL;
	struct fixture f;

	add_process(&f);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct vm_ident vm = ident;
		char path[64];

		vm.name = cases[i].name;
		snprintf(path, sizeof(path), "run/libvirt/qemu/%s.pid", vm.name);
		fixture_add(&f, path, "4711\n");
		add_cmdline_of(
			&f, cases[i].guest, "11111111-0000-4000-8000-000000000001");
		assert_int_equal(qemu_proc_open(f.fd, &vm, EVERYTHING, &proc),
			cases[i].found ? 0 : -ESRCH);
		qemu_proc_free(TAKE_PTR(proc));
	}
	fixture_done(&f);
}

/* A process that ended, in truth: a kept descriptor must not show its successor. */
static void an_ended_process_is_gone(void **state)
{
	(void)state;
	struct fixture f;
	struct qemu_proc *proc = NULL;
	struct vm_sample s = { 0 };

	add_process(&f);
	assert_int_equal(qemu_proc_open(f.fd, &ident, EVERYTHING, &proc), 0);
	fixture_add(&f, "proc/4711/stat", "4711 (qemu) Z 1 2 3\n");
	assert_int_equal(qemu_proc_sample(proc, &s), -ESRCH);
	qemu_proc_free(proc);
	vm_sample_done(&s);
	fixture_done(&f);
}

static void files_that_end_early_or_overflow_are_unavailable(void **state)
{
	(void)state;
	static const struct {
		const char *stat;
		bool threads, rss;
	} cases[] = {
		{ "4711 (qemu) S 1 2 3 0 -1 1 500 0 7 0 100 200 0 0 20 0 4 0 7777 1 10 9\n",
			true, true },
		{ "4711 (qemu) S 1 2 3 0 -1 1 500 0 7 0 100 200 0 0 20 0 4 0 7777 1 1",
			true, false },
		{ "4711 (qemu) S 1 2 3 0 -1 1 500 0 7 0 100 200 0 0 20 0 4", false,
			false },
		{ "4711 (qemu) S 1 2 3 0 -1 1 5 0 7 0 1 2 0 0 20 0 4 0 7777 1 "
		  "99999999999999999999 9\n",
			true, false },
		{ "4711 (qemu) S 1 2 3 0 -1 1 5 0 7 0 1 2 0 0 20 0 "
		  "18446744073709551616 0 7777 1 1 1\n",
			false, true },
		{ "4711 (qemu) S 1 2 x", false, false },
		{ "4711 (qemu", false, false },
		{ "", false, false },
	};
	struct fixture f;
	struct qemu_proc *proc = NULL;

	add_process(&f);
	assert_int_equal(qemu_proc_open(f.fd, &ident, EVERYTHING, &proc), 0);
	fixture_add(&f, "proc/4711/io", "read_bytes: 99999999999999999999\nsyscr");
	fixture_add(&f, "proc/4711/task/4712/schedstat", "123 4");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct vm_sample s = { 0 };

		fixture_add(&f, "proc/4711/stat", cases[i].stat);
		assert_int_equal(qemu_proc_sample(proc, &s), 0);
		assert_int_equal(s.facts[VM_THREADS].have, cases[i].threads);
		assert_int_equal(s.facts[VM_RSS].have, cases[i].rss);
		assert_false(s.facts[VM_IO_READ].have);
		assert_false(s.facts[VM_IO_READ_CALLS].have);
		assert_int_equal(s.n_vcpus, 2);
		assert_false(s.vcpus[0].have_time);
		assert_true(s.vcpus[1].have_delay);
		vm_sample_done(&s);
	}
	qemu_proc_free(proc);
	fixture_done(&f);
}

/* Other processes' number does not matter: nothing ever looks through them. */
static void thousands_of_other_processes_do_not_matter(void **state)
{
	(void)state;
	struct fixture f;
	struct qemu_proc *proc = NULL;
	char path[64];

	add_process(&f);
	int64_t start = clock_mono_ns();

	for (int i = 0; i < 200; i++) {
		assert_int_equal(qemu_proc_open(f.fd, &ident, EVERYTHING, &proc), 0);
		qemu_proc_free(proc);
	}
	int64_t few = clock_mono_ns() - start;

	for (int i = 0; i < 4000; i++) {
		snprintf(path, sizeof(path), "proc/%d/stat", 10000 + i);
		fixture_add(&f, path, "1 (x) S\n");
	}
	start = clock_mono_ns();
	for (int i = 0; i < 200; i++) {
		assert_int_equal(qemu_proc_open(f.fd, &ident, EVERYTHING, &proc), 0);
		qemu_proc_free(proc);
	}
	/* looking through 4,000 would cost a hundred times as much */
	assert_true(clock_mono_ns() - start < 10 * few);
	fixture_done(&f);
}

/* ---- interfaces ---- */

static void interfaces_are_the_kernels(void **state)
{
	(void)state;
	struct link_stats *ls = link_stats_new();
	_cleanup_close_ int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int ifindex = 0;
	bool swapped = true;

	assert_int_equal(link_find(root, "lo", &ifindex, &swapped), 0);
	assert_false(swapped);
	assert_int_equal(link_stats_dump(ls), 0);
	assert_non_null(link_stats_find(ls, ifindex));
	assert_null(link_stats_find(ls, INT32_MAX));
	assert_int_equal(link_find(root, "../lo", &ifindex, &swapped), -EINVAL);
	assert_int_equal(link_find(root, "", &ifindex, &swapped), -EINVAL);
	assert_int_equal(link_find(root, "nosuchlink", &ifindex, &swapped), -ENOENT);
	link_stats_free(ls);
}

static void odd_netlink_messages_do_no_harm(void **state)
{
	(void)state;
	struct link_stats *ls = link_stats_new();
	struct {
		struct nlmsghdr h;
		struct if_stats_msg msg;
		struct rtattr a;
		uint64_t words[24];
	} m = { .h = { .nlmsg_len = sizeof(m), .nlmsg_type = RTM_NEWSTATS },
		.msg = { .ifindex = 5 },
		.a = { .rta_len = sizeof(struct rtattr) + 16,
			.rta_type = IFLA_STATS_LINK_64 },
		.words = { 11, 22, 33 } };

	/* a kernel that knows two counters only */
	assert_int_equal(link_stats_parse(ls, &m, sizeof(m)), 1);
	assert_int_equal(link_stats_find(ls, 5)->rx_packets, 11);
	assert_int_equal(link_stats_find(ls, 5)->rx_bytes, 0);
	m.a.rta_len = 0xffff; /* longer than the message */
	assert_int_equal(link_stats_parse(ls, &m, sizeof(m)), 1);
	m.a.rta_len = 0;
	assert_int_equal(link_stats_parse(ls, &m, sizeof(m)), 1);
	assert_int_equal(link_stats_parse(ls, &m, 10), -EBADMSG);
	m.h.nlmsg_len = 4;
	assert_int_equal(link_stats_parse(ls, &m, sizeof(m)), -EBADMSG);
	m.h.nlmsg_len = NLMSG_LENGTH(0);
	m.h.nlmsg_type = NLMSG_ERROR;
	assert_int_equal(link_stats_parse(ls, &m, NLMSG_LENGTH(0)), -EIO);
	m.h.nlmsg_type = NLMSG_DONE;
	assert_int_equal(link_stats_parse(ls, &m, NLMSG_LENGTH(0)), 0);
	link_stats_free(ls);
}

/* ---- from samples to metrics ---- */

static void rates_are_over_the_last_period(void **state)
{
	(void)state;
	struct vm_sample s = { .mono_ns = NS_PER_S };
	struct vm_counters last = { 0 };

	fact_set(&s.facts[VM_CPU_TIME], value_u64(0));
	fact_set(&s.facts[VM_VCPU_CURRENT], value_u64(2));
	fact_set(&s.facts[VM_THROTTLED_TIME], value_u64(1000));
	vm_sample_derive(&s, &last);
	assert_false(s.facts[VM_USAGE_CPU].have);

	vm_sample_clear(&s);
	s.mono_ns = 2 * NS_PER_S;
	fact_set(&s.facts[VM_CPU_TIME], value_u64(NS_PER_S));
	fact_set(&s.facts[VM_VCPU_CURRENT], value_u64(2));
	fact_set(&s.facts[VM_THROTTLED_TIME], value_u64(10)); /* a group is gone */
	fact_set(&s.facts[VM_PRESSURE_MEMORY_SOME_TOTAL], value_u64(0));
	vm_sample_derive(&s, &last);
	assert_true(s.facts[VM_USAGE_CPU].have);
	assert_int_equal((int)(s.facts[VM_USAGE_CPU].value.real * 100), 5000);
	assert_false(s.facts[VM_USAGE_THROTTLED].have);
	assert_false(s.facts[VM_USAGE_STEAL].have);

	/* a moment later the rates stand */
	vm_sample_clear(&s);
	s.mono_ns += NS_PER_MS;
	fact_set(&s.facts[VM_CPU_TIME], value_u64(NS_PER_S));
	vm_sample_derive(&s, &last);
	assert_int_equal((int)(s.facts[VM_USAGE_CPU].value.real * 100), 5000);

	vm_sample_clear(&s);
	s.mono_ns = 3 * NS_PER_S;
	fact_set(&s.facts[VM_CPU_TIME], value_u64(NS_PER_S));
	fact_set(&s.facts[VM_VCPU_CURRENT], value_u64(2));
	fact_set(&s.facts[VM_PRESSURE_MEMORY_SOME_TOTAL], value_u64(250000));
	*vm_sample_add_vcpu(&s, 0) =
		(struct vcpu_sample){ .delay_ns = 5, .have_delay = true };
	*vm_sample_add_vcpu(&s, 1) =
		(struct vcpu_sample){ .number = 1, .delay_ns = 6, .have_delay = true };
	vm_sample_derive(&s, &last);
	assert_int_equal((int)s.facts[VM_USAGE_CPU].value.real, 0);
	assert_int_equal((int)(s.facts[VM_USAGE_MEMORY_PRESSURE].value.real + 0.5), 25);
	assert_int_equal(fact_u64(&s, VM_VCPUS_DELAY), 11);
	assert_false(s.facts[VM_VCPUS_WAIT].have);
	vm_counters_done(&last);
	vm_sample_done(&s);
}

static const char domain_xml[] =
	"<domain type='kvm'><name>a</name><memory unit='MiB'>2</memory>"
	"<currentMemory>1024</currentMemory><vcpu "
	"current='2'>8</vcpu>"
	"<cputune><shares>2048</shares><period>100000</period><quota>50000</quota>"
	"<global_quota>-1</global_quota></cputune>"
	"<memtune><hard_limit unit='KiB'>4096</hard_limit>"
	"<soft_limit unit='KiB'>9007199254740991</soft_limit><min_guarantee "
	"unit='x'>1</min_guarantee></memtune>"
	"<devices><disk><target dev='vda'/></disk>"
	"<disk><target dev='vdz'/><iotune><total_bytes_sec>1000</total_bytes_sec></iotune>"
	"</disk>"
	"<interface type='user'/><interface type='bridge'><target dev='lo'/></interface>"
	"<channel type='unix'><source mode='bind' path='/other'/>"
	"<target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
	"<channel type='unix'><source mode='bind' path='/run/a&amp;b'/>"
	"<target type='virtio' name='org.github.vhostmd.1'/></channel></devices></domain>";

static void descriptions_are_read(void **state)
{
	(void)state;
	struct description *d = description_new();

	assert_int_equal(
		domain_xml_parse(domain_xml, "org.github.vhostmd.1", NULL, d), 0);
	assert_string_equal(d->channel_path, "/run/a&b");
	assert_int_equal(d->vcpus_max, 8);
	assert_int_equal(d->limits[DOMAIN_MEMORY], 2048);
	assert_int_equal(d->memory_now_kib, 1024);
	assert_int_equal(d->limits[DOMAIN_CPUTUNE_QUOTA], 50000);
	assert_int_equal(d->limits[DOMAIN_CPUTUNE_GLOBAL_QUOTA], 0);
	assert_int_equal(d->limits[DOMAIN_MEMTUNE_HARD_LIMIT], 4096);
	assert_int_equal(d->limits[DOMAIN_MEMTUNE_SOFT_LIMIT], 0);
	assert_int_equal(d->limits[DOMAIN_MEMTUNE_MIN_GUARANTEE], 0);
	assert_int_equal(d->n_nics, 2);
	assert_null(d->nics[0]);
	assert_string_equal(d->nics[1], "lo");
	assert_int_equal(d->n_disks, 2);
	assert_int_equal(d->disks[1].iotune[IOTUNE_TOTAL_BYTES], 1000);
	description_unref(d);
	d = description_new();
	assert_int_equal(domain_xml_parse("<domain/>", "x", NULL, d), 0);
	assert_null(d->channel_path);
	assert_int_equal(domain_xml_parse("<domain>", "x", NULL, d), -EINVAL);
	description_unref(d);
}

static void limits_become_metrics(void **state)
{
	(void)state;
	struct spec_set *specs = all_of(COLLECTOR_DOMAIN);
	_cleanup_plan_ struct plan *plan = plan_of(specs);
	struct run *vm = run_new(&ident, HYPERVISOR_QEMU);
	struct description *d = description_new();

	assert_int_equal(domain_xml_parse(domain_xml, "x", NULL, d), 0);
	vm->shares = 100; /* of the cgroup; the description says more */
	vm->session = domain_session("boot", vm, 7777);
	atomic_store(&vm->vcpus, 4);
	struct metric_list *list = domain_list(plan, vm, d, 2500, 1);

	assert_string_equal(find(list, "domain.name")->value.s, "a b");
	assert_string_equal(find(list, "domain.uuid")->value.s, UUID_TEXT);
	assert_int_equal(find(list, "domain.id")->value.i, 3);
	assert_u64(list, "cputune.shares", 2048);
	assert_u64(list, "domain.cpu.limit.frequency", 5000);
	assert_int_equal((int)(find(list, "domain.cpu.limit")->value.real * 1000), 2000);
	assert_u64(list, "memtune.hard_limit", 4096);
	assert_false(find(list, "memtune.soft_limit")->available);
	assert_u64(list, "block.1.iotune.total_bytes_sec", 1000);
	assert_string_equal(
		metric_device(find(list, "block.1.iotune.total_bytes_sec")), "vdz");
	assert_null(find_or_null(list, "block.0.iotune.total_bytes_sec"));
	metric_list_unref(list);

	list = domain_list(plan, vm, NULL, 2500, 1);
	assert_u64(list, "cputune.shares", 100);
	assert_false(find(list, "domain.cpu.limit")->available);
	metric_list_unref(list);

	uint64_t session = vm->session;

	assert_int_equal(domain_session("boot", vm, 7777), session);
	assert_true(domain_session("boot", vm, 7778) != session);
	assert_true(domain_session("other", vm, 7777) != session);
	description_unref(d);
	run_unref(vm);
	spec_set_unref(specs);
}

static void a_vm_is_sampled_as_configured(void **state)
{
	(void)state;
	struct spec_set *specs = spec_set_new(16);
	struct fixture f;
	struct description *d = description_new();
	struct vm_sample scratch = { 0 };
	struct link_stats *links = link_stats_new();

	specs->n = 0;
	want(specs, "rx*", "net.*.rx.bytes", METRIC_UINT64, NULL);
	want(specs, "second", "vcpu.1.delay", METRIC_UINT64, NULL);
	want(specs, "ninth", "vcpu.9.delay", METRIC_UINT64, NULL);
	want(specs, "time*", "vcpu.*.time", METRIC_REAL64, "us");
	want(specs, "blocks", "block.count", METRIC_UINT32, NULL);
	want(specs, "max", "vcpu.maximum", METRIC_UINT32, NULL);
	want(specs, "balloon", "balloon.current", METRIC_UINT64, NULL);
	want(specs, "pressure", "pressure.cpu.some.total", METRIC_UINT64, NULL);
	want(specs, "age", "sample.slow.age", METRIC_REAL64, NULL);
	want(specs, "stale", "sample.stale", METRIC_UINT32, NULL);
	_cleanup_plan_ struct plan *plan = plan_of(specs);
	struct run *vm = run_new(&ident, HYPERVISOR_QEMU);
	struct fast_vm *fv = fast_vm_new(vm, NULL);
	struct qemu_proc *proc = NULL;

	add_process(&f);
	fixture_add(&f, "sys/class/net/lo/ifindex", "1\n");
	assert_null(fast_vm_sample(fv, plan, links, NULL, &scratch));
	assert_int_equal(fast_vm_take_in(fv), NEWS_FIRST);
	assert_int_equal(qemu_proc_open(f.fd, &ident, plan->vm_reads, &proc), 0);
	fast_vm_hand_process(fv, proc);
	assert_int_equal(fast_vm_take_in(fv), NEWS_PROCESS);
	struct metric_list *list = fast_vm_sample(fv, plan, links, NULL, &scratch);

	assert_null(find_or_null(list, "blocks"));
	assert_null(find_or_null(list, "max")); /* libvirt's, as long as nobody knows */
	assert_null(find_or_null(list, "rx1"));
	assert_u64(list, "second", 20);
	assert_false(find(list, "ninth")->available);
	assert_true(find(list, "time1")->value.real > 1.9);
	assert_false(find(list, "pressure")->available);
	metric_list_unref(list);

	assert_int_equal(domain_xml_parse(domain_xml, "x", NULL, d), 0);
	fast_vm_hand_description(fv, fast_description_new(f.fd, d));
	assert_int_equal(fast_vm_take_in(fv), NEWS_DESCRIPTION);
	assert_int_equal(link_stats_dump(links), 0);
	add_thread(&f, 4720, "CPU 2/KVM\n", "3000 30 1\n");
	set_stat(&f, 5);
	list = fast_vm_sample(fv, plan, links, NULL, &scratch);
	assert_u64(list, "max", 8);
	assert_u64(list, "balloon", 1024);
	assert_true(find(list, "rx1")->available);
	assert_string_equal(find(list, "rx1")->label->source, "net.1.rx.bytes");
	assert_string_equal(metric_device(find(list, "rx1")), "lo");
	assert_null(metric_device(find(list, "max")));
	assert_int_equal(atomic_load(&vm->vcpus), 3);
	assert_int_equal(atomic_load(&vm->known), READS_EITHER);
	metric_list_unref(list);

	struct fast_about about = { .slow_age_ns = 1500 * NS_PER_MS, .stale = true };

	list = fast_list_about(plan, &about, 1);
	assert_true(find(list, "age")->value.real > 1.4);
	assert_u64(list, "stale", 1);
	assert_null(find_or_null(list, "pressure"));
	metric_list_unref(list);
	about = (struct fast_about){ .process = PROCESS_SOUGHT, .slow_age_ns = -1 };
	list = fast_list_about(plan, &about, 1);
	assert_false(find(list, "age")->available);
	assert_false(find(list, "pressure")->available);
	metric_list_unref(list);
	assert_int_equal(atomic_load(&vm->ended_mono_ns), 0);
	fixture_add(&f, "proc/4711/stat", "4711 (qemu) Z 1 2 3\n");
	assert_null(fast_vm_sample(fv, plan, links, NULL, &scratch));
	assert_true(atomic_load(&vm->ended_mono_ns) > 0);
	fast_vm_free(fv);
	run_unref(vm);
	spec_set_unref(specs);
	description_unref(d);
	link_stats_free(links);
	vm_sample_done(&scratch);
	fixture_done(&f);
}

static struct metric_list *sample_again(struct fast_vm *fv, struct fixture *f,
	const struct plan *plan, struct vm_sample *scratch, bool reopened)
{
	struct qemu_proc *proc = NULL;

	poll(NULL, 0, 50); /* a rate needs time to pass, whatever else happens */
	if (reopened) {
		assert_int_equal(qemu_proc_open(f->fd, &ident, plan->vm_reads, &proc), 0);
		fast_vm_hand_process(fv, proc);
	}
	assert_int_equal(fast_vm_take_in(fv), reopened ? NEWS_PROCESS : 0);
	return fast_vm_sample(fv, plan, NULL, NULL, scratch);
}

/* A VM whose files are opened again goes on as if nothing had been. */
static void looking_again_does_not_show(void **state)
{
	(void)state;
	struct spec_set *specs = spec_set_new(4);
	struct vm_sample scratch = { 0 };
	struct description *d = description_new();
	struct fixture f;

	specs->n = 0;
	want(specs, "cpu", "usage.cpu", METRIC_REAL64, NULL);
	want(specs, "steal", "usage.steal", METRIC_REAL64, NULL);
	want(specs, "balloon", "balloon.current", METRIC_UINT64, NULL);
	want(specs, "max", "vcpu.maximum", METRIC_UINT32, NULL);
	_cleanup_plan_ struct plan *plan = plan_of(specs);
	struct run *run = run_new(&ident, HYPERVISOR_QEMU);
	struct fast_vm *fv = fast_vm_new(run, NULL);
	struct qemu_proc *proc = NULL;

	add_process(&f);
	assert_int_equal(qemu_proc_open(f.fd, &ident, plan->vm_reads, &proc), 0);
	assert_int_equal(domain_xml_parse(domain_xml, "x", NULL, d), 0);
	fast_vm_hand_process(fv, proc);
	fast_vm_hand_description(fv, fast_description_new(f.fd, d));
	assert_int_equal(
		fast_vm_take_in(fv), NEWS_FIRST | NEWS_PROCESS | NEWS_DESCRIPTION);
	metric_list_unref(fast_vm_sample(fv, plan, NULL, NULL, &scratch));
	for (int i = 0; i < 4; i++) {
		struct metric_list *list = sample_again(fv, &f, plan, &scratch, i % 2);

		assert_true(find(list, "cpu")->available);
		assert_true(find(list, "steal")->available);
		assert_u64(list, "balloon", 1024);
		assert_u64(list, "max", 8);
		metric_list_unref(list);
	}
	fast_vm_free(fv);
	run_unref(run);
	spec_set_unref(specs);
	description_unref(d);
	vm_sample_done(&scratch);
	fixture_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_process_is_found_and_sampled),
		cmocka_unit_test(threads_that_come_and_go_are_noticed),
		cmocka_unit_test(emulator_and_io_threads_are_told_apart),
		cmocka_unit_test(a_process_that_is_moved_is_followed),
		cmocka_unit_test(short_periods_do_not_look_up_more),
		cmocka_unit_test(a_reused_pid_is_not_mistaken),
		cmocka_unit_test(the_process_of_an_odd_name_is_found),
		cmocka_unit_test(the_process_of_a_hwuuid_is_found),
		cmocka_unit_test(an_ended_process_is_gone),
		cmocka_unit_test(files_that_end_early_or_overflow_are_unavailable),
		cmocka_unit_test(thousands_of_other_processes_do_not_matter),
		cmocka_unit_test(interfaces_are_the_kernels),
		cmocka_unit_test(odd_netlink_messages_do_no_harm),
		cmocka_unit_test(rates_are_over_the_last_period),
		cmocka_unit_test(descriptions_are_read),
		cmocka_unit_test(limits_become_metrics),
		cmocka_unit_test(a_vm_is_sampled_as_configured),
		cmocka_unit_test(looking_again_does_not_show),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A VM's cgroup from fixtures: both versions, quotas wherever and whenever they are set. */
#include "fixture.h"
#include "samples.h"

#include <errno.h>

#include "collect/kernel/qemu_cgroup.h"
#include "util/clock.h"

#define EVERYTHING (~UINT64_C(0))

static void sample_cgroup(struct fixture *f, const char *text, struct vm_sample *ret)
{
	struct qemu_cgroup cg = QEMU_CGROUP_INIT;

	*ret = (struct vm_sample){ 0 };
	qemu_cgroup_open(f->fd, text, EVERYTHING, &cg);
	qemu_cgroup_sample(&cg, ret);
	qemu_cgroup_done(&cg);
}

static void cgroups_of_version_2_are_read(void **state)
{
	(void)state;
#define SCOPE "machine.slice/machine-qemu\\x2d3\\x2da.scope"
	static const char text[] = "0::/" SCOPE "/libvirt/emulator\n";
	struct fixture f;
	struct vm_sample s;
	uint64_t shares = 0;

	fixture_init(&f);
	sample_cgroup(&f, text, &s); /* it may be gone already */
	assert_false(s.facts[VM_CPU_TIME].have);
#define AT(file) "sys/fs/cgroup/" SCOPE "/" file
	fixture_add(&f, AT("cpu.stat"),
		"usage_usec 3000\nuser_usec 1000\nsystem_usec 2000\nnr_periods 0\n"
		"nr_throttled 0\nthrottled_usec 0\n");
	fixture_add(&f, AT("cpu.max"), "max 100000\n");
	fixture_add(&f, AT("cpu.weight"), "250\n");
	fixture_add(&f, AT("memory.current"), "4096\n");
	fixture_add(&f, AT("memory.pressure"),
		"some avg10=1.00 avg60=2.00 avg300=3.00 total=40\n"
		"full avg10=0.50 avg60=0.00 avg300=0.00 total=5\n");
	fixture_add(&f, AT("libvirt/vcpu0/cpu.max"), "50000 100000\n");
	fixture_add(&f, AT("libvirt/vcpu0/cpu.stat"),
		"nr_periods 10\nnr_throttled 2\nthrottled_usec 7\n");
	fixture_add(&f, AT("libvirt/vcpu1/cpu.max"), "50000 100000\n");
	fixture_add(&f, AT("libvirt/vcpu1/cpu.stat"),
		"nr_periods 10\nnr_throttled 3\nthrottled_usec 8\n");
	fixture_add(&f, AT("libvirt/emulator/cpu.max"), "max 100000\n");
	fixture_add(&f, AT("libvirt/emulator/cpu.stat"), "nr_throttled 1000\n");
	sample_cgroup(&f, text, &s);
	assert_int_equal(fact_u64(&s, VM_CPU_TIME), 3000000);
	assert_int_equal(fact_u64(&s, VM_CPU_SYSTEM), 2000000);
	assert_int_equal(fact_u64(&s, VM_THROTTLE_PERIODS), 20);
	assert_int_equal(fact_u64(&s, VM_THROTTLED_PERIODS), 5);
	assert_int_equal(fact_u64(&s, VM_THROTTLED_TIME), 15000);
	assert_int_equal(fact_u64(&s, VM_CGROUP_MEMORY), 4096);
	assert_int_equal(fact_u64(&s, VM_PRESSURE_MEMORY_SOME_TOTAL), 40);
	assert_true(s.facts[VM_PRESSURE_MEMORY_FULL_AVG10].value.real > 0.4);
	assert_false(s.facts[VM_PRESSURE_IO_SOME_AVG10].have);
	assert_int_equal(qemu_cgroup_shares(f.fd, text, &shares), 0);
	assert_int_equal(shares, 250);
	fixture_done(&f);
}

static void cgroups_of_version_1_are_read(void **state)
{
	(void)state;
#define GROUP "machine/qemu-3-a.libvirt-qemu"
	static const char text[] =
		"9:name=systemd:/\n4:memory:/" GROUP "\n3:cpuset:/" GROUP "/emulator\n"
		"2:cpu,cpuacct:/" GROUP "/emulator\n0::/\n";
	struct fixture f;
	struct vm_sample s;
	const uint64_t tick = (uint64_t)NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK);

	fixture_init(&f);
	fixture_add(&f, "sys/fs/cgroup/cpu,cpuacct/" GROUP "/cpuacct.usage", "12345\n");
	fixture_add(&f, "sys/fs/cgroup/cpu,cpuacct/" GROUP "/cpuacct.stat",
		"user 3\nsystem 4\n");
	fixture_add(&f, "sys/fs/cgroup/cpu,cpuacct/" GROUP "/cpu.cfs_quota_us", "-1\n");
	fixture_add(&f, "sys/fs/cgroup/cpu,cpuacct/" GROUP "/vcpu0/cpu.cfs_quota_us",
		"1000\n");
	fixture_add(&f, "sys/fs/cgroup/cpu,cpuacct/" GROUP "/vcpu0/cpu.stat",
		"nr_periods 5\nnr_throttled 1\nthrottled_time 99\n");
	fixture_add(&f, "sys/fs/cgroup/memory/" GROUP "/memory.usage_in_bytes", "8192\n");
	sample_cgroup(&f, text, &s);
	assert_int_equal(fact_u64(&s, VM_CPU_TIME), 12345);
	assert_int_equal(fact_u64(&s, VM_CPU_USER), 3 * tick);
	assert_int_equal(fact_u64(&s, VM_THROTTLED_TIME), 99);
	assert_int_equal(fact_u64(&s, VM_CGROUP_MEMORY), 8192);
	fixture_done(&f);
}

/* A QEMU in somebody else's cgroup, or lines that are none: nothing is to be had. */
static void a_shared_cgroup_is_not_the_vms(void **state)
{
	(void)state;
	static const char *const texts[] = { "", "\n", "0::/\n", "0::", "0:", "::::\n",
		"0::/system.slice/libvirtd.service\n", "0::/user.slice/qemu-1-a\n",
		"0::/machine-qemu\n", "2:cpu,cpuacct:/\n" };
	struct fixture f;

	fixture_init(&f);
	fixture_add(&f, "sys/fs/cgroup/cpu.stat", "usage_usec 3000\n");
	fixture_add(&f, "sys/fs/cgroup/system.slice/libvirtd.service/cpu.stat",
		"usage_usec 3000\n");
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct vm_sample s;
		uint64_t shares = 0;

		sample_cgroup(&f, texts[i], &s);
		assert_false(s.facts[VM_CPU_TIME].have);
		assert_false(s.facts[VM_THROTTLED_TIME].have);
		assert_int_equal(qemu_cgroup_shares(f.fd, texts[i], &shares), -ENOENT);
	}
	fixture_done(&f);
}

/* ---- quotas ---- */

#define V2 "sys/fs/cgroup/"
#define V1 "sys/fs/cgroup/cpu,cpuacct/"
static const char v2_text[] = "0::/" SCOPE "/libvirt/emulator\n";
static const char v1_text[] = "2:cpu,cpuacct:/" GROUP "/emulator\n0::/\n";

/* cpu.stat of a group, in which @ms were throttled, one period for each. */
static void set_group(struct fixture *f, const char *dir, const char *unit,
	unsigned ns_each, unsigned ms)
{
	char path[256], text[160];

	snprintf(path, sizeof(path), "%s/cpu.stat", dir);
	snprintf(text, sizeof(text),
		"usage_usec 5\nnr_periods %u\nnr_throttled %u\nthrottled_%s %llu\n",
		2 * ms, ms, unit, (unsigned long long)ms * 1000000 / ns_each);
	fixture_add(f, path, text);
}

static void assert_throttled(struct qemu_cgroup *cg, uint64_t ms)
{
	struct vm_sample s = { 0 };

	assert_true(qemu_cgroup_sample(cg, &s));
	assert_int_equal(fact_u64(&s, VM_THROTTLE_PERIODS), 2 * ms);
	assert_int_equal(fact_u64(&s, VM_THROTTLED_PERIODS), ms);
	assert_int_equal(fact_u64(&s, VM_THROTTLED_TIME), ms * 1000000);
}

/* The same within some samples; until then it is what it was. */
static void assert_throttled_soon(struct qemu_cgroup *cg, uint64_t before, uint64_t ms)
{
	for (int i = 0; i < 15; i++) {
		struct vm_sample s = { 0 };

		assert_true(qemu_cgroup_sample(cg, &s));
		uint64_t ns = fact_u64(&s, VM_THROTTLED_TIME);

		assert_true(ns == before * 1000000 || ns == ms * 1000000);
	}
	assert_throttled(cg, ms);
}

/* On a vCPU, on the VM, and above it: while nobody looks at the VM again. */
static void a_quota_that_is_set_later_is_seen(void **state)
{
	(void)state;
	static const char *const v2[] = { V2 SCOPE "/libvirt/vcpu0", V2 SCOPE "/libvirt",
		V2 SCOPE, V2 "machine.slice" };
	static const char *const v1[] = { V1 GROUP "/vcpu0", V1 GROUP, V1 "machine" };
	static const struct {
		const char *text, *const *groups;
		size_t n;
		const char *unit;
		unsigned ns_each;
	} versions[] = { { v2_text, v2, ARRAY_LEN(v2), "usec", 1000 },
		{ v1_text, v1, ARRAY_LEN(v1), "time", 1 } };

	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		struct qemu_cgroup cg = QEMU_CGROUP_INIT;
		struct fixture f;

		fixture_init(&f);
		for (size_t k = 0; k < versions[i].n; k++)
			set_group(&f, versions[i].groups[k], versions[i].unit,
				versions[i].ns_each, 0);
		qemu_cgroup_open(f.fd, versions[i].text, EVERYTHING, &cg);
		assert_throttled(&cg, 0);
		for (size_t k = 0; k < versions[i].n; k++) {
			set_group(&f, versions[i].groups[k], versions[i].unit,
				versions[i].ns_each, 7);
			assert_throttled_soon(&cg, 7 * k, 7 * (k + 1));
			/* from now on with each sample */
			set_group(&f, versions[i].groups[k], versions[i].unit,
				versions[i].ns_each, 9);
			assert_throttled(&cg, 7 * k + 9);
			set_group(&f, versions[i].groups[k], versions[i].unit,
				versions[i].ns_each, 7);
		}
		qemu_cgroup_done(&cg);
		fixture_done(&f);
	}
}

/* Neither the root's, nor another VM's, is this VM's. */
static void groups_beside_the_vms_do_not_count(void **state)
{
	(void)state;
	struct qemu_cgroup cg = QEMU_CGROUP_INIT;
	struct fixture f;

	fixture_init(&f);
	set_group(&f, "sys/fs/cgroup", "usec", 1000, 1000);
	set_group(
		&f, V2 "machine.slice/machine-qemu\\x2d4\\x2db.scope", "usec", 1000, 500);
	set_group(&f, V2 "other.slice", "usec", 1000, 200);
	set_group(&f, V2 SCOPE, "usec", 1000, 3);
	qemu_cgroup_open(f.fd, v2_text, EVERYTHING, &cg);
	assert_throttled(&cg, 3);
	qemu_cgroup_done(&cg);
	fixture_done(&f);
}

static void groups_that_come_and_go_are_noticed(void **state)
{
	(void)state;
	struct qemu_cgroup cg = QEMU_CGROUP_INIT;
	struct fixture f;

	fixture_init(&f);
	set_group(&f, V2 SCOPE, "usec", 1000, 1);
	set_group(&f, V2 SCOPE "/libvirt/vcpu0", "usec", 1000, 2);
	qemu_cgroup_open(f.fd, v2_text, EVERYTHING, &cg);
	assert_throttled(&cg, 3);
	set_group(&f, V2 SCOPE "/libvirt/vcpu1", "usec", 1000, 4);
	qemu_cgroup_relist(&cg); /* its thread was seen */
	assert_throttled(&cg, 7);
	assert_int_equal(unlinkat(f.fd, V2 SCOPE "/libvirt/vcpu0/cpu.stat", 0), 0);
	assert_int_equal(unlinkat(f.fd, V2 SCOPE "/libvirt/vcpu0", AT_REMOVEDIR), 0);
	qemu_cgroup_relist(&cg);
	assert_throttled(&cg, 5);
	/* one that is made after its thread was seen */
	set_group(&f, V2 SCOPE "/libvirt/iothread1", "usec", 1000, 8);
	assert_throttled_soon(&cg, 5, 13);
	/* and some without any sign */
	set_group(&f, V2 SCOPE "/libvirt/iothread2", "usec", 1000, 16);
	for (int i = 0; i < 256; i++) {
		struct vm_sample s = { 0 };

		assert_true(qemu_cgroup_sample(&cg, &s));
	}
	assert_throttled(&cg, 29);
	qemu_cgroup_done(&cg);
	fixture_done(&f);
}

/* A quota for vCPUs is set on all of them: what is shown has them all, or none. */
static void quotas_that_are_set_together_are_seen_together(void **state)
{
	(void)state;
	struct qemu_cgroup cg = QEMU_CGROUP_INIT;
	struct fixture f;
	char dir[128];

	fixture_init(&f);
	for (int ms = 0; ms <= 1; ms++) {
		for (int i = 0; i < 40; i++) {
			snprintf(dir, sizeof(dir), V2 SCOPE "/libvirt/vcpu%d", i);
			set_group(&f, dir, "usec", 1000, (unsigned)ms);
		}
		if (!ms)
			qemu_cgroup_open(f.fd, v2_text, EVERYTHING, &cg);
		assert_throttled_soon(&cg, 0, 40 * (uint64_t)ms);
	}
	qemu_cgroup_done(&cg);
	fixture_done(&f);
}

/* How often this process has called read() or the like; -1 if the kernel does not tell. */
static long long read_calls(void)
{
	FILE *io = fopen("/proc/self/io", "re");
	char line[64];
	long long n = -1;

	while (io && n < 0 && fgets(line, sizeof(line), io))
		(void)sscanf(line, "syscr: %lld", &n);
	if (io)
		fclose(io);
	return n;
}

/* Most VMs have none; then it must not cost a read for each vCPU and sample. */
static void groups_without_a_quota_cost_little(void **state)
{
	(void)state;
	struct qemu_cgroup cg = QEMU_CGROUP_INIT;
	struct fixture f;
	char dir[128];

	if (read_calls() < 0)
		skip();
	fixture_init(&f);
	for (int i = 0; i < 12; i++) {
		snprintf(dir, sizeof(dir), V2 SCOPE "/libvirt/vcpu%d", i);
		set_group(&f, dir, "usec", 1000, 0);
	}
	qemu_cgroup_open(f.fd, v2_text, READS(THROTTLE), &cg);
	assert_throttled(&cg, 0);
	long long before = read_calls();

	for (int i = 0; i < 100; i++)
		assert_throttled(&cg, 0);
	/* each of the 14 once in 16 samples, and a few more to ask how many */
	assert_in_range(read_calls() - before, 1, 105);
	qemu_cgroup_done(&cg);
	fixture_done(&f);
}

/* No controller, so no quota can be told of: that is not zero; a controller that comes is. */
static void without_the_controller_throttling_is_not_known(void **state)
{
	(void)state;
	struct qemu_cgroup cg = QEMU_CGROUP_INIT;
	struct vm_sample s = { 0 };
	struct fixture f;

	fixture_init(&f);
	fixture_add(&f, V2 SCOPE "/cpu.stat", "usage_usec 3000\n");
	qemu_cgroup_open(f.fd, v2_text, EVERYTHING, &cg);
	assert_true(qemu_cgroup_sample(&cg, &s));
	assert_false(s.facts[VM_THROTTLED_TIME].have);
	set_group(&f, V2 SCOPE, "usec", 1000, 0);
	for (int i = 0; i < 15; i++)
		assert_true(qemu_cgroup_sample(&cg, &s));
	assert_throttled(&cg, 0);
	qemu_cgroup_done(&cg);
	fixture_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cgroups_of_version_2_are_read),
		cmocka_unit_test(cgroups_of_version_1_are_read),
		cmocka_unit_test(a_shared_cgroup_is_not_the_vms),
		cmocka_unit_test(a_quota_that_is_set_later_is_seen),
		cmocka_unit_test(groups_beside_the_vms_do_not_count),
		cmocka_unit_test(groups_that_come_and_go_are_noticed),
		cmocka_unit_test(quotas_that_are_set_together_are_seen_together),
		cmocka_unit_test(groups_without_a_quota_cost_little),
		cmocka_unit_test(without_the_controller_throttling_is_not_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

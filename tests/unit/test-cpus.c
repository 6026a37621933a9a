/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Processors as the kernels of several architectures describe them: cores and sockets, which
 * lscpu(1) has to count alike, and the nominal frequency.
 */
#include "fixture.h"

#include <stdbool.h>
#include <stdlib.h>

#include "collect/kernel/cpu_frequency.h"
#include "collect/kernel/cpu_topology.h"
#include "util/cleanup.h"
#include "util/strbuf.h"

#define CPU_DIR "sys/devices/system/cpu/"

/* ---- cores and sockets ---- */

/* Which of topology's files there are. */
enum {
	LISTS = 1 << 0,     /* Linux 5.3 and newer */
	OLD_LISTS = 1 << 1, /* as before, and since */
	MASKS = 1 << 2,     /* beside the lists in every kernel; lscpu reads these */
	ALL = LISTS | OLD_LISTS | MASKS,
};

struct shape {
	const char *what;
	unsigned cpus, threads, cores_per_socket; /* all that there are */
	bool split;       /* the second threads come after all first ones */
	unsigned every;   /* so many-th CPU is online, 0: each */
	unsigned without; /* the first so many are offline */
	unsigned files;
	/* as text, NULL: not there */
	const char *(*core_id)(unsigned cpu), *(*die_id)(unsigned cpu);
	const char *(*package_id)(unsigned cpu);
	size_t online, cores, sockets; /* what is to be counted */
};

static char id_text[16];

static const char *id(unsigned n)
{
	snprintf(id_text, sizeof(id_text), "%u\n", n);
	return id_text;
}

static const char *minus_one(unsigned cpu)
{
	(void)cpu;
	return "-1\n";
}

static const char *zero(unsigned cpu)
{
	(void)cpu;
	return "0\n";
}

static const char *same(unsigned cpu)
{
	return id(cpu);
}

static const char *modulo_2(unsigned cpu)
{
	return id(cpu % 2);
}

static const char *half_modulo_4(unsigned cpu)
{
	return id(cpu / 2 % 4);
}

static const char *modulo_4(unsigned cpu)
{
	return id(cpu % 4);
}

/* Eight CPUs each. */
static const char *eighth(unsigned cpu)
{
	return id(cpu / 8);
}

static const char *quarter_of_8(unsigned cpu)
{
	return id(cpu / 4 % 2);
}

static const struct shape shapes[] = {
	{ "x86, two sockets, hyper-threads apart", .cpus = 40, .threads = 2,
		.cores_per_socket = 10, .split = true, .files = ALL, .core_id = modulo_4,
		.online = 40, .cores = 20, .sockets = 2 },
	{ "AMD, core ids repeat on each die", .cpus = 16, .threads = 2,
		.cores_per_socket = 8, .split = true, .files = ALL, .core_id = modulo_4,
		.die_id = quarter_of_8, .package_id = zero, .online = 16, .cores = 8,
		.sockets = 1 },
	{ "x86 before Linux 5.3", .cpus = 16, .threads = 2, .cores_per_socket = 4,
		.split = true, .files = OLD_LISTS | MASKS, .core_id = modulo_4,
		.online = 16, .cores = 8, .sockets = 2 },
	{ "x86, hyper-threads switched off", .cpus = 16, .threads = 2,
		.cores_per_socket = 4, .every = 2, .files = ALL, .core_id = half_modulo_4,
		.online = 8, .cores = 8, .sockets = 2 },
	{ "the first socket's CPUs are offline", .cpus = 16, .threads = 2,
		.cores_per_socket = 4, .without = 8, .files = ALL, .online = 8,
		.cores = 4, .sockets = 1 },
	{ "arm64, clusters of four, no hardware threads", .cpus = 16, .threads = 1,
		.cores_per_socket = 8, .files = ALL, .core_id = modulo_4, .online = 16,
		.cores = 16, .sockets = 2 },
	{ "arm64 whose firmware tells nothing", .cpus = 4, .threads = 1,
		.cores_per_socket = 4, .files = ALL, .core_id = minus_one,
		.package_id = minus_one, .online = 4, .cores = 4, .sockets = 1 },
	{ "POWER, ids of the hardware", .cpus = 40, .threads = 4, .cores_per_socket = 5,
		.files = ALL, .core_id = same, .online = 40, .cores = 10, .sockets = 2 },
	{ "POWER LPAR, one thread of eight", .cpus = 128, .threads = 8,
		.cores_per_socket = 16, .every = 8, .files = ALL, .core_id = same,
		.package_id = minus_one, .online = 16, .cores = 16, .sockets = 1 },
	{ "IBM Z, sockets' ids repeat in each book", .cpus = 32, .threads = 2,
		.cores_per_socket = 4, .files = ALL, .core_id = same,
		.package_id = quarter_of_8, .online = 32, .cores = 16, .sockets = 4 },
	{ "RISC-V", .cpus = 8, .threads = 1, .cores_per_socket = 8, .files = ALL,
		.core_id = same, .package_id = zero, .online = 8, .cores = 8,
		.sockets = 1 },
	{ "a VM, each CPU a socket", .cpus = 6, .threads = 1, .cores_per_socket = 1,
		.files = ALL, .core_id = zero, .package_id = same, .online = 6,
		.cores = 6, .sockets = 6 },
	{ "more than 1024 CPUs, two threads of eight", .cpus = 1280, .threads = 8,
		.cores_per_socket = 16, .every = 4, .files = MASKS, .online = 320,
		.cores = 160, .sockets = 10 },
	{ "masks alone", .cpus = 40, .threads = 2, .cores_per_socket = 10, .files = MASKS,
		.online = 40, .cores = 20, .sockets = 2 },

	/* what no kernel does, or only in part; lscpu(1) needs masks */
	{ "lists of cores alone", .cpus = 16, .threads = 2, .cores_per_socket = 8,
		.files = 0, .core_id = half_modulo_4, .die_id = eighth,
		.package_id = zero, .online = 16, .cores = 8, .sockets = 1 },
	{ "ids alone", .cpus = 16, .threads = 2, .cores_per_socket = 4, .files = 0,
		.core_id = half_modulo_4, .package_id = eighth, .online = 16, .cores = 8,
		.sockets = 2 },
	{ "ids that are not known", .cpus = 4, .threads = 1, .cores_per_socket = 4,
		.files = 0, .core_id = minus_one, .package_id = minus_one, .online = 4,
		.cores = 4, .sockets = 1 },
	{ "core ids without packages", .cpus = 4, .threads = 2, .cores_per_socket = 2,
		.files = 0, .core_id = modulo_2, .online = 4, .cores = 2, .sockets = 1 },
	{ "nothing", .cpus = 3, .threads = 1, .cores_per_socket = 3, .files = 0,
		.online = 3, .cores = 3, .sockets = 1 },
};

static bool is_online(const struct shape *s, unsigned cpu)
{
	return cpu < s->cpus && cpu >= s->without && (!s->every || cpu % s->every == 0);
}

static unsigned core_of(const struct shape *s, unsigned cpu)
{
	return s->split ? cpu % (s->cpus / s->threads) : cpu / s->threads;
}

static unsigned socket_of(const struct shape *s, unsigned cpu)
{
	return core_of(s, cpu) / s->cores_per_socket;
}

static unsigned whole_of(const struct shape *s, unsigned cpu)
{
	(void)s;
	(void)cpu;
	return 0;
}

typedef unsigned group_of(const struct shape *s, unsigned cpu);

static bool together(const struct shape *s, group_of *of, unsigned a, unsigned b)
{
	return is_online(s, b) && of(s, a) == of(s, b);
}

/* "0-3,8", of those online that are in a group with @cpu. */
static void add_list(
	const struct shape *s, group_of *of, unsigned cpu, struct strbuf *out)
{
	for (unsigned i = 0; i < s->cpus; i++) {
		unsigned first = i;

		if (!together(s, of, cpu, i))
			continue;
		while (together(s, of, cpu, i + 1))
			i++;
		strbuf_addf(out, "%s%u", out->len ? "," : "", first);
		if (i > first)
			strbuf_addf(out, "-%u", i);
	}
	strbuf_addc(out, '\n');
}

/* "0000000f,ffffffff" */
static void add_mask(
	const struct shape *s, group_of *of, unsigned cpu, struct strbuf *out)
{
	for (unsigned word = (s->cpus + 31) / 32; word-- > 0;) {
		unsigned bits = 0;

		for (unsigned i = 0; i < 32; i++)
			bits |= (unsigned)together(s, of, cpu, word * 32 + i) << i;
		strbuf_addf(out, "%08x%s", bits, word ? "," : "\n");
	}
}

static void add_topology_file(
	struct fixture *f, unsigned cpu, const char *file, const char *text)
{
	_cleanup_free_ char *path = xasprintf(CPU_DIR "cpu%u/topology/%s", cpu, file);

	fixture_add(f, path, text);
}

static void add_siblings(struct fixture *f, const struct shape *s, unsigned cpu)
{
	static const struct {
		unsigned files;
		const char *name;
		void (*add)(const struct shape *s, group_of *of, unsigned cpu,
			struct strbuf *out);
		group_of *of;
	} files[] = {
		{ LISTS, "core_cpus_list", add_list, core_of },
		{ LISTS, "package_cpus_list", add_list, socket_of },
		{ OLD_LISTS, "thread_siblings_list", add_list, core_of },
		{ OLD_LISTS, "core_siblings_list", add_list, socket_of },
		{ MASKS, "thread_siblings", add_mask, core_of },
		{ MASKS, "core_siblings", add_mask, socket_of },
	};

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

		if (!(files[i].files & s->files))
			continue;
		files[i].add(s, files[i].of, cpu, &text);
		add_topology_file(f, cpu, files[i].name, strbuf_str(&text));
	}
}

static void add_ids(struct fixture *f, const struct shape *s, unsigned cpu)
{
	if (s->core_id)
		add_topology_file(f, cpu, "core_id", s->core_id(cpu));
	if (s->die_id)
		add_topology_file(f, cpu, "die_id", s->die_id(cpu));
	if (s->package_id)
		add_topology_file(f, cpu, "physical_package_id", s->package_id(cpu));
}

/* @ret_online: as in sysfs. */
static void add_shape(struct fixture *f, const struct shape *s, struct strbuf *ret_online)
{
	_cleanup_free_ char *possible = xasprintf("0-%u\n", s->cpus - 1);
	_cleanup_strbuf_ struct strbuf cpuinfo = STRBUF_INIT;
	unsigned first = s->without;

	fixture_init(f);
	add_list(s, whole_of, first, ret_online);
	fixture_add(f, CPU_DIR "online", strbuf_str(ret_online));
	fixture_add(f, CPU_DIR "possible", possible);
	fixture_add(f, CPU_DIR "present", possible);
	for (unsigned cpu = 0; cpu < s->cpus; cpu++) {
		if (!is_online(s, cpu))
			continue;
		add_siblings(f, s, cpu);
		add_ids(f, s, cpu);
		strbuf_addf(&cpuinfo, "processor\t: %u\nmodel name\t: x\n\n", cpu);
	}
	fixture_add(f, "proc/cpuinfo", strbuf_str(&cpuinfo)); /* lscpu insists on it */
}

/* The highest of lscpu's numbers, which count from 0.  Return: false if it cannot tell. */
static bool ask_lscpu(const struct fixture *f, struct cpu_counts *ret)
{
	_cleanup_free_ char *command = xasprintf(
		"LC_ALL=C lscpu --sysroot %s --parse=CPU,CORE,SOCKET 2>/dev/null",
		f->dir);
	FILE *out = popen(command, "r");
	size_t cpu, core, socket;
	char line[256];

	assert_non_null(out);
	*ret = (struct cpu_counts){ 0 };
	while (fgets(line, sizeof(line), out)) {
		if (sscanf(line, "%zu,%zu,%zu", &cpu, &core, &socket) != 3)
			continue;
		ret->cpus++;
		ret->cores = core + 1 > ret->cores ? core + 1 : ret->cores;
		ret->sockets = socket + 1 > ret->sockets ? socket + 1 : ret->sockets;
	}
	return pclose(out) == 0 && ret->cpus;
}

static void check_counts(
	const struct shape *s, const char *who, const struct cpu_counts *counts)
{
	if (counts->cpus != s->online || counts->cores != s->cores ||
		counts->sockets != s->sockets)
		fail_msg("%s: %s counts %zu CPUs, %zu cores, %zu sockets", s->what, who,
			counts->cpus, counts->cores, counts->sockets);
}

static void cores_and_sockets_are_counted_as_lscpu_does(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
		const struct shape *s = &shapes[i];
		_cleanup_strbuf_ struct strbuf online = STRBUF_INIT;
		struct cpu_counts counts = { 0 };
		struct fixture f;

		add_shape(&f, s, &online);
		cpu_topology_count(f.fd, strbuf_str(&online), &counts);
		check_counts(s, "vhostmd", &counts);
		if (s->files & MASKS && ask_lscpu(&f, &counts))
			check_counts(s, "lscpu", &counts);
		fixture_done(&f);
	}
}

/* ---- frequency ---- */

#define MAX_FILES 6

/* Only what the first CPU that is online says counts. */
static const struct {
	const char *what;
	unsigned cpu; /* the first one online */
	struct {
		const char *file; /* of the CPU, but for "cpuinfo" */
		const char *text;
	} files[MAX_FILES];
	uint64_t mhz;
} hosts[] = {
	{ "intel_pstate, the processor scales itself", 0,
		{ { "cpufreq/scaling_driver", "intel_pstate\n" },
			{ "cpufreq/base_frequency", "2100000\n" },
			{ "cpufreq/cpuinfo_max_freq", "3900000\n" },
			{ "acpi_cppc/nominal_freq", "2200\n" },
			{ "cpuinfo",
				"model name\t: Intel(R) Xeon(R) Platinum 8000\n"
				"cpu MHz\t\t: 3712.004\n" } },
		2100 },
	{ "intel_pstate, the driver scales", 0,
		{ { "cpufreq/scaling_driver", "intel_pstate\n" },
			{ "cpufreq/cpuinfo_max_freq", "3300000\n" },
			{ "cpuinfo",
				"model name\t: Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz\n"
				"cpu MHz\t\t: 1200.104\nbogomips\t: 4788.99\n" } },
		2400 },
	{ "acpi-cpufreq on Intel, boost on top", 0,
		{ { "cpufreq/scaling_driver", "acpi-cpufreq\n" },
			{ "cpufreq/cpuinfo_max_freq", "2001000\n" },
			{ "cpufreq/scaling_available_frequencies",
				"2001000 2000000 1900000 1800000 \n" },
			{ "cpufreq/bios_limit", "2001000\n" } },
		2000 },
	{ "acpi-cpufreq on AMD, boost apart", 0,
		{ { "cpufreq/scaling_driver", "acpi-cpufreq\n" },
			{ "cpufreq/cpuinfo_max_freq", "3529052\n" },
			{ "cpufreq/scaling_available_frequencies",
				"1500000 2450000 2000000 \n" },
			{ "cpufreq/bios_limit",
				"2000000\n" }, /* the platform's, just now */
			{ "cpuinfo",
				"model name\t: AMD EPYC 7000 64-Core Processor\n"
				"cpu MHz\t\t: 3243.112\n" } },
		2450 },
	{ "acpi-cpufreq, the limit alone", 0,
		{ { "cpufreq/scaling_driver", "acpi-cpufreq\n" },
			{ "cpufreq/bios_limit", "2250000\n" },
			{ "cpufreq/cpuinfo_max_freq", "3400000\n" } },
		2250 },
	{ "amd-pstate", 0,
		{ { "cpufreq/scaling_driver", "amd-pstate-epp\n" },
			{ "cpufreq/cpuinfo_max_freq", "3707812\n" },
			{ "acpi_cppc/nominal_freq", "2400\n" } },
		2400 },
	{ "amd-pstate, firmware that is silent", 0,
		{ { "cpufreq/scaling_driver", "amd-pstate\n" },
			{ "cpufreq/cpuinfo_max_freq", "3707812\n" },
			{ "acpi_cppc/nominal_freq", "0\n" },
			{ "cpuinfo",
				"model name\t: AMD EPYC 9000 32-Core Processor\n"
				"cpu MHz\t\t: 3699.950\n"
				"flags\t\t: fpu constant_tsc aperfmperf\n"
				"bogomips\t: 4792.64\n" } },
		2396 },
	{ "no driver, yet what is shown is measured", 0,
		{ { "cpuinfo",
			"model name\t: AMD EPYC 7000 64-Core Processor\n"
			"cpu MHz\t\t: 3243.112\n"
			"flags\t\t: fpu constant_tsc rep_good aperfmperf pni\n"
			"bogomips\t: 4890.80\n" } },
		2445 },
	{ "a VM", 0,
		{ { "cpuinfo",
			"model name\t: Intel Xeon Processor (Skylake, IBRS)\n"
			"cpu MHz\t\t: 2294.608\nflags\t\t: fpu constant_tsc rep_good\n"
			"bogomips\t: 4589.21\n" } },
		2295 },
	{ "nothing but what it runs at just now", 0,
		{ { "cpufreq/scaling_driver", "amd-pstate\n" },
			{ "cpufreq/scaling_cur_freq", "1800000\n" },
			{ "cpufreq/cpuinfo_max_freq", "3707812\n" },
			{ "cpuinfo",
				"model name\t: AMD Something\ncpu MHz\t\t: 1800.0\n" } },
		0 },
	{ "a sample that is not for sale", 0,
		{ { "cpufreq/scaling_driver", "intel_pstate\n" },
			{ "cpuinfo",
				"model name\t: Genuine Intel(R) CPU 0000 @ 0.00GHz\n" } },
		0 },
	{ "older names", 0,
		{ { "cpuinfo",
			"model name\t: Intel(R) Pentium(R) D CPU 3.00GHz\n"
			"cpu MHz\t\t: 2800.000\n" } },
		3000 },
	{ "no space", 0,
		{ { "cpuinfo", "model name\t: ZHAOXIN KaiSheng KH-37800D@2.7GHz\n" } },
		2700 },
	{ "arm64, CPPC", 0,
		{ { "cpufreq/scaling_driver", "cppc_cpufreq\n" },
			{ "cpufreq/cpuinfo_max_freq", "3000000\n" },
			{ "acpi_cppc/nominal_freq", "2600\n" },
			{ "cpuinfo", "processor\t: 0\nBogoMIPS\t: 50.00\n" } },
		2600 },
	{ "arm64, CPPC of the first version", 0,
		{ { "cpufreq/scaling_driver", "cppc_cpufreq\n" },
			{ "cpufreq/cpuinfo_max_freq", "2600000\n" },
			{ "acpi_cppc/nominal_freq", "0\n" },
			{ "acpi_cppc/nominal_perf", "260\n" },
			{ "acpi_cppc/highest_perf", "300\n" } },
		2600 },
	{ "arm64, the same with boosts", 0,
		{ { "cpufreq/scaling_driver", "cppc_cpufreq\n" },
			{ "cpufreq/cpuinfo_max_freq", "3000000\n" },
			{ "../cpufreq/boost", "1\n" },
			{ "acpi_cppc/nominal_perf", "260\n" },
			{ "acpi_cppc/highest_perf", "300\n" } },
		2600 },
	{ "arm64, a device tree", 4,
		{ { "cpufreq/scaling_driver", "cpufreq-dt\n" },
			{ "cpufreq/scaling_available_frequencies",
				"408000 1008000 1800000 \n" },
			{ "cpufreq/scaling_boost_frequencies", "2016000 \n" },
			{ "cpufreq/cpuinfo_max_freq", "2016000\n" } },
		1800 },
	{ "RISC-V, two cells of 1500 MHz", 0,
		{ { "of_node/clock-frequency", NULL },
			{ "cpuinfo",
				"processor\t: 0\nhart\t\t: 1\nisa\t\t: rv64imafdc\n" } },
		1500 },
	{ "POWER, bare metal", 8,
		{ { "cpufreq/scaling_driver", "powernv-cpufreq\n" },
			{ "cpufreq/cpuinfo_nominal_freq", "3450000\n" },
			{ "cpufreq/scaling_available_frequencies",
				"3800000 3783000 3450000 2300000 \n" },
			{ "cpufreq/cpuinfo_max_freq", "3800000\n" },
			{ "cpuinfo",
				"processor\t: 8\ncpu\t\t: POWER9, altivec supported\n"
				"clock\t\t: 3783.000000MHz\n" } },
		3450 },
	{ "POWER, an LPAR", 0,
		{ { "cpuinfo",
			"processor\t: 0\ncpu\t\t: POWER9, altivec supported\n"
			"clock\t\t: 3425.000000MHz\n"
			"revision\t: 2.2 (pvr 004e 1202)\n" } },
		3425 },
	{ "POWER, scaled by who knows what", 0,
		{ { "cpufreq/scaling_driver", "powernv-cpufreq\n" },
			{ "cpuinfo", "processor\t: 0\nclock\t\t: 2300.000000MHz\n" } },
		0 },
	{ "IBM Z", 0,
		{ { "cpuinfo",
			"vendor_id       : IBM/S390\nbogomips per cpu: 3033.00\n\n"
			"cpu number      : 0\ncpu MHz dynamic : 4800\n"
			"cpu MHz static  : 5200\n" } },
		5200 },
	{ "LoongArch", 0,
		{ { "cpuinfo",
			"Model Name\t\t: Loongson-3C5000\nCPU MHz\t\t\t: 2200.00\n" } },
		2200 },
	{ "numbers without sense", 0,
		{ { "cpufreq/base_frequency", "18446744073709551615\n" },
			{ "acpi_cppc/nominal_freq", "x\n" },
			{ "cpufreq/scaling_available_frequencies", "-1\n" },
			{ "of_node/clock-frequency", "abc" },
			{ "cpuinfo",
				"model name\t: GHz\nclock\t: 1" /* no line's end */ } },
		0 },
	{ "numbers without end", 0,
		{ { "cpuinfo",
			"model name\t: 9999999999999999999999999999.9GHz\n"
			"cpu MHz\t\t: 99999999999999999999999999999.9\n"
			"bogomips\t: 1.2.3\n" } },
		0 },
};

static void add_bytes(
	struct fixture *f, const char *path, const unsigned char *bytes, size_t n)
{
	fixture_add(f, path, "");
	_cleanup_close_ int fd = openat(f->fd, path, O_WRONLY);

	assert_int_equal(write(fd, bytes, n), (ssize_t)n);
}

static void the_frequency_is_the_nominal_one(void **state)
{
	(void)state;
	static const unsigned char hz[] = { 0, 0, 0, 0, 0x59, 0x68, 0x2f, 0x00 };

	for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
		_cleanup_free_ char *online =
			xasprintf("%u-%u\n", hosts[i].cpu, hosts[i].cpu + 7);
		struct fixture f;

		fixture_init(&f);
		fixture_add(&f, CPU_DIR "online", online);
		/* another CPU says something else */
		fixture_add(&f, CPU_DIR "cpu1/cpufreq/base_frequency", "1000\n");
		for (size_t k = 0; k < MAX_FILES && hosts[i].files[k].file; k++) {
			const char *file = hosts[i].files[k].file;
			_cleanup_free_ char *path = !strcmp(file, "cpuinfo")
				? xstrdup("proc/cpuinfo")
				: xasprintf(CPU_DIR "cpu%u/%s", hosts[i].cpu, file);

			if (hosts[i].files[k].text)
				fixture_add(&f, path, hosts[i].files[k].text);
			else
				add_bytes(&f, path, hz, sizeof(hz));
		}
		uint64_t mhz = cpu_frequency_nominal_mhz(f.fd);

		if (mhz != hosts[i].mhz)
			fail_msg("%s: %llu MHz", hosts[i].what, (unsigned long long)mhz);
		fixture_done(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cores_and_sockets_are_counted_as_lscpu_does),
		cmocka_unit_test(the_frequency_is_the_nominal_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

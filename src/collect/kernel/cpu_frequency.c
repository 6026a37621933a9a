/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What tells the nominal frequency depends on the architecture, and on x86, POWER and arm64
 * on the driver that scales it:
 *
 *   cpufreq/base_frequency                 intel_pstate, where the processor scales itself
 *   acpi_cppc/nominal_freq                 amd-pstate, cppc_cpufreq (arm64)
 *   cpufreq/cpuinfo_nominal_freq           powernv-cpufreq
 *   cpufreq/scaling_available_frequencies  acpi-cpufreq, device tree drivers; boost apart
 *   cpufreq/bios_limit                     acpi-cpufreq; the platform may lower it
 *   cpufreq/cpuinfo_max_freq               cppc_cpufreq alone, which has none else with old
 *                                          firmware; with most drivers it is the boost
 *   /proc/cpuinfo                          by the name of the processor (Intel), IBM Z,
 *                                          or where nothing scales: VMs, POWER LPARs
 *   of_node/clock-frequency                device trees: RISC-V, arm64
 *
 * The last of x86 is the time stamp counter, which runs at the nominal frequency.
 */
#include "collect/kernel/cpu_frequency.h"

#include <ctype.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collect/kernel/proc_text.h"
#include "util/cleanup.h"
#include "util/fileio.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"

#define KHZ_PER_MHZ 1000u
#define MAX_MHZ 1000000u /* more is a mistake */
/* acpi-cpufreq's list on Intel has the boost on top, as so much more than the nominal one. */
#define BOOST_MARK_KHZ 1000u

static char *cpu_path(uint64_t cpu, const char *file)
{
	return xasprintf("sys/devices/system/cpu/cpu%" PRIu64 "/%s", cpu, file);
}

static int read_cpu_file(int root_fd, uint64_t cpu, const char *file, struct strbuf *out)
{
	_cleanup_free_ char *path = cpu_path(cpu, file);

	return read_file_at(root_fd, path, LIMIT_SYSFS_FILE_BYTES, out);
}

static uint64_t read_number(int root_fd, uint64_t cpu, const char *file)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	uint64_t v = 0;

	if (read_cpu_file(root_fd, cpu, file, &text) < 0)
		return 0;
	const char *p = strbuf_str(&text);

	return parse_u64_at(&p, &v) == 0 && v / KHZ_PER_MHZ < MAX_MHZ ? v : 0;
}

/* "2450000 2000000 1500000", in any order. */
static uint64_t highest_available_khz(int root_fd, uint64_t cpu)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	uint64_t khz = 0, first = 0, second = 0;

	if (read_cpu_file(root_fd, cpu, "cpufreq/scaling_available_frequencies", &text) <
		0)
		return 0;
	for (const char *p = strbuf_str(&text); parse_u64_at(&p, &khz) == 0;
		p += strspn(p, " ")) {
		if (khz > first) {
			second = first;
			first = khz;
		} else if (khz < first && khz > second) {
			second = khz;
		}
	}
	return second && first - second == BOOST_MARK_KHZ ? second : first;
}

/* cpuinfo_max_freq stands for the highest performance if boosts are on, else the nominal one. */
static uint64_t cppc_khz(int root_fd, uint64_t cpu)
{
	_cleanup_strbuf_ struct strbuf driver = STRBUF_INIT;

	if (read_cpu_file(root_fd, cpu, "cpufreq/scaling_driver", &driver) < 0 ||
		strcmp(strbuf_str(&driver), "cppc_cpufreq\n") != 0)
		return 0;
	uint64_t khz = read_number(root_fd, cpu, "cpufreq/cpuinfo_max_freq");
	uint64_t nominal = read_number(root_fd, cpu, "acpi_cppc/nominal_perf");
	uint64_t highest = read_number(root_fd, cpu, "acpi_cppc/highest_perf");

	if (!nominal || !highest || !read_number(root_fd, cpu, "../cpufreq/boost"))
		return khz;
	return khz * nominal / highest;
}

static uint64_t sysfs_khz(int root_fd, uint64_t cpu)
{
	uint64_t khz = read_number(root_fd, cpu, "cpufreq/base_frequency");

	if (!khz)
		khz = read_number(root_fd, cpu, "acpi_cppc/nominal_freq") * KHZ_PER_MHZ;
	if (!khz)
		khz = read_number(root_fd, cpu, "cpufreq/cpuinfo_nominal_freq");
	if (!khz)
		khz = highest_available_khz(root_fd, cpu);
	if (!khz)
		khz = read_number(root_fd, cpu, "cpufreq/bios_limit");
	if (!khz)
		khz = cppc_khz(root_fd, cpu);
	return khz;
}

/* ---- /proc/cpuinfo ---- */

/* What its first lines of each kind say; MHz, 0: nothing. */
struct cpuinfo {
	double named;    /* x86: in the processor's name */
	double constant; /* IBM Z */
	double now; /* x86, POWER, LoongArch: is measured where something scales it */
	double bogomips; /* x86: twice the time stamp counter's frequency */
	bool tsc_constant, measured;
};

/* "Xeon(R) CPU E5-2680 v4 @ 2.40GHz", "KH-37800D@2.7GHz", "Pentium(R) 4 CPU 3 GHz" */
static double named_mhz(const char *name, size_t len)
{
	_cleanup_free_ char *text = xstrndup(name, len);
	char *unit = strstr(text, "GHz");
	double v = 0;

	if (!unit)
		return 0;
	if (unit > text && unit[-1] == ' ')
		unit--;
	const char *p = unit;

	while (p > text && (isdigit((unsigned char)p[-1]) || p[-1] == '.'))
		p--;
	*unit = '\0';
	return parse_real(p, &v) == 0 && v * 1000 < MAX_MHZ ? v * 1000 : 0;
}

static void read_line(const char *p, struct cpuinfo *info)
{
	const char *v = NULL;
	double *number = NULL;
	double mhz = 0;

	if (proc_line_is(p, "model name", &v) && !(info->named > 0))
		info->named = named_mhz(v, strcspn(v, "\n"));
	else if (proc_line_is(p, "flags", &v)) {
		size_t len = strcspn(v, "\n");

		info->tsc_constant |= memmem(v, len, "constant_tsc", 12) != NULL;
		info->measured |= memmem(v, len, "aperfmperf", 10) != NULL;
	} else if (proc_line_is(p, "cpu MHz static", &v))
		number = &info->constant;
	else if (proc_line_is(p, "cpu MHz", &v) || proc_line_is(p, "CPU MHz", &v) ||
		proc_line_is(p, "clock", &v))
		number = &info->now;
	else if (proc_line_is(p, "bogomips", &v))
		number = &info->bogomips;
	if (number && !(*number > 0) && proc_take_real(&v, &mhz) && mhz < MAX_MHZ)
		*number = mhz;
}

/* @scaled: something changes the CPUs' frequency. */
static uint64_t cpuinfo_mhz(int root_fd, bool scaled)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct cpuinfo info = { 0 };
	double mhz = 0;

	if (read_file_at(root_fd, "proc/cpuinfo", LIMIT_CPUINFO_BYTES, &text) < 0)
		return 0;
	for (const char *p = strbuf_str(&text); *p; p = proc_next_line(p))
		read_line(p, &info);
	if (info.named > 0)
		mhz = info.named;
	else if (info.constant > 0)
		mhz = info.constant;
	else if (!scaled && !info.measured)
		mhz = info.now;
	else if (info.tsc_constant)
		mhz = info.bogomips / 2;
	return (uint64_t)(mhz + 0.5);
}

/* ---- device trees ---- */

/* One or two cells, big-endian, Hz. */
static uint64_t device_tree_mhz(int root_fd, uint64_t cpu)
{
	_cleanup_strbuf_ struct strbuf cells = STRBUF_INIT;
	uint64_t hz = 0;

	if (read_cpu_file(root_fd, cpu, "of_node/clock-frequency", &cells) < 0 ||
		(cells.len != 4 && cells.len != 8))
		return 0;
	for (size_t i = 0; i < cells.len; i++)
		hz = hz << 8 | (unsigned char)cells.data[i];
	return hz / 1000000;
}

/* True if something changes the CPU's frequency. */
static bool has_driver(int root_fd, uint64_t cpu)
{
	_cleanup_free_ char *path = cpu_path(cpu, "cpufreq");

	return faccessat(root_fd, path, F_OK, 0) == 0;
}

static uint64_t first_online(int root_fd)
{
	_cleanup_strbuf_ struct strbuf online = STRBUF_INIT;
	uint64_t cpu = 0;

	if (read_file_at(root_fd, "sys/devices/system/cpu/online", LIMIT_SYSFS_FILE_BYTES,
		    &online) == 0) {
		const char *p = strbuf_str(&online);

		(void)parse_u64_at(&p, &cpu);
	}
	return cpu;
}

uint64_t cpu_frequency_nominal_mhz(int root_fd)
{
	uint64_t cpu = first_online(root_fd);
	uint64_t mhz = sysfs_khz(root_fd, cpu) / KHZ_PER_MHZ;

	if (!mhz)
		mhz = cpuinfo_mhz(root_fd, has_driver(root_fd, cpu));
	if (!mhz)
		mhz = device_tree_mhz(root_fd, cpu);
	return mhz < MAX_MHZ ? mhz : 0;
}

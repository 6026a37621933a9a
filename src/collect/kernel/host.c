/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/kernel/host.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "collect/kernel/cpu_frequency.h"
#include "collect/kernel/cpu_topology.h"
#include "collect/kernel/host_vendor.h"
#include "collect/kernel/proc_text.h"
#include "core/catalogue.h"
#include "core/metric_list.h"
#include "model/plan.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/fileio.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"

enum host_file {
	FILE_STAT,
	FILE_MEMINFO,
	FILE_VMSTAT,
	FILE_LOADAVG,
	FILE_UPTIME,
	FILE_PRESSURE_CPU,
	FILE_PRESSURE_MEMORY,
	FILE_PRESSURE_IO,
	FILE_ONLINE,
	FILE_COUNT,
};

/* What rates are made of, and the last ones. */
struct host_rates {
	int64_t mono_ns; /* 0: none yet */
	uint64_t pgpgin, pgfault;
	struct fact page_in, page_fault;
};

struct host {
	int root_fd;
	int fds[FILE_COUNT]; /* kept open; -1: not yet, or the file does not exist */
	struct strbuf text;  /* of the file that is read */
	struct fact facts[HOST_KEY_COUNT];
	bool failed; /* something could not be read, though it may exist */
	struct utsname uts;
	char short_name[sizeof(((struct utsname *)NULL)->nodename)];
	char os_name[sizeof(((struct utsname *)NULL)->sysname)];
	char *vendor;
	char *online; /* the CPUs that the counts below were taken for */
	struct cpu_counts cpus;
	uint64_t mhz; /* nominal; 0: not known */

	int64_t period_ns; /* of the plan in force */
	struct host_rates rates;
};

struct host *host_new(int root_fd)
{
	struct host *host = xcalloc(1, sizeof(*host));

	host->root_fd = root_fd;
	for (size_t i = 0; i < FILE_COUNT; i++)
		host->fds[i] = -1;
	return host;
}

void host_free(struct host *host)
{
	if (!host)
		return;
	for (size_t i = 0; i < FILE_COUNT; i++)
		close_p(&host->fds[i]);
	strbuf_done(&host->text);
	free(host->vendor);
	free(host->online);
	free(host);
}

static void set(struct host *host, enum host_key key, struct value value)
{
	fact_set(&host->facts[key], value);
}

static bool get_u64(const struct host *host, enum host_key key, uint64_t *ret)
{
	if (!host->facts[key].have)
		return false;
	*ret = host->facts[key].value.u;
	return true;
}

/* What the kernel does not have, or does not show us, is absent; all else may come yet. */
static void note_failure(struct host *host, int r)
{
	host->failed |= r < 0 && r != -ENOENT && r != -ENOTDIR && r != -EOPNOTSUPP &&
		r != -EACCES && r != -EPERM;
}

/* Reads a kept-open file from its start into host.text.  Return: 0 or -errno, which is noted. */
static int read_start(struct host *host, enum host_file file)
{
	static const char *const paths[] = {
		[FILE_STAT] = "proc/stat",
		[FILE_MEMINFO] = "proc/meminfo",
		[FILE_VMSTAT] = "proc/vmstat",
		[FILE_LOADAVG] = "proc/loadavg",
		[FILE_UPTIME] = "proc/uptime",
		[FILE_PRESSURE_CPU] = "proc/pressure/cpu",
		[FILE_PRESSURE_MEMORY] = "proc/pressure/memory",
		[FILE_PRESSURE_IO] = "proc/pressure/io",
		[FILE_ONLINE] = "sys/devices/system/cpu/online",
	};
	static_assert(ARRAY_LEN(paths) == FILE_COUNT, "a path for each file");

	strbuf_clear(&host->text);
	if (host->fds[file] < 0)
		host->fds[file] = open_at(host->root_fd, paths[file], O_RDONLY);
	if (host->fds[file] < 0) {
		int error = -errno;

		note_failure(host, error);
		return error;
	}
	int r = lseek(host->fds[file], 0, SEEK_SET) < 0
		? -errno
		: read_all(host->fds[file], LIMIT_PROC_FILE_BYTES, &host->text);

	note_failure(host, r);
	if (r < 0) {
		strbuf_clear(&host->text);
		close_p(&host->fds[file]);
		host->fds[file] = -1;
	}
	return r;
}

/* The same of one that ends with a line's end.  Return: host.text; "" if it cannot be had. */
static const char *read_kept(struct host *host, enum host_file file)
{
	if (read_start(host, file) == 0)
		host->failed |= !proc_is_whole(strbuf_str(&host->text));
	return strbuf_str(&host->text);
}

static void set_counter(struct host *host, enum host_key key, const char *p)
{
	fact_set_u64(&host->facts[key], p);
}

enum cpu_time {
	CPU_USER,
	CPU_NICE,
	CPU_SYSTEM,
	CPU_IDLE,
	CPU_IOWAIT,
	CPU_IRQ,
	CPU_SOFTIRQ,
	CPU_STEAL,
	CPU_GUEST,
	CPU_GUEST_NICE,
	CPU_TIME_COUNT,
};

/* Sets @key to the sum of the times in @mask, if all are known. */
static void set_cpu_time(
	struct host *host, enum host_key key, const struct fact *times, unsigned mask)
{
	uint64_t ns = 0;

	for (unsigned i = 0; i < CPU_TIME_COUNT; i++) {
		if (!(mask & 1u << i))
			continue;
		if (!times[i].have)
			return;
		ns += times[i].value.u;
	}
	set(host, key, value_u64(ns));
}

/*
 * proc(5), /proc/stat: "cpu" user nice system idle iowait irq softirq steal guest ...
 * A time may be less than nothing, as an unsigned number (steal, after a migration of the
 * host itself): that one is unavailable.
 */
static void parse_cpu_line(struct host *host, const char *p)
{
	static const struct {
		enum host_key key;
		unsigned mask;
	} sums[] = {
		{ HOST_CPU_USER, 1u << CPU_USER },
		{ HOST_CPU_NICE, 1u << CPU_NICE },
		{ HOST_CPU_SYSTEM, 1u << CPU_SYSTEM },
		{ HOST_CPU_TIME, 1u << CPU_USER | 1u << CPU_NICE | 1u << CPU_SYSTEM },
		{ HOST_CPU_IDLE, 1u << CPU_IDLE },
		{ HOST_CPU_IOWAIT, 1u << CPU_IOWAIT },
		{ HOST_CPU_IRQ, 1u << CPU_IRQ | 1u << CPU_SOFTIRQ },
		{ HOST_CPU_STEAL, 1u << CPU_STEAL },
		{ HOST_CPU_GUEST, 1u << CPU_GUEST | 1u << CPU_GUEST_NICE },
	};
	const uint64_t ns_per_tick = (uint64_t)NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK);
	struct fact times[CPU_TIME_COUNT] = { 0 };

	for (int i = 0; i < CPU_TIME_COUNT; i++) {
		uint64_t ticks = 0;
		int r = parse_u64_at(&p, &ticks);

		if (r == -EINVAL)
			break;
		/* bounded, so that sums fit */
		if (r == 0 && ticks <= UINT64_MAX / ns_per_tick / CPU_TIME_COUNT)
			fact_set(&times[i], value_u64(ticks * ns_per_tick));
		p += strspn(p, " ");
	}
	for (size_t i = 0; i < ARRAY_LEN(sums); i++)
		set_cpu_time(host, sums[i].key, times, sums[i].mask);
}

static void sample_stat(struct host *host)
{
	for (const char *p = read_kept(host, FILE_STAT); *p; p = proc_next_line(p)) {
		const char *v = NULL;

		if (proc_line_is(p, "cpu", &v))
			parse_cpu_line(host, v);
		else if (proc_line_is(p, "ctxt", &v))
			set_counter(host, HOST_CONTEXT_SWITCHES, v);
		else if (proc_line_is(p, "procs_running", &v))
			set_counter(host, HOST_PROCS_RUNNING, v);
		else if (proc_line_is(p, "procs_blocked", &v))
			set_counter(host, HOST_PROCS_BLOCKED, v);
	}
}

/* Sets @key to the sum of @plus less the sum of @minus, if all of them are known. */
static void set_difference(struct host *host, enum host_key key,
	const enum host_key *plus, size_t n_plus, const enum host_key *minus,
	size_t n_minus)
{
	uint64_t sum = 0, v = 0;

	for (size_t i = 0; i < n_plus; i++) {
		if (!get_u64(host, plus[i], &v))
			return;
		sum += v;
	}
	for (size_t i = 0; i < n_minus; i++) {
		if (!get_u64(host, minus[i], &v))
			return;
		sum = sum > v ? sum - v : 0;
	}
	set(host, key, value_u64(sum));
}

#define KEYS(...)                                                                        \
	(const enum host_key[]){ __VA_ARGS__ },                                          \
		ARRAY_LEN(((const enum host_key[]){ __VA_ARGS__ }))

static void sample_meminfo(struct host *host)
{
	static const struct {
		const char *word;
		enum host_key key;
	} lines[] = { { "MemTotal", HOST_MEM_TOTAL }, { "MemFree", HOST_MEM_FREE },
		{ "MemAvailable", HOST_MEM_AVAILABLE }, { "Buffers", HOST_MEM_BUFFERS },
		{ "Cached", HOST_MEM_CACHED }, { "SwapCached", HOST_SWAP_CACHED },
		{ "SwapTotal", HOST_SWAP_TOTAL }, { "SwapFree", HOST_SWAP_FREE },
		{ "HugePages_Total", HOST_HUGEPAGES_TOTAL },
		{ "HugePages_Free", HOST_HUGEPAGES_FREE },
		{ "HugePages_Rsvd", HOST_HUGEPAGES_RESERVED },
		{ "HugePages_Surp", HOST_HUGEPAGES_SURPLUS },
		{ "Hugepagesize", HOST_HUGEPAGES_SIZE } };

	for (const char *p = read_kept(host, FILE_MEMINFO); *p; p = proc_next_line(p))
		for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
			const char *v = NULL;

			if (proc_line_is(p, lines[i].word, &v))
				set_counter(host, lines[i].key, v);
		}
	set_difference(
		host, HOST_MEM_USED, KEYS(HOST_MEM_TOTAL), KEYS(HOST_MEM_AVAILABLE));
	set_difference(host, HOST_MEM_APPS, KEYS(HOST_MEM_TOTAL),
		KEYS(HOST_MEM_FREE, HOST_MEM_BUFFERS, HOST_MEM_CACHED));
	set_difference(host, HOST_SWAP_USED, KEYS(HOST_SWAP_TOTAL), KEYS(HOST_SWAP_FREE));
	set_difference(
		host, HOST_VMEM_FREE, KEYS(HOST_MEM_FREE, HOST_SWAP_FREE), NULL, 0);
	set_difference(host, HOST_VMEM_USED, KEYS(HOST_MEM_TOTAL, HOST_SWAP_TOTAL),
		KEYS(HOST_MEM_FREE, HOST_MEM_CACHED, HOST_MEM_BUFFERS, HOST_SWAP_CACHED));
}

/* 1/s of a counter; a counter that went back gives none. */
static void set_rate(struct fact *ret, uint64_t now, uint64_t then, double s)
{
	*ret = (struct fact){ 0 };
	if (now >= then)
		fact_set(ret, value_real((double)(now - then) / s));
}

/* Over less than @least_ns the rates before stand, if there are any. */
static void sample_rates(struct host *host, int64_t least_ns)
{
	struct host_rates *last = &host->rates;
	uint64_t pgpgin = 0, pgfault = 0;
	int64_t now = clock_mono_ns(), passed = now - last->mono_ns;

	if (!get_u64(host, HOST_PAGE_IN, &pgpgin) ||
		!get_u64(host, HOST_PAGE_FAULTS, &pgfault))
		return;
	if (!last->mono_ns || (passed > 0 && passed >= least_ns)) {
		if (last->mono_ns) {
			double s = (double)passed / 1e9;

			set_rate(&last->page_in, pgpgin, last->pgpgin, s);
			set_rate(&last->page_fault, pgfault, last->pgfault, s);
		}
		last->mono_ns = now;
		last->pgpgin = pgpgin;
		last->pgfault = pgfault;
	}
	host->facts[HOST_PAGE_IN_RATE] = last->page_in;
	host->facts[HOST_PAGE_FAULT_RATE] = last->page_fault;
}

static void sample_vmstat(struct host *host)
{
	static const struct {
		const char *word;
		enum host_key key;
	} lines[] = { { "pgpgin", HOST_PAGE_IN }, { "pgpgout", HOST_PAGE_OUT },
		{ "pgfault", HOST_PAGE_FAULTS }, { "pgmajfault", HOST_PAGE_MAJOR_FAULTS },
		{ "pswpin", HOST_SWAP_IN }, { "pswpout", HOST_SWAP_OUT } };
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	for (const char *p = read_kept(host, FILE_VMSTAT); *p; p = proc_next_line(p))
		for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
			const char *v = NULL;

			if (proc_line_is(p, lines[i].word, &v))
				set_counter(host, lines[i].key, v);
		}
	host->facts[HOST_SWAP_IN].value.u *= page;
	host->facts[HOST_SWAP_OUT].value.u *= page;
	sample_rates(host, host->period_ns / 2);
}

static void sample_loadavg(struct host *host)
{
	static const enum host_key keys[] = { HOST_LOAD1, HOST_LOAD5, HOST_LOAD15 };
	const char *p = read_kept(host, FILE_LOADAVG);

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		double v = 0;

		if (!proc_take_real(&p, &v))
			return;
		set(host, keys[i], value_real(v));
		p += strspn(p, " ");
	}
}

static void sample_uptime(struct host *host)
{
	const char *p = read_kept(host, FILE_UPTIME);
	double v = 0;

	if (proc_take_real(&p, &v))
		set(host, HOST_UPTIME, value_real(v));
}

static void sample_pressures(struct host *host)
{
	static const struct {
		enum host_file file;
		enum host_key some, full;
	} files[] = {
		{ FILE_PRESSURE_CPU, HOST_PRESSURE_CPU_SOME_AVG10,
			HOST_PRESSURE_CPU_FULL_AVG10 },
		{ FILE_PRESSURE_MEMORY, HOST_PRESSURE_MEMORY_SOME_AVG10,
			HOST_PRESSURE_MEMORY_FULL_AVG10 },
		{ FILE_PRESSURE_IO, HOST_PRESSURE_IO_SOME_AVG10,
			HOST_PRESSURE_IO_FULL_AVG10 },
	};

	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		proc_parse_pressure(read_kept(host, files[i].file),
			&host->facts[files[i].some], &host->facts[files[i].full]);
}

static void sample_identity(struct host *host)
{
	if (uname(&host->uts) < 0)
		return;
	memcpy(host->short_name, host->uts.nodename, sizeof(host->short_name));
	host->short_name[strcspn(host->short_name, ".")] = '\0';
	for (size_t i = 0; i < sizeof(host->os_name); i++)
		host->os_name[i] = (char)tolower((unsigned char)host->uts.sysname[i]);
	set(host, HOST_NAME, value_string(host->uts.nodename));
	set(host, HOST_NAME_SHORT, value_string(host->short_name));
	set(host, HOST_OS_NAME, value_string(host->os_name));
	set(host, HOST_OS_RELEASE, value_string(host->uts.release));
	set(host, HOST_OS_MACHINE, value_string(host->uts.machine));
}

static void sample_vendor(struct host *host)
{
	unsigned before = open_shortages();

	if (!host->vendor)
		host->vendor = host_vendor(host->root_fd);
	host->failed |= open_shortages() != before;
	if (host->vendor)
		set(host, HOST_VIRT_VENDOR, value_string(host->vendor));
}

/* "cpu<N> ...", a line for each that is online. */
static void online_by_stat(struct host *host, struct strbuf *out)
{
	for (const char *p = read_kept(host, FILE_STAT); *p; p = proc_next_line(p)) {
		const char *number = p + 3;
		uint64_t n = 0;

		if (!strncmp(p, "cpu", 3) && parse_u64_at(&number, &n) == 0)
			strbuf_addf(out, "%s%" PRIu64, out->len ? "," : "", n);
	}
}

/* Walks the topology only when the set of online CPUs changed. */
static void sample_cpus(struct host *host)
{
	_cleanup_strbuf_ struct strbuf online = STRBUF_INIT;

	(void)read_start(host, FILE_ONLINE);
	strbuf_adds(&online, strbuf_str(&host->text));
	char first = strbuf_str(&online)[0];

	if (!host->failed && (first < '0' || first > '9')) {
		strbuf_clear(&online);
		online_by_stat(host, &online);
	}
	if (online.len &&
		(!host->online || strcmp(host->online, strbuf_str(&online)) != 0)) {
		unsigned before = open_shortages();

		cpu_topology_count(host->root_fd, strbuf_str(&online), &host->cpus);
		host->mhz = cpu_frequency_nominal_mhz(host->root_fd);
		free(host->online);
		host->online = strbuf_steal(&online);
		if (open_shortages() != before) {
			/* counts of what could be opened are not true: the next sample's are */
			host->cpus.sockets = host->cpus.cores = host->mhz = 0;
			host->failed = true;
			free(TAKE_PTR(host->online));
		}
	}
	if (host->cpus.cpus)
		set(host, HOST_CPU_COUNT, value_u64(host->cpus.cpus));
	if (host->cpus.sockets)
		set(host, HOST_CPU_SOCKETS, value_u64(host->cpus.sockets));
	if (host->cpus.cores)
		set(host, HOST_CPU_CORES, value_u64(host->cpus.cores));
	if (host->mhz)
		set(host, HOST_CPU_FREQUENCY, value_u64(host->mhz));
}

/* Of what was read, @read, and is not there: what makes a rate may be, and it not yet. */
static void set_absent(struct host *host, uint64_t read)
{
#define READS_OF(key, name, type, unit, kind, reads, ...) [HOST_##key] = (reads),
	static const uint64_t reads_of[HOST_KEY_COUNT] = { HOST_SOURCES(READS_OF) };
#undef READS_OF

	for (size_t i = 0; i < HOST_KEY_COUNT; i++)
		if (reads_of[i] & read)
			fact_set_absent(&host->facts[i]);
	host->facts[HOST_PAGE_IN_RATE].absent = host->facts[HOST_PAGE_IN].absent;
	host->facts[HOST_PAGE_FAULT_RATE].absent = host->facts[HOST_PAGE_FAULTS].absent;
}

static void sample_all(struct host *host, uint64_t reads, int64_t period_ns)
{
	static const struct {
		uint64_t reads;
		void (*sample)(struct host *host);
	} steps[] = { { READS(HOST_UNAME), sample_identity },
		{ READS(HOST_STAT), sample_stat },
		{ READS(HOST_MEMINFO), sample_meminfo },
		{ READS(HOST_VMSTAT), sample_vmstat },
		{ READS(HOST_LOADAVG), sample_loadavg },
		{ READS(HOST_PRESSURE), sample_pressures },
		{ READS(HOST_UPTIME), sample_uptime },
		{ READS(HOST_OS_RELEASE), sample_vendor },
		{ READS(HOST_CPUS), sample_cpus } };

	memset(host->facts, 0, sizeof(host->facts));
	set(host, HOST_TIME, value_u64((uint64_t)(clock_real_ns() / NS_PER_S)));
	host->period_ns = period_ns;
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		if (!(reads & steps[i].reads))
			continue;
		host->failed = false;
		steps[i].sample(host);
		if (!host->failed)
			set_absent(host, steps[i].reads);
	}
}

struct fact host_fact(const struct host *host, enum host_key key)
{
	return host->facts[key];
}

struct metric_list *host_sample(struct host *host, const struct plan *plan)
{
	const struct plan_part *part = &plan->parts[PLAN_HOST];
	struct metric_list_builder *b =
		metric_list_builder_new(plan->specs, clock_real_ns());

	sample_all(host, part->reads | plan->parts[PLAN_FLEET].reads,
		plan->settings.period_ns);
	for (size_t i = 0; i < part->n; i++) {
		const struct plan_item *item = &part->items[i];

		metric_list_builder_add_fact(
			b, item->slot, NULL, &host->facts[item->key]);
	}
	return metric_list_builder_finish(b);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/catalogue.h"

#include <assert.h>
#include <string.h>

#include "core/prom_name.h"
#include "util/cleanup.h"
#include "util/strbuf.h"

/* Tables, one line an entry where it fits. */
/* clang-format off */
#define ENTRY(context_, collector_, key_, name_, type_, unit_, kind_, reads_, how_,      \
	help_)                                                                           \
	{ .name = name_, .context = CONTEXT_##context_,                                  \
		.collector = COLLECTOR_##collector_, .type = METRIC_##type_,             \
		.unit = unit_, .kind = KIND_##kind_, .key = key_, .reads = reads_,       \
		.how = how_, .help = help_ },

#define HOST_ENTRY(key_, ...) ENTRY(HOST, HOST, HOST_##key_, __VA_ARGS__)
#define FLEET_ENTRY(key_, ...) ENTRY(HOST, FLEET, FLEET_##key_, __VA_ARGS__)
#define DOMAIN_ENTRY(key_, ...) ENTRY(VM, DOMAIN, DOMAIN_##key_, __VA_ARGS__)
#define USAGE_ENTRY(key_, ...) ENTRY(VM, USAGE, VM_##key_, __VA_ARGS__)
#define KERNEL_ENTRY(key_, ...) ENTRY(VM, KERNEL, VM_##key_, __VA_ARGS__)
#define SAMPLE_ENTRY(key_, ...) ENTRY(VM, SAMPLE, SAMPLE_##key_, __VA_ARGS__)
#define SNAPSHOT_ENTRY(key_, context_, ...)                                              \
	ENTRY(context_, SNAPSHOT, SNAPSHOT_##key_, __VA_ARGS__)
#define IOTUNE_ENTRY(key_, name_, element_, unit_, help_)                                \
	ENTRY(VM, DOMAIN, DOMAIN_IOTUNE_##key_, name_, UINT64, unit_, GAUGE,             \
		READS(DESCRIPTION), "domain XML: disk/iotune/" element_, help_)

/* libvirt's documented names (virConnectGetAllDomainStats), with its types and units. */
#define VIRT(name_, type_, unit_, kind_, reads_, help_)                                  \
	ENTRY(VM, LIBVIRT, -1, name_, type_, unit_, kind_, reads_, "libvirt", help_)

/* Those that the kernel has, too. */
#define VIRT_FAST(key_, name_, type_, unit_, kind_, reads_, how_, help_)                 \
	ENTRY(VM, LIBVIRT, VM_##key_, name_, type_, unit_, kind_, reads_,                \
		how_ "; else libvirt", help_)

/* What a hypervisor counts for itself; the names differ between its versions. */
#define VIRT_WORDS(name_, kind_, reads_, help_)                                          \
	{ .name = name_, .context = CONTEXT_VM, .collector = COLLECTOR_LIBVIRT,          \
		.type = METRIC_UINT64, .unit = "1", .kind = KIND_##kind_, .key = -1,     \
		.reads = reads_, .words = true, .how = "libvirt", .help = help_ },

static const struct catalogue_entry entries[] = {
	HOST_SOURCES(HOST_ENTRY)
	FLEET_SOURCES(FLEET_ENTRY)
	DOMAIN_SOURCES(DOMAIN_ENTRY)
	IOTUNE_SOURCES(IOTUNE_ENTRY)
	USAGE_SOURCES(USAGE_ENTRY)
	KERNEL_SOURCES(KERNEL_ENTRY)
	KERNEL_ENTRY(IOTHREAD_TIME, "iothread.*.time", UINT64, "ns", COUNTER,
		READS(IOTHREAD_TIMES),
		"/proc/<pid>/task/<tid>/schedstat, first, of threads \"IO iothread<n>\"",
		"Time that an I/O thread ran")
	/* before libvirt's names with words in them, which have room for them */
	VCPU_DELAY_SOURCES(KERNEL_ENTRY)
	HOSTDISK_SOURCES(KERNEL_ENTRY)
	SAMPLE_SOURCES(SAMPLE_ENTRY)
	SNAPSHOT_SOURCES(SNAPSHOT_ENTRY)

	VIRT("state.state", INT32, "1", GAUGE, READS(STATE),
		"State of the VM, virDomainState")
	VIRT("state.reason", INT32, "1", GAUGE, READS(STATE), "Reason for the state")

	VIRT_FAST(CPU_TIME, "cpu.time", UINT64, "ns", COUNTER, READS(CPU),
		"cgroup cpu.stat, cpuacct.usage or /proc/<pid>/stat",
		"CPU time of the VM, emulator included")
	VIRT_FAST(CPU_USER, "cpu.user", UINT64, "ns", COUNTER, READS(CPU),
		"cgroup cpu.stat, cpuacct.stat or /proc/<pid>/stat: utime",
		"CPU time in user mode")
	VIRT_FAST(CPU_SYSTEM, "cpu.system", UINT64, "ns", COUNTER, READS(CPU),
		"cgroup cpu.stat, cpuacct.stat or /proc/<pid>/stat: stime",
		"CPU time in system mode")
	VIRT("cpu.haltpoll.success.time", UINT64, "ns", COUNTER, READS(HALTPOLL),
		"Time of halt polling that ended with a wake-up")
	VIRT("cpu.haltpoll.fail.time", UINT64, "ns", COUNTER, READS(HALTPOLL),
		"Time of halt polling in vain")
	VIRT("cpu.cache.monitor.count", UINT32, "1", GAUGE, READS(CPU), "Cache monitors")
	VIRT("cpu.cache.monitor.*.name", STRING, NULL, TEXT, READS(CPU),
		"Name of a cache monitor")
	VIRT("cpu.cache.monitor.*.vcpus", STRING, NULL, TEXT, READS(CPU),
		"Virtual CPUs of a cache monitor")
	VIRT("cpu.cache.monitor.*.bank.count", UINT32, "1", GAUGE, READS(CPU),
		"Cache banks of a cache monitor")
	VIRT("cpu.cache.monitor.*.bank.*.id", UINT32, "1", GAUGE, READS(CPU),
		"Id of a cache bank")
	VIRT("cpu.cache.monitor.*.bank.*.bytes", UINT32, "B", GAUGE, READS(CPU),
		"Use of a cache bank")

	VIRT_FAST(BALLOON_CURRENT, "balloon.current", UINT64, "KiB", GAUGE,
		READS(BALLOON),
		"domain XML: currentMemory, read again when the balloon moves",
		"Memory that the balloon leaves")
	VIRT_FAST(BALLOON_MAXIMUM, "balloon.maximum", UINT64, "KiB", GAUGE,
		READS(BALLOON), "domain XML: memory", "Most memory the VM may have")
	VIRT("balloon.swap_in", UINT64, "KiB", COUNTER, READS(BALLOON),
		"Read from the guest's swap space")
	VIRT("balloon.swap_out", UINT64, "KiB", COUNTER, READS(BALLOON),
		"Written to the guest's swap space")
	VIRT("balloon.major_fault", UINT64, "1", COUNTER, READS(BALLOON),
		"Page faults in the guest that needed a disk")
	VIRT("balloon.minor_fault", UINT64, "1", COUNTER, READS(BALLOON),
		"Other page faults in the guest")
	VIRT("balloon.unused", UINT64, "KiB", GAUGE, READS(BALLOON),
		"Memory that the guest does not use")
	VIRT("balloon.available", UINT64, "KiB", GAUGE, READS(BALLOON),
		"Memory that the guest sees")
	VIRT_FAST(RSS, "balloon.rss", UINT64, "KiB", GAUGE, READS(RSS),
		"/proc/<pid>/statm: resident, or stat: rss, and status: HugetlbPages",
		"Resident memory of the VM's process on the host, huge pages included")
	VIRT("balloon.usable", UINT64, "KiB", GAUGE, READS(BALLOON),
		"Memory the balloon could take without swapping in the guest")
	VIRT("balloon.last-update", UINT64, "s", GAUGE, READS(BALLOON),
		"When the guest last reported memory statistics, since 1970")
	VIRT("balloon.disk_caches", UINT64, "KiB", GAUGE, READS(BALLOON),
		"Memory of the guest that caches files")
	VIRT("balloon.hugetlb_pgalloc", UINT64, "1", COUNTER, READS(BALLOON),
		"Huge pages allocated in the guest")
	VIRT("balloon.hugetlb_pgfail", UINT64, "1", COUNTER, READS(BALLOON),
		"Failed huge page allocations in the guest")

	VIRT_FAST(VCPU_CURRENT, "vcpu.current", UINT32, "1", GAUGE, READS(VCPUS),
		"threads \"CPU <n>/...\" of the process", "Virtual CPUs online")
	VIRT_FAST(VCPU_MAXIMUM, "vcpu.maximum", UINT32, "1", GAUGE, READS(VCPU_MAXIMUM),
		"domain XML: vcpu", "Most virtual CPUs the VM may have")
	VIRT_FAST(VCPU_STATE, "vcpu.*.state", INT32, "1", GAUGE, READS(VCPUS),
		"1 for each thread", "State of a virtual CPU, virVcpuState")
	VIRT_FAST(VCPU_TIME, "vcpu.*.time", UINT64, "ns", COUNTER, READS(VCPUS),
		"/proc/<pid>/task/<tid>/schedstat, first", "Time that a virtual CPU ran")
	VIRT_FAST(VCPU_WAIT, "vcpu.*.wait", UINT64, "ns", COUNTER,
		READS(VCPUS) | READS(WAIT),
		"/proc/<pid>/task/<tid>/sched: wait_sum, if kernel.sched_schedstats is 1",
		"The same as vcpu.*.delay, as the kernel's schedstats count it: time on the "
		"run queue, not for input or output")
	VIRT("vcpu.*.halted", UINT32, "1", GAUGE, READS(VCPUS),
		"1 if a virtual CPU is halted")
	VIRT_FAST(VCPU_DELAY, "vcpu.*.delay", UINT64, "ns", COUNTER, READS(VCPUS),
		"/proc/<pid>/task/<tid>/schedstat, second",
		"Time that a virtual CPU was ready but waited for a processor (steal)")

	VIRT_WORDS("vcpu.*.*.sum", COUNTER, READS(VCPUS),
		"The hypervisor's own counter of a virtual CPU")
	VIRT_WORDS("vcpu.*.*.cur", GAUGE, READS(VCPUS),
		"The hypervisor's own gauge of a virtual CPU")
	VIRT_WORDS("vcpu.*.*.max", GAUGE, READS(VCPUS),
		"The hypervisor's own peak of a virtual CPU")
	VIRT_WORDS("vm.*.sum", COUNTER, READS(HYPERVISOR),
		"The hypervisor's own counter of the VM")
	VIRT_WORDS("vm.*.cur", GAUGE, READS(HYPERVISOR),
		"The hypervisor's own gauge of the VM")
	VIRT_WORDS("vm.*.max", GAUGE, READS(HYPERVISOR),
		"The hypervisor's own peak of the VM")

	VIRT_FAST(NET_COUNT, "net.count", UINT32, "1", GAUGE, READS(NICS),
		"domain XML: interfaces", "Network interfaces")
	VIRT_FAST(NET_NAME, "net.*.name", STRING, NULL, TEXT, READS(NICS),
		"domain XML: interface/target", "Host name of a network interface")
	VIRT_FAST(NET_RX_BYTES, "net.*.rx.bytes", UINT64, "B", COUNTER, READS(NICS),
		"rtnetlink", "Received by the guest's interface")
	VIRT_FAST(NET_RX_PKTS, "net.*.rx.pkts", UINT64, "1", COUNTER, READS(NICS),
		"rtnetlink", "Packets received")
	VIRT_FAST(NET_RX_ERRS, "net.*.rx.errs", UINT64, "1", COUNTER, READS(NICS),
		"rtnetlink", "Receive errors")
	VIRT_FAST(NET_RX_DROP, "net.*.rx.drop", UINT64, "1", COUNTER, READS(NICS),
		"rtnetlink", "Received packets dropped")
	VIRT_FAST(NET_TX_BYTES, "net.*.tx.bytes", UINT64, "B", COUNTER, READS(NICS),
		"rtnetlink", "Sent by the guest's interface")
	VIRT_FAST(NET_TX_PKTS, "net.*.tx.pkts", UINT64, "1", COUNTER, READS(NICS),
		"rtnetlink", "Packets sent")
	VIRT_FAST(NET_TX_ERRS, "net.*.tx.errs", UINT64, "1", COUNTER, READS(NICS),
		"rtnetlink", "Transmission errors")
	VIRT_FAST(NET_TX_DROP, "net.*.tx.drop", UINT64, "1", COUNTER, READS(NICS),
		"rtnetlink", "Packets to send dropped")

	VIRT("block.count", UINT32, "1", GAUGE, READS(BLOCKS), "Block devices")
	VIRT("block.*.name", STRING, NULL, TEXT, READS(BLOCKS),
		"Target name of a block device")
	VIRT("block.*.path", STRING, NULL, TEXT, READS(BLOCKS),
		"Source of a block device on the host")
	VIRT("block.*.backingIndex", UINT32, "1", GAUGE, READS(BLOCKS),
		"Place in the backing chain")
	VIRT("block.*.rd.reqs", UINT64, "1", COUNTER, READS(BLOCKS), "Read requests")
	VIRT("block.*.rd.bytes", UINT64, "B", COUNTER, READS(BLOCKS), "Bytes read")
	VIRT("block.*.rd.times", UINT64, "ns", COUNTER, READS(BLOCKS),
		"Time spent in reads")
	VIRT("block.*.wr.reqs", UINT64, "1", COUNTER, READS(BLOCKS), "Write requests")
	VIRT("block.*.wr.bytes", UINT64, "B", COUNTER, READS(BLOCKS), "Bytes written")
	VIRT("block.*.wr.times", UINT64, "ns", COUNTER, READS(BLOCKS),
		"Time spent in writes")
	VIRT("block.*.fl.reqs", UINT64, "1", COUNTER, READS(BLOCKS), "Flush requests")
	VIRT("block.*.fl.times", UINT64, "ns", COUNTER, READS(BLOCKS),
		"Time spent in flushes")
	VIRT("block.*.errors", UINT64, "1", COUNTER, READS(BLOCKS),
		"Errors (some hypervisors only)")
	VIRT("block.*.allocation", UINT64, "B", GAUGE, READS(BLOCKS),
		"Highest offset written")
	VIRT("block.*.capacity", UINT64, "B", GAUGE, READS(BLOCKS),
		"Size that the guest sees")
	VIRT("block.*.physical", UINT64, "B", GAUGE, READS(BLOCKS),
		"Size of the file or device")
	VIRT("block.*.threshold", UINT64, "B", GAUGE, READS(BLOCKS),
		"Write threshold for an event")

	VIRT("iothread.count", UINT32, "1", GAUGE, READS(IOTHREADS), "I/O threads")
	VIRT("iothread.*.poll-max-ns", UINT64, "ns", GAUGE, READS(IOTHREADS),
		"Longest polling")
	VIRT("iothread.*.poll-grow", UINT64, "1", GAUGE, READS(IOTHREADS),
		"Factor of polling growth")
	VIRT("iothread.*.poll-shrink", UINT64, "1", GAUGE, READS(IOTHREADS),
		"Divisor of polling decrease")

	VIRT("memory.bandwidth.monitor.count", UINT32, "1", GAUGE,
		READS(MEMORY_BANDWIDTH), "Bandwidth monitors")
	VIRT("memory.bandwidth.monitor.*.name", STRING, NULL, TEXT,
		READS(MEMORY_BANDWIDTH), "Name of a bandwidth monitor")
	VIRT("memory.bandwidth.monitor.*.vcpus", STRING, NULL, TEXT,
		READS(MEMORY_BANDWIDTH), "Virtual CPUs of a bandwidth monitor")
	VIRT("memory.bandwidth.monitor.*.node.count", UINT32, "1", GAUGE,
		READS(MEMORY_BANDWIDTH), "Nodes of a bandwidth monitor")
	VIRT("memory.bandwidth.monitor.*.node.*.id", UINT32, "1", GAUGE,
		READS(MEMORY_BANDWIDTH), "Id of a node")
	VIRT("memory.bandwidth.monitor.*.node.*.bytes.local", UINT64, "B", COUNTER,
		READS(MEMORY_BANDWIDTH), "Memory traffic within the node")
	VIRT("memory.bandwidth.monitor.*.node.*.bytes.total", UINT64, "B", COUNTER,
		READS(MEMORY_BANDWIDTH), "All memory traffic")

	VIRT("dirtyrate.calc_status", INT32, "1", GAUGE, READS(DIRTY_RATE),
		"State of the measurement")
	VIRT("dirtyrate.calc_start_time", INT64, "s", GAUGE, READS(DIRTY_RATE),
		"When it started, since 1970")
	VIRT("dirtyrate.calc_period", INT32, "s", GAUGE, READS(DIRTY_RATE),
		"How long it takes")
	VIRT("dirtyrate.megabytes_per_second", INT64, "1", GAUGE, READS(DIRTY_RATE),
		"Memory that the guest changes each second, MiB")
	VIRT("dirtyrate.calc_mode", STRING, NULL, TEXT, READS(DIRTY_RATE),
		"How it is measured")
	VIRT("dirtyrate.vcpu.*.megabytes_per_second", INT64, "1", GAUGE,
		READS(DIRTY_RATE), "Memory that a virtual CPU changes each second, MiB")

	VIRT("perf.cmt", UINT64, "B", GAUGE, READS(PERF), "Use of the last-level cache")
	VIRT("perf.mbmt", UINT64, "1", COUNTER, READS(PERF), "Memory traffic, all")
	VIRT("perf.mbml", UINT64, "1", COUNTER, READS(PERF),
		"Memory traffic within the node")
	VIRT("perf.cache_misses", UINT64, "1", COUNTER, READS(PERF), "Cache misses")
	VIRT("perf.cache_references", UINT64, "1", COUNTER, READS(PERF),
		"Cache references")
	VIRT("perf.instructions", UINT64, "1", COUNTER, READS(PERF), "Instructions")
	VIRT("perf.cpu_cycles", UINT64, "1", COUNTER, READS(PERF), "Processor cycles")
	VIRT("perf.branch_instructions", UINT64, "1", COUNTER, READS(PERF), "Branches")
	VIRT("perf.branch_misses", UINT64, "1", COUNTER, READS(PERF), "Branch misses")
	VIRT("perf.bus_cycles", UINT64, "1", COUNTER, READS(PERF), "Bus cycles")
	VIRT("perf.stalled_cycles_frontend", UINT64, "1", COUNTER, READS(PERF),
		"Stalls, front end")
	VIRT("perf.stalled_cycles_backend", UINT64, "1", COUNTER, READS(PERF),
		"Stalls, back end")
	VIRT("perf.ref_cpu_cycles", UINT64, "1", COUNTER, READS(PERF),
		"Unscaled processor cycles")
	VIRT("perf.cpu_clock", UINT64, "ns", COUNTER, READS(PERF), "Processor clock")
	VIRT("perf.task_clock", UINT64, "ns", COUNTER, READS(PERF), "Task clock")
	VIRT("perf.page_faults", UINT64, "1", COUNTER, READS(PERF), "Page faults")
	VIRT("perf.context_switches", UINT64, "1", COUNTER, READS(PERF),
		"Context switches")
	VIRT("perf.cpu_migrations", UINT64, "1", COUNTER, READS(PERF),
		"Moves between processors")
	VIRT("perf.page_faults_min", UINT64, "1", COUNTER, READS(PERF),
		"Minor page faults")
	VIRT("perf.page_faults_maj", UINT64, "1", COUNTER, READS(PERF),
		"Major page faults")
	VIRT("perf.alignment_faults", UINT64, "1", COUNTER, READS(PERF),
		"Alignment faults")
	VIRT("perf.emulation_faults", UINT64, "1", COUNTER, READS(PERF),
		"Emulation faults")
};

/* clang-format on */

const struct catalogue_entry *catalogue_at(size_t i)
{
	return i < ARRAY_LEN(entries) ? &entries[i] : NULL;
}

/* True if @source is @pattern, or has a number (a word) where @pattern has '*'. */
static bool matches(const char *pattern, bool words, const char *source)
{
	while (*pattern) {
		size_t part =
			words ? strcspn(source, ".*") : strspn(source, "0123456789");

		if (*pattern == '*' && part)
			source += part;
		else if (*pattern == *source)
			source++;
		else
			return false;
		pattern++;
	}
	return !*source;
}

const struct catalogue_entry *catalogue_find(const char *source)
{
	for (size_t i = 0; i < ARRAY_LEN(entries); i++)
		if (matches(entries[i].name, entries[i].words, source))
			return &entries[i];
	return NULL;
}

/* Levenshtein's edit distance, for short names; a large number for long ones. */
static unsigned edit_distance(const char *a, const char *b)
{
	enum { MAX = 64 };
	unsigned row[MAX + 1];
	size_t n = strlen(b);

	if (strlen(a) > MAX || n > MAX)
		return MAX;
	for (unsigned k = 0; k <= n; k++)
		row[k] = k;
	for (; *a; a++) {
		unsigned diagonal = row[0]++;

		for (size_t k = 1; k <= n; k++) {
			unsigned best = diagonal + (*a != b[k - 1]);

			diagonal = row[k];
			if (row[k] + 1 < best)
				best = row[k] + 1;
			if (row[k - 1] + 1 < best)
				best = row[k - 1] + 1;
			row[k] = best;
		}
	}
	return row[n];
}

const char *catalogue_suggest(const char *source)
{
	const char *best = NULL;
	unsigned distance = 4; /* further off is no help */

	for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
		unsigned d = edit_distance(source, entries[i].name);

		if (d < distance) {
			distance = d;
			best = entries[i].name;
		}
	}
	return best;
}

static const char *collector_title(enum catalogue_collector collector)
{
	switch (collector) {
	case COLLECTOR_HOST:
		return "The host, read from the kernel";
	case COLLECTOR_FLEET:
		return "All VMs together, and vhostmd itself";
	case COLLECTOR_DOMAIN:
		return "A VM's identity and limits";
	case COLLECTOR_LIBVIRT:
		return "A VM under libvirt's names";
	case COLLECTOR_KERNEL:
		return "A VM's process, cgroup and devices of the host";
	case COLLECTOR_USAGE:
		return "A VM, calculated";
	case COLLECTOR_SAMPLE:
		return "About a VM's samples";
	case COLLECTOR_SNAPSHOT:
		return "About what is published";
	case COLLECTOR_COUNT:
		break;
	}
	return "";
}

static void print_prom_name(const struct catalogue_entry *e, struct strbuf *out)
{
	_cleanup_strbuf_ struct strbuf name = STRBUF_INIT;

	prom_name_print(e, &name);
	if (name.len)
		strbuf_addf(out, " `%s` |\n", strbuf_str(&name));
	else
		strbuf_adds(out, " - |\n");
}

static void print_section(
	enum catalogue_collector collector, struct strbuf *out, bool markdown)
{
	if (markdown)
		strbuf_addf(out,
			"\n## %s\n\n| source | context | type | unit | how | meaning | "
			"metrics.prom |\n| --- | --- | --- | --- | --- | --- | --- |\n",
			collector_title(collector));
	else
		strbuf_addf(out, "\n%s:\n", collector_title(collector));
	for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
		const struct catalogue_entry *e = &entries[i];

		if (e->collector != collector)
			continue;
		strbuf_addf(out,
			markdown ? "| `%s` | %s | %s | %s | %s | %s |"
				 : "  %-44s %-4s %-6s %-4s %s; %s\n",
			e->name, e->context == CONTEXT_HOST ? "host" : "vm",
			metric_type_name(e->type), e->unit ? e->unit : "-",
			markdown ? e->how : e->help, markdown ? e->help : e->how);
		if (markdown)
			print_prom_name(e, out);
	}
}

void catalogue_print(struct strbuf *out, bool markdown)
{
	for (int c = 0; c < COLLECTOR_COUNT; c++)
		print_section((enum catalogue_collector)c, out, markdown);
}

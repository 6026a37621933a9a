/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/catalogue.h"

#include <string.h>

#include "util/cleanup.h"
#include "util/strbuf.h"

/* Tables, one line an entry where it fits. */
/* clang-format off */
#define HOST_ENTRY(key_, name_, type_, unit_, kind_, how_, help_)                        \
	{ .name = name_, .context = CONTEXT_HOST, .collector = COLLECTOR_HOST,           \
		.type = METRIC_##type_, .unit = unit_, .kind = KIND_##kind_,             \
		.key = HOST_##key_, .how = how_, .help = help_ },

#define DERIVED(context_, key_, name_, type_, unit_, kind_, how_, help_)                 \
	{ .name = name_, .context = CONTEXT_##context_, .collector = COLLECTOR_DERIVED,  \
		.type = METRIC_##type_, .unit = unit_, .kind = KIND_##kind_,             \
		.key = DERIVED_##key_, .how = how_, .help = help_ },

/* libvirt's documented names (virConnectGetAllDomainStats), with its types and units. */
#define VIRT(name_, type_, unit_, kind_, help_)                                          \
	{ .name = name_, .context = CONTEXT_VM, .collector = COLLECTOR_LIBVIRT,          \
		.type = METRIC_##type_, .unit = unit_, .kind = KIND_##kind_, .key = -1,  \
		.how = "libvirt", .help = help_ },

/* What a hypervisor counts for itself; the names differ between its versions. */
#define VIRT_WORDS(name_, kind_, help_)                                                  \
	{ .name = name_, .context = CONTEXT_VM, .collector = COLLECTOR_LIBVIRT,          \
		.type = METRIC_UINT64, .unit = "1", .kind = KIND_##kind_, .key = -1,     \
		.words = true, .how = "libvirt", .help = help_ },

static const struct catalogue_entry entries[] = {
	HOST_SOURCES(HOST_ENTRY)

	DERIVED(HOST, VIRT_PRODUCT, "host.virt.product", STRING, NULL, TEXT,
		"libvirt: driver type and hypervisor version",
		"Hypervisor and its version, three numbers")
	DERIVED(HOST, VMS_COUNT, "host.vms.count", UINT32, "1", GAUGE,
		"libvirt: active domains", "Running VMs")
	DERIVED(HOST, VMS_VCPUS, "host.vms.vcpus", UINT32, "1", GAUGE,
		"sum of vcpu.current", "Virtual CPUs of all running VMs")
	DERIVED(HOST, VMS_MEMORY, "host.vms.memory", UINT64, "KiB", GAUGE,
		"sum of balloon.rss, else of balloon.current",
		"Physical memory that running VMs use")

	DERIVED(VM, DOMAIN_NAME, "domain.name", STRING, NULL, TEXT, "libvirt",
		"Name of the VM")
	DERIVED(VM, DOMAIN_UUID, "domain.uuid", STRING, NULL, TEXT, "libvirt",
		"UUID of the VM")
	DERIVED(VM, DOMAIN_ID, "domain.id", INT32, "1", GAUGE, "libvirt",
		"Id of the running VM")
	DERIVED(VM, VCPU_TIME, "domain.vcpu.time", UINT64, "ns", COUNTER,
		"sum of vcpu.*.time", "Time that all virtual CPUs ran")
	DERIVED(VM, VCPU_DELAY, "domain.vcpu.delay", UINT64, "ns", COUNTER,
		"sum of vcpu.*.delay",
		"Time that virtual CPUs were ready but waited for a processor (steal)")
	DERIVED(VM, VCPU_WAIT, "domain.vcpu.wait", UINT64, "ns", COUNTER,
		"sum of vcpu.*.wait", "Time that virtual CPUs waited for input or output")

	VIRT("state.state", INT32, "1", GAUGE, "State of the VM, virDomainState")
	VIRT("state.reason", INT32, "1", GAUGE, "Reason for the state")

	VIRT("cpu.time", UINT64, "ns", COUNTER, "CPU time of the VM, emulator included")
	VIRT("cpu.user", UINT64, "ns", COUNTER, "CPU time in user mode")
	VIRT("cpu.system", UINT64, "ns", COUNTER, "CPU time in system mode")
	VIRT("cpu.haltpoll.success.time", UINT64, "ns", COUNTER,
		"Time of halt polling that ended with a wake-up")
	VIRT("cpu.haltpoll.fail.time", UINT64, "ns", COUNTER,
		"Time of halt polling in vain")
	VIRT("cpu.cache.monitor.count", UINT32, "1", GAUGE, "Cache monitors")
	VIRT("cpu.cache.monitor.*.name", STRING, NULL, TEXT, "Name of a cache monitor")
	VIRT("cpu.cache.monitor.*.vcpus", STRING, NULL, TEXT,
		"Virtual CPUs of a cache monitor")
	VIRT("cpu.cache.monitor.*.bank.count", UINT32, "1", GAUGE,
		"Cache banks of a cache monitor")
	VIRT("cpu.cache.monitor.*.bank.*.id", UINT32, "1", GAUGE, "Id of a cache bank")
	VIRT("cpu.cache.monitor.*.bank.*.bytes", UINT32, "B", GAUGE,
		"Use of a cache bank")

	VIRT("balloon.current", UINT64, "KiB", GAUGE, "Memory that the balloon leaves")
	VIRT("balloon.maximum", UINT64, "KiB", GAUGE, "Most memory the VM may have")
	VIRT("balloon.swap_in", UINT64, "KiB", COUNTER, "Read from the guest's swap space")
	VIRT("balloon.swap_out", UINT64, "KiB", COUNTER,
		"Written to the guest's swap space")
	VIRT("balloon.major_fault", UINT64, "1", COUNTER,
		"Page faults in the guest that needed a disk")
	VIRT("balloon.minor_fault", UINT64, "1", COUNTER, "Other page faults in the guest")
	VIRT("balloon.unused", UINT64, "KiB", GAUGE, "Memory that the guest does not use")
	VIRT("balloon.available", UINT64, "KiB", GAUGE, "Memory that the guest sees")
	VIRT("balloon.rss", UINT64, "KiB", GAUGE,
		"Resident memory of the VM's process on the host")
	VIRT("balloon.usable", UINT64, "KiB", GAUGE,
		"Memory the balloon could take without swapping in the guest")
	VIRT("balloon.last-update", UINT64, "s", GAUGE,
		"When the guest last reported memory statistics, since 1970")
	VIRT("balloon.disk_caches", UINT64, "KiB", GAUGE,
		"Memory of the guest that caches files")
	VIRT("balloon.hugetlb_pgalloc", UINT64, "1", COUNTER,
		"Huge pages allocated in the guest")
	VIRT("balloon.hugetlb_pgfail", UINT64, "1", COUNTER,
		"Failed huge page allocations in the guest")

	VIRT("vcpu.current", UINT32, "1", GAUGE, "Virtual CPUs online")
	VIRT("vcpu.maximum", UINT32, "1", GAUGE, "Most virtual CPUs the VM may have")
	VIRT("vcpu.*.state", INT32, "1", GAUGE, "State of a virtual CPU, virVcpuState")
	VIRT("vcpu.*.time", UINT64, "ns", COUNTER, "Time that a virtual CPU ran")
	VIRT("vcpu.*.wait", UINT64, "ns", COUNTER,
		"Time that a virtual CPU waited for input or output")
	VIRT("vcpu.*.halted", UINT32, "1", GAUGE, "1 if a virtual CPU is halted")
	VIRT("vcpu.*.delay", UINT64, "ns", COUNTER,
		"Time that a virtual CPU was ready but waited for a processor (steal)")

	VIRT_WORDS("vcpu.*.*.sum", COUNTER, "The hypervisor's own counter of a virtual CPU")
	VIRT_WORDS("vcpu.*.*.cur", GAUGE, "The hypervisor's own gauge of a virtual CPU")
	VIRT_WORDS("vcpu.*.*.max", GAUGE, "The hypervisor's own peak of a virtual CPU")
	VIRT_WORDS("vm.*.sum", COUNTER, "The hypervisor's own counter of the VM")
	VIRT_WORDS("vm.*.cur", GAUGE, "The hypervisor's own gauge of the VM")
	VIRT_WORDS("vm.*.max", GAUGE, "The hypervisor's own peak of the VM")

	VIRT("net.count", UINT32, "1", GAUGE, "Network interfaces")
	VIRT("net.*.name", STRING, NULL, TEXT, "Host name of a network interface")
	VIRT("net.*.rx.bytes", UINT64, "B", COUNTER, "Received by the guest's interface")
	VIRT("net.*.rx.pkts", UINT64, "1", COUNTER, "Packets received")
	VIRT("net.*.rx.errs", UINT64, "1", COUNTER, "Receive errors")
	VIRT("net.*.rx.drop", UINT64, "1", COUNTER, "Received packets dropped")
	VIRT("net.*.tx.bytes", UINT64, "B", COUNTER, "Sent by the guest's interface")
	VIRT("net.*.tx.pkts", UINT64, "1", COUNTER, "Packets sent")
	VIRT("net.*.tx.errs", UINT64, "1", COUNTER, "Transmission errors")
	VIRT("net.*.tx.drop", UINT64, "1", COUNTER, "Packets to send dropped")

	VIRT("block.count", UINT32, "1", GAUGE, "Block devices")
	VIRT("block.*.name", STRING, NULL, TEXT, "Target name of a block device")
	VIRT("block.*.path", STRING, NULL, TEXT, "Source of a block device on the host")
	VIRT("block.*.backingIndex", UINT32, "1", GAUGE, "Place in the backing chain")
	VIRT("block.*.rd.reqs", UINT64, "1", COUNTER, "Read requests")
	VIRT("block.*.rd.bytes", UINT64, "B", COUNTER, "Bytes read")
	VIRT("block.*.rd.times", UINT64, "ns", COUNTER, "Time spent in reads")
	VIRT("block.*.wr.reqs", UINT64, "1", COUNTER, "Write requests")
	VIRT("block.*.wr.bytes", UINT64, "B", COUNTER, "Bytes written")
	VIRT("block.*.wr.times", UINT64, "ns", COUNTER, "Time spent in writes")
	VIRT("block.*.fl.reqs", UINT64, "1", COUNTER, "Flush requests")
	VIRT("block.*.fl.times", UINT64, "ns", COUNTER, "Time spent in flushes")
	VIRT("block.*.errors", UINT64, "1", COUNTER, "Errors (some hypervisors only)")
	VIRT("block.*.allocation", UINT64, "B", GAUGE, "Highest offset written")
	VIRT("block.*.capacity", UINT64, "B", GAUGE, "Size that the guest sees")
	VIRT("block.*.physical", UINT64, "B", GAUGE, "Size of the file or device")
	VIRT("block.*.threshold", UINT64, "B", GAUGE, "Write threshold for an event")

	VIRT("iothread.count", UINT32, "1", GAUGE, "I/O threads")
	VIRT("iothread.*.poll-max-ns", UINT64, "ns", GAUGE, "Longest polling")
	VIRT("iothread.*.poll-grow", UINT64, "1", GAUGE, "Factor of polling growth")
	VIRT("iothread.*.poll-shrink", UINT64, "1", GAUGE, "Divisor of polling decrease")

	VIRT("memory.bandwidth.monitor.count", UINT32, "1", GAUGE, "Bandwidth monitors")
	VIRT("memory.bandwidth.monitor.*.name", STRING, NULL, TEXT,
		"Name of a bandwidth monitor")
	VIRT("memory.bandwidth.monitor.*.vcpus", STRING, NULL, TEXT,
		"Virtual CPUs of a bandwidth monitor")
	VIRT("memory.bandwidth.monitor.*.node.count", UINT32, "1", GAUGE,
		"Nodes of a bandwidth monitor")
	VIRT("memory.bandwidth.monitor.*.node.*.id", UINT32, "1", GAUGE, "Id of a node")
	VIRT("memory.bandwidth.monitor.*.node.*.bytes.local", UINT64, "B", COUNTER,
		"Memory traffic within the node")
	VIRT("memory.bandwidth.monitor.*.node.*.bytes.total", UINT64, "B", COUNTER,
		"All memory traffic")

	VIRT("dirtyrate.calc_status", INT32, "1", GAUGE, "State of the measurement")
	VIRT("dirtyrate.calc_start_time", INT64, "s", GAUGE, "When it started, since 1970")
	VIRT("dirtyrate.calc_period", INT32, "s", GAUGE, "How long it takes")
	VIRT("dirtyrate.megabytes_per_second", INT64, "1", GAUGE,
		"Memory that the guest changes each second, MiB")
	VIRT("dirtyrate.calc_mode", STRING, NULL, TEXT, "How it is measured")
	VIRT("dirtyrate.vcpu.*.megabytes_per_second", INT64, "1", GAUGE,
		"Memory that a virtual CPU changes each second, MiB")

	VIRT("perf.cmt", UINT64, "B", GAUGE, "Use of the last-level cache")
	VIRT("perf.mbmt", UINT64, "1", COUNTER, "Memory traffic, all")
	VIRT("perf.mbml", UINT64, "1", COUNTER, "Memory traffic within the node")
	VIRT("perf.cache_misses", UINT64, "1", COUNTER, "Cache misses")
	VIRT("perf.cache_references", UINT64, "1", COUNTER, "Cache references")
	VIRT("perf.instructions", UINT64, "1", COUNTER, "Instructions")
	VIRT("perf.cpu_cycles", UINT64, "1", COUNTER, "Processor cycles")
	VIRT("perf.branch_instructions", UINT64, "1", COUNTER, "Branches")
	VIRT("perf.branch_misses", UINT64, "1", COUNTER, "Branch misses")
	VIRT("perf.bus_cycles", UINT64, "1", COUNTER, "Bus cycles")
	VIRT("perf.stalled_cycles_frontend", UINT64, "1", COUNTER, "Stalls, front end")
	VIRT("perf.stalled_cycles_backend", UINT64, "1", COUNTER, "Stalls, back end")
	VIRT("perf.ref_cpu_cycles", UINT64, "1", COUNTER, "Unscaled processor cycles")
	VIRT("perf.cpu_clock", UINT64, "ns", COUNTER, "Processor clock")
	VIRT("perf.task_clock", UINT64, "ns", COUNTER, "Task clock")
	VIRT("perf.page_faults", UINT64, "1", COUNTER, "Page faults")
	VIRT("perf.context_switches", UINT64, "1", COUNTER, "Context switches")
	VIRT("perf.cpu_migrations", UINT64, "1", COUNTER, "Moves between processors")
	VIRT("perf.page_faults_min", UINT64, "1", COUNTER, "Minor page faults")
	VIRT("perf.page_faults_maj", UINT64, "1", COUNTER, "Major page faults")
	VIRT("perf.alignment_faults", UINT64, "1", COUNTER, "Alignment faults")
	VIRT("perf.emulation_faults", UINT64, "1", COUNTER, "Emulation faults")
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

static const char *const collector_titles[] = {
	[COLLECTOR_HOST] = "The host, read from the kernel",
	[COLLECTOR_DERIVED] = "Calculated, or from the connection to libvirt",
	[COLLECTOR_LIBVIRT] = "libvirt's domain statistics",
};

static void print_section(
	enum catalogue_collector collector, struct strbuf *out, bool markdown)
{
	if (markdown)
		strbuf_addf(out,
			"\n## %s\n\n| source | context | type | unit | how | meaning |\n"
			"| --- | --- | --- | --- | --- | --- |\n",
			collector_titles[collector]);
	else
		strbuf_addf(out, "\n%s:\n", collector_titles[collector]);
	for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
		const struct catalogue_entry *e = &entries[i];

		if (e->collector != collector)
			continue;
		strbuf_addf(out,
			markdown ? "| `%s` | %s | %s | %s | %s | %s |\n"
				 : "  %-44s %-4s %-6s %-4s %s; %s\n",
			e->name, e->context == CONTEXT_HOST ? "host" : "vm",
			metric_type_name(e->type), e->unit ? e->unit : "-",
			markdown ? e->how : e->help, markdown ? e->help : e->how);
	}
}

void catalogue_print(struct strbuf *out, bool markdown)
{
	print_section(COLLECTOR_HOST, out, markdown);
	print_section(COLLECTOR_DERIVED, out, markdown);
	print_section(COLLECTOR_LIBVIRT, out, markdown);
}

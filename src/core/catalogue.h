/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The catalogue of native sources: what a <source> may name.  Each is declared once here;
 * the configuration reader, the collectors, `vhostmd --list-sources` and
 * docs/sources.md all walk this table.  Immutable data.
 *
 * To add a figure: one line in the table of its collector, which says what must be read for
 * it, and the code there that sets it; a text also by what core/prom_name.c says of texts.  The order of lines is that of the documentation and
 * means nothing else, but that in USAGE_SOURCES rates stand last (model/vm_sample.c).  To add one of libvirt's: one line in catalogue.c; it is matched by
 * name.
 */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/spec.h"
#include "core/value.h"

struct strbuf;

/* Of what libvirt is asked for, what may have a longer period: its group of the balloon. */
#define READS_SELDOM (READS(BALLOON) | READS(RSS))

enum catalogue_collector {
	COLLECTOR_HOST,  /* collect/kernel/host: files of the kernel, kept open */
	COLLECTOR_FLEET, /* collect/kernel/sampler: about all VMs, and vhostmd itself */
	COLLECTOR_DOMAIN, /* model/domain: a VM's identity, and what its description grants */
	COLLECTOR_LIBVIRT, /* libvirt's statistics; those with a key also by the fast lane */
	COLLECTOR_KERNEL, /* the fast lane alone: the VM's process, cgroup and host's disks */
	COLLECTOR_USAGE,    /* calculated from either lane's figures */
	COLLECTOR_SAMPLE,   /* collect/kernel/sampler: about the VM's samples */
	COLLECTOR_SNAPSHOT, /* core/snapshot: about what is published */
	COLLECTOR_COUNT,
};

enum catalogue_kind {
	KIND_GAUGE,   /* may go up and down */
	KIND_COUNTER, /* never falls within one run of its VM: model/counters.h */
	KIND_TEXT,
	KIND_HISTOGRAM, /* counts as a counter does: core/histogram.h */
};

/* What must be read for a figure: numbers of the bits of a line's column `reads`. */
enum catalogue_read {
	/* of a VM, from the kernel or else from libvirt */
	READ_CPU,          /* the process' processor time */
	READ_VCPUS,        /* the threads of its virtual CPUs */
	READ_VCPU_MAXIMUM, /* these two: its description */
	READ_BALLOON,
	READ_RSS,  /* the process' resident memory */
	READ_NICS, /* counters of its interfaces */
	READ_EITHER_COUNT,

	/* of a VM, from the kernel alone */
	READ_PROCESS = READ_EITHER_COUNT, /* what /proc/<pid>/stat alone has */
	READ_PROCESS_IO,                  /* /proc/<pid>/io */
	READ_IOTHREAD_TIMES,              /* its I/O threads */
	READ_THROTTLE, /* cpu.stat of its cgroup, those below and those above */
	READ_CGROUP_MEMORY,
	READ_CGROUP_WEIGHT,
	READ_PRESSURE_CPU,
	READ_PRESSURE_MEMORY,
	READ_PRESSURE_IO,
	READ_DELAYS, /* what a program in the kernel counts of its virtual CPUs: bpf/ */
	READ_HOSTDISKS, /* /proc/diskstats, of all VMs at once */
	READ_KERNEL_END,

	/* of a VM, more of what READ_VCPUS reads: /proc/<pid>/task/<tid>/sched */
	READ_WAIT = READ_KERNEL_END,

	/* of a VM, from libvirt alone: groups of its statistics, and the domain's XML */
	READ_STATE,
	READ_HALTPOLL, /* as READ_CPU from libvirt, but that it asks the monitor for it */
	READ_BLOCKS,
	READ_IOTHREADS,
	READ_MEMORY_BANDWIDTH,
	READ_DIRTY_RATE,
	READ_PERF,
	READ_HYPERVISOR, /* the hypervisor's own figures */
	READ_DESCRIPTION,

	/* of the host */
	READ_HOST_UNAME,
	READ_HOST_UPTIME,
	READ_HOST_OS_RELEASE,
	READ_HOST_CPUS, /* /sys/devices/system/cpu */
	READ_HOST_STAT,
	READ_HOST_LOADAVG,
	READ_HOST_MEMINFO,
	READ_HOST_VMSTAT,
	READ_HOST_PRESSURE,
	READ_COUNT,
};
static_assert(READ_COUNT <= 64, "a bit for each in 64 bits");

#define READS(what) (UINT64_C(1) << READ_##what)
#define READS_NOTHING UINT64_C(0)
/* Those of READ_EITHER_COUNT. */
#define READS_EITHER (READS(EITHER_COUNT) - 1)
/* Those that the kernel alone has. */
#define READS_KERNEL (READS(KERNEL_END) - READS(PROCESS))

/* clang-format off */
/* key, name, type, unit, kind, what must be read, how to get it, help */
#define HOST_PRESSURE(X, KEY, res, what)                                                 \
	X(PRESSURE_##KEY##_AVG10, "host.pressure." res "." what ".avg10", REAL64, "%",   \
		GAUGE, READS(HOST_PRESSURE), "/proc/pressure/" res ": " what " avg10",   \
		"Share of the last 10 s in which " what " tasks waited for " res)        \
	X(PRESSURE_##KEY##_AVG60, "host.pressure." res "." what ".avg60", REAL64, "%",   \
		GAUGE, READS(HOST_PRESSURE), "/proc/pressure/" res ": " what " avg60",   \
		"Share of the last 60 s in which " what " tasks waited for " res)        \
	X(PRESSURE_##KEY##_AVG300, "host.pressure." res "." what ".avg300", REAL64,      \
		"%", GAUGE, READS(HOST_PRESSURE),                                        \
		"/proc/pressure/" res ": " what " avg300",                               \
		"Share of the last 300 s in which " what " tasks waited for " res)       \
	X(PRESSURE_##KEY##_TOTAL, "host.pressure." res "." what ".total", UINT64, "us",  \
		COUNTER, READS(HOST_PRESSURE),                                           \
		"/proc/pressure/" res ": " what " total",                                \
		"Time in which " what " tasks waited for " res)

#define HOST_SOURCES(X)                                                                  \
	X(NAME, "host.name", STRING, NULL, TEXT, READS(HOST_UNAME), "uname: nodename",   \
		"Host name")                                                             \
	X(NAME_SHORT, "host.name.short", STRING, NULL, TEXT, READS(HOST_UNAME),          \
		"uname: nodename up to the first dot", "Host name without its domain")   \
	X(TIME, "host.time", UINT64, "s", GAUGE, READS_NOTHING, "CLOCK_REALTIME",        \
		"Seconds since 1970")                                                    \
	X(UPTIME, "host.uptime", REAL64, "s", GAUGE, READS(HOST_UPTIME),                 \
		"/proc/uptime", "Time since the host booted")                            \
	X(OS_NAME, "host.os.name", STRING, NULL, TEXT, READS(HOST_UNAME),                \
		"uname: sysname, in lower case", "Operating system of the host")         \
	X(OS_RELEASE, "host.os.release", STRING, NULL, TEXT, READS(HOST_UNAME),          \
		"uname: release", "Kernel release of the host")                          \
	X(OS_MACHINE, "host.os.machine", STRING, NULL, TEXT, READS(HOST_UNAME),          \
		"uname: machine", "Processor architecture of the host")                  \
	X(VIRT_VENDOR, "host.virt.vendor", STRING, NULL, TEXT, READS(HOST_OS_RELEASE),   \
		"/etc/os-release: who makes the distribution ID, CPE_NAME; else "        \
		"VENDOR_NAME, NAME",                                                     \
		"Vendor of the virtualization platform, as its packages name it")        \
	X(CPU_COUNT, "host.cpu.count", UINT32, "1", GAUGE, READS(HOST_CPUS),             \
		"/sys/devices/system/cpu/online", "Logical CPUs that are online")        \
	X(CPU_SOCKETS, "host.cpu.sockets", UINT32, "1", GAUGE, READS(HOST_CPUS),         \
		"/sys/devices/system/cpu/cpu*/topology: package_cpus_list, "             \
		"core_siblings_list, or physical_package_id, those that differ",         \
		"Processor sockets in use")                                              \
	X(CPU_CORES, "host.cpu.cores", UINT32, "1", GAUGE, READS(HOST_CPUS),             \
		"/sys/devices/system/cpu/cpu*/topology: core_cpus_list, "                \
		"thread_siblings_list, or ids, those that differ",                       \
		"Processor cores in use")                                                \
	X(CPU_FREQUENCY, "host.cpu.frequency", UINT64, "MHz", GAUGE, READS(HOST_CPUS),   \
		"cpufreq: base_frequency, acpi_cppc: nominal_freq, cpufreq: "            \
		"cpuinfo_nominal_freq, the highest of scaling_available_frequencies, "   \
		"bios_limit; or /proc/cpuinfo; or the device tree",                      \
		"Nominal frequency of the processor, which does not change")             \
	X(CPU_TIME, "host.cpu.time", UINT64, "ns", COUNTER, READS(HOST_STAT),            \
		"/proc/stat: user + nice + system",                                      \
		"Time that all CPUs worked, in user and system mode")                    \
	X(CPU_USER, "host.cpu.user", UINT64, "ns", COUNTER, READS(HOST_STAT),            \
		"/proc/stat: user", "Time in user mode, guests included")                \
	X(CPU_NICE, "host.cpu.nice", UINT64, "ns", COUNTER, READS(HOST_STAT),            \
		"/proc/stat: nice", "Time in user mode at low priority")                 \
	X(CPU_SYSTEM, "host.cpu.system", UINT64, "ns", COUNTER, READS(HOST_STAT),        \
		"/proc/stat: system", "Time in system mode")                             \
	X(CPU_IDLE, "host.cpu.idle", UINT64, "ns", COUNTER, READS(HOST_STAT),            \
		"/proc/stat: idle", "Time in which CPUs had nothing to do")              \
	X(CPU_IOWAIT, "host.cpu.iowait", UINT64, "ns", COUNTER, READS(HOST_STAT),        \
		"/proc/stat: iowait", "Idle time with input or output outstanding")      \
	X(CPU_IRQ, "host.cpu.irq", UINT64, "ns", COUNTER, READS(HOST_STAT),              \
		"/proc/stat: irq + softirq", "Time in interrupts")                       \
	X(CPU_STEAL, "host.cpu.steal", UINT64, "ns", COUNTER, READS(HOST_STAT),          \
		"/proc/stat: steal",                                                     \
		"Time that a hypervisor below this host took away")                      \
	X(CPU_GUEST, "host.cpu.guest", UINT64, "ns", COUNTER, READS(HOST_STAT),          \
		"/proc/stat: guest + guest_nice", "Time that CPUs ran virtual CPUs")     \
	X(CONTEXT_SWITCHES, "host.context.switches", UINT64, "1", COUNTER,               \
		READS(HOST_STAT), "/proc/stat: ctxt", "Context switches")                \
	X(PROCS_RUNNING, "host.procs.running", UINT32, "1", GAUGE, READS(HOST_STAT),     \
		"/proc/stat: procs_running", "Runnable tasks")                           \
	X(PROCS_BLOCKED, "host.procs.blocked", UINT32, "1", GAUGE, READS(HOST_STAT),     \
		"/proc/stat: procs_blocked", "Tasks blocked on input or output")         \
	X(LOAD1, "host.load.1", REAL64, "1", GAUGE, READS(HOST_LOADAVG),                 \
		"/proc/loadavg, first", "Load average over 1 minute")                    \
	X(LOAD5, "host.load.5", REAL64, "1", GAUGE, READS(HOST_LOADAVG),                 \
		"/proc/loadavg, second", "Load average over 5 minutes")                  \
	X(LOAD15, "host.load.15", REAL64, "1", GAUGE, READS(HOST_LOADAVG),               \
		"/proc/loadavg, third", "Load average over 15 minutes")                  \
	X(MEM_TOTAL, "host.mem.total", UINT64, "KiB", GAUGE, READS(HOST_MEMINFO),        \
		"/proc/meminfo: MemTotal", "Physical memory")                            \
	X(MEM_FREE, "host.mem.free", UINT64, "KiB", GAUGE, READS(HOST_MEMINFO),          \
		"/proc/meminfo: MemFree", "Unused physical memory")                      \
	X(MEM_AVAILABLE, "host.mem.available", UINT64, "KiB", GAUGE,                     \
		READS(HOST_MEMINFO), "/proc/meminfo: MemAvailable",                      \
		"Memory that new work could use without swapping")                       \
	X(MEM_BUFFERS, "host.mem.buffers", UINT64, "KiB", GAUGE, READS(HOST_MEMINFO),    \
		"/proc/meminfo: Buffers", "Memory that buffers block devices")           \
	X(MEM_CACHED, "host.mem.cached", UINT64, "KiB", GAUGE, READS(HOST_MEMINFO),      \
		"/proc/meminfo: Cached", "Memory that caches files")                     \
	X(MEM_USED, "host.mem.used", UINT64, "KiB", GAUGE, READS(HOST_MEMINFO),          \
		"/proc/meminfo: MemTotal - MemAvailable",                                \
		"Physical memory in use, as free(1) has it: caches not counted")         \
	X(MEM_APPS, "host.mem.apps", UINT64, "KiB", GAUGE, READS(HOST_MEMINFO),          \
		"/proc/meminfo: MemTotal - MemFree - Buffers - Cached",                  \
		"Physical memory in use but for buffers and the page cache")             \
	X(SWAP_TOTAL, "host.swap.total", UINT64, "KiB", GAUGE, READS(HOST_MEMINFO),      \
		"/proc/meminfo: SwapTotal", "Swap space")                                \
	X(SWAP_FREE, "host.swap.free", UINT64, "KiB", GAUGE, READS(HOST_MEMINFO),        \
		"/proc/meminfo: SwapFree", "Unused swap space")                          \
	X(SWAP_USED, "host.swap.used", UINT64, "KiB", GAUGE, READS(HOST_MEMINFO),        \
		"/proc/meminfo: SwapTotal - SwapFree", "Swap space in use")              \
	X(SWAP_CACHED, "host.swap.cached", UINT64, "KiB", GAUGE, READS(HOST_MEMINFO),    \
		"/proc/meminfo: SwapCached", "Memory that is also in swap space")        \
	X(SWAP_IN, "host.swap.in", UINT64, "B", COUNTER, READS(HOST_VMSTAT),             \
		"/proc/vmstat: pswpin * page size", "Read from swap space")              \
	X(SWAP_OUT, "host.swap.out", UINT64, "B", COUNTER, READS(HOST_VMSTAT),           \
		"/proc/vmstat: pswpout * page size", "Written to swap space")            \
	X(VMEM_FREE, "host.vmem.free", UINT64, "KiB", GAUGE, READS(HOST_MEMINFO),        \
		"/proc/meminfo: MemFree + SwapFree", "Unused memory and swap space")     \
	X(VMEM_USED, "host.vmem.used", UINT64, "KiB", GAUGE, READS(HOST_MEMINFO),        \
		"/proc/meminfo: MemTotal + SwapTotal - MemFree - Cached - Buffers - "    \
		"SwapCached", "Memory and swap space in use, caches not counted")        \
	X(PAGE_IN, "host.page.in", UINT64, "KiB", COUNTER, READS(HOST_VMSTAT),           \
		"/proc/vmstat: pgpgin", "Read from block devices")                       \
	X(PAGE_OUT, "host.page.out", UINT64, "KiB", COUNTER, READS(HOST_VMSTAT),         \
		"/proc/vmstat: pgpgout", "Written to block devices")                     \
	X(PAGE_FAULTS, "host.page.faults", UINT64, "1", COUNTER, READS(HOST_VMSTAT),     \
		"/proc/vmstat: pgfault", "Page faults")                                  \
	X(PAGE_MAJOR_FAULTS, "host.page.major_faults", UINT64, "1", COUNTER,             \
		READS(HOST_VMSTAT), "/proc/vmstat: pgmajfault",                          \
		"Page faults that needed a disk")                                        \
	X(PAGE_IN_RATE, "host.page.in.rate", REAL64, "1/s", GAUGE, READS(HOST_VMSTAT),   \
		"/proc/vmstat: pgpgin over the last period",                             \
		"KiB read from block devices each second")                               \
	X(PAGE_FAULT_RATE, "host.page.fault.rate", REAL64, "1/s", GAUGE,                 \
		READS(HOST_VMSTAT), "/proc/vmstat: pgfault over the last period",        \
		"Page faults each second")                                               \
	X(HUGEPAGES_TOTAL, "host.hugepages.total", UINT64, "1", GAUGE,                   \
		READS(HOST_MEMINFO), "/proc/meminfo: HugePages_Total",                   \
		"Huge pages of the default size")                                        \
	X(HUGEPAGES_FREE, "host.hugepages.free", UINT64, "1", GAUGE,                     \
		READS(HOST_MEMINFO), "/proc/meminfo: HugePages_Free",                    \
		"Unused huge pages")                                                     \
	X(HUGEPAGES_RESERVED, "host.hugepages.reserved", UINT64, "1", GAUGE,             \
		READS(HOST_MEMINFO), "/proc/meminfo: HugePages_Rsvd",                    \
		"Huge pages promised but not yet used")                                  \
	X(HUGEPAGES_SURPLUS, "host.hugepages.surplus", UINT64, "1", GAUGE,               \
		READS(HOST_MEMINFO), "/proc/meminfo: HugePages_Surp",                    \
		"Huge pages above the configured pool")                                  \
	X(HUGEPAGES_SIZE, "host.hugepages.size", UINT64, "KiB", GAUGE,                   \
		READS(HOST_MEMINFO), "/proc/meminfo: Hugepagesize",                      \
		"Default size of a huge page")                                           \
	HOST_PRESSURE(X, CPU_SOME, "cpu", "some")                                        \
	HOST_PRESSURE(X, CPU_FULL, "cpu", "full")                                        \
	HOST_PRESSURE(X, MEMORY_SOME, "memory", "some")                                  \
	HOST_PRESSURE(X, MEMORY_FULL, "memory", "full")                                  \
	HOST_PRESSURE(X, IO_SOME, "io", "some")                                          \
	HOST_PRESSURE(X, IO_FULL, "io", "full")

/* About all VMs together, and about vhostmd itself. */
#define FLEET_SOURCES(X)                                                                 \
	X(VIRT_PRODUCT, "host.virt.product", STRING, NULL, TEXT, READS_NOTHING,          \
		"libvirt: driver type and hypervisor version",                           \
		"Hypervisor and its version, three numbers")                             \
	X(VMS_COUNT, "host.vms.count", UINT32, "1", GAUGE, READS_NOTHING,                \
		"libvirt: active domains", "Running VMs")                                \
	X(VMS_VCPUS, "host.vms.vcpus", UINT32, "1", GAUGE, READS(VCPUS),                 \
		"sum of vcpu.current", "Virtual CPUs of all running VMs")                \
	X(VMS_MEMORY, "host.vms.memory", UINT64, "KiB", GAUGE, READS(RSS),               \
		"sum of balloon.rss, else of balloon.current",                           \
		"Physical memory that running VMs use")                                  \
	X(OVERCOMMIT_CPU, "host.overcommit.cpu", REAL64, "1", GAUGE,                     \
		READS(VCPUS) | READS(HOST_CPUS), "host.vms.vcpus / host.cpu.count",      \
		"Virtual CPUs of all VMs for each of the host's CPUs")                   \
	X(OVERCOMMIT_MEMORY, "host.overcommit.memory", REAL64, "1", GAUGE,               \
		READS(DESCRIPTION) | READS(HOST_MEMINFO),                                \
		"sum of domain.memory / host.mem.total",                                 \
		"Memory promised to all VMs, as a multiple of the host's")               \
	X(SELF_CPU_TIME, "vhostmd.cpu.time", UINT64, "ns", COUNTER, READS_NOTHING,       \
		"getrusage", "CPU time that vhostmd used")                               \
	X(SELF_RSS, "vhostmd.rss", UINT64, "KiB", GAUGE, READS_NOTHING,                  \
		"/proc/self/statm", "Resident memory of vhostmd")                        \
	X(SELF_FAST_DURATION, "vhostmd.fast.duration", UINT64, "ns", GAUGE,              \
		READS_NOTHING, "monotonic clock",                                        \
		"How long the last cycle of the fast lane took")                         \
	X(SELF_FAST_CYCLES, "vhostmd.fast.cycles", UINT64, "1", COUNTER, READS_NOTHING,  \
		"counted", "Cycles of the fast lane")                                    \
	X(SELF_FAST_OVERRUNS, "vhostmd.fast.overruns", UINT64, "1", COUNTER,             \
		READS_NOTHING, "counted",                                                \
		"Beats that the fast lane skipped because it was late")                  \
	X(SELF_SLOW_DURATION, "vhostmd.slow.duration", UINT64, "ns", GAUGE,              \
		READS_NOTHING, "monotonic clock",                                        \
		"How long libvirt's last answer took")                                   \
	X(SELF_SLOW_CALLS, "vhostmd.slow.calls", UINT64, "1", COUNTER, READS_NOTHING,    \
		"counted", "Calls for statistics that libvirt answered")                 \
	X(SELF_SLOW_ABANDONED, "vhostmd.slow.abandoned", UINT64, "1", COUNTER,           \
		READS_NOTHING, "counted",                                                \
		"Calls that were given up because they took too long")                   \
	X(SELF_SLOW_ASLEEP, "vhostmd.slow.asleep", UINT64, "1", COUNTER, READS_NOTHING,  \
		"counted",                                                               \
		"How often a VM was not asked, as nothing of it can have changed")       \
	X(SELF_VMS_SILENT, "vhostmd.vms.silent", UINT32, "1", GAUGE, READS_NOTHING,      \
		"counted",                                                               \
		"VMs that are skipped because their monitor does not answer")

/* A VM's identity, and what its description and its cgroup grant. */
#define DOMAIN_SOURCES(X)                                                                \
	X(NAME, "domain.name", STRING, NULL, TEXT, READS_NOTHING, "libvirt",             \
		"Name of the VM")                                                        \
	X(UUID, "domain.uuid", STRING, NULL, TEXT, READS_NOTHING, "libvirt",             \
		"UUID of the VM")                                                        \
	X(ID, "domain.id", INT32, "1", GAUGE, READS_NOTHING, "libvirt",                  \
		"Id of the running VM")                                                  \
	X(SESSION, "domain.session", UINT64, "1", GAUGE, READS_NOTHING,                  \
		"hash of the host's boot id, the VM's uuid and its process' start time", \
		"Changes when the VM starts, is restored or migrates in")                \
	X(METADATA, "domain.metadata", STRING, NULL, TEXT, READS(DESCRIPTION),           \
		"domain XML: metadata, where <source> says",                             \
		"What the management says of the VM: vhostmd.conf(5), METADATA")         \
	X(MEMORY, "domain.memory", UINT64, "KiB", GAUGE, READS(DESCRIPTION),             \
		"domain XML: memory", "Most memory the VM may have")                     \
	X(CPU_LIMIT, "domain.cpu.limit", REAL64, "1", GAUGE,                             \
		READS(DESCRIPTION) | READS(VCPUS),                                       \
		"min(vcpu.current * cputune.quota / cputune.period, "                    \
		"cputune.global_quota / cputune.global_period, vcpu.current)",           \
		"Host CPUs that the VM may keep busy; unlimited: all its virtual ones")  \
	X(CPU_LIMIT_FREQUENCY, "domain.cpu.limit.frequency", UINT64, "MHz", GAUGE,       \
		READS(DESCRIPTION) | READS(VCPUS),                                       \
		"domain.cpu.limit * host.cpu.frequency",                                 \
		"Processor cycles that the VM may use, by the nominal frequency")        \
	X(UNLIMITED, "domain.unlimited", STRING, NULL, TEXT, READS(DESCRIPTION),         \
		"names, separated by spaces",                                            \
		"Limits among the VM's metrics that are not set")                        \
	X(CPUTUNE_SHARES, "cputune.shares", UINT64, "1", GAUGE,                          \
		READS(DESCRIPTION) | READS(CGROUP_WEIGHT),                               \
		"domain XML: cputune/shares, else the cgroup's cpu.weight, cpu.shares",  \
		"Weight of the VM when processors are short")                            \
	X(CPUTUNE_PERIOD, "cputune.period", UINT64, "us", GAUGE, READS(DESCRIPTION),     \
		"domain XML: cputune/period", "Period of the virtual CPUs' quota")       \
	X(CPUTUNE_QUOTA, "cputune.quota", UINT64, "us", GAUGE, READS(DESCRIPTION),       \
		"domain XML: cputune/quota",                                             \
		"Time that each virtual CPU may run in a period; absent: unlimited")     \
	X(CPUTUNE_GLOBAL_PERIOD, "cputune.global_period", UINT64, "us", GAUGE,           \
		READS(DESCRIPTION), "domain XML: cputune/global_period",                 \
		"Period of the VM's quota")                                              \
	X(CPUTUNE_GLOBAL_QUOTA, "cputune.global_quota", UINT64, "us", GAUGE,             \
		READS(DESCRIPTION), "domain XML: cputune/global_quota",                  \
		"Time that the whole VM may run in a period; absent: unlimited")         \
	X(CPUTUNE_EMULATOR_PERIOD, "cputune.emulator_period", UINT64, "us", GAUGE,       \
		READS(DESCRIPTION), "domain XML: cputune/emulator_period",               \
		"Period of the emulator's quota")                                        \
	X(CPUTUNE_EMULATOR_QUOTA, "cputune.emulator_quota", UINT64, "us", GAUGE,         \
		READS(DESCRIPTION), "domain XML: cputune/emulator_quota",                \
		"Time that the emulator may run in a period; absent: unlimited")         \
	X(MEMTUNE_HARD_LIMIT, "memtune.hard_limit", UINT64, "KiB", GAUGE,                \
		READS(DESCRIPTION), "domain XML: memtune/hard_limit",                    \
		"Most memory of the VM's process; absent: unlimited")                    \
	X(MEMTUNE_SOFT_LIMIT, "memtune.soft_limit", UINT64, "KiB", GAUGE,                \
		READS(DESCRIPTION), "domain XML: memtune/soft_limit",                    \
		"Memory left to the VM when the host is short; absent: unlimited")       \
	X(MEMTUNE_SWAP_HARD_LIMIT, "memtune.swap_hard_limit", UINT64, "KiB", GAUGE,      \
		READS(DESCRIPTION), "domain XML: memtune/swap_hard_limit",               \
		"Most memory and swap space of the VM's process; absent: unlimited")     \
	X(MEMTUNE_MIN_GUARANTEE, "memtune.min_guarantee", UINT64, "KiB", GAUGE,          \
		READS(DESCRIPTION), "domain XML: memtune/min_guarantee",                 \
		"Memory reserved for the VM; absent: nothing")

/* For each disk, by its place among the VM's disks as in block.*. */
#define IOTUNE_SOURCES(X)                                                                \
	X(TOTAL_BYTES, "block.*.iotune.total_bytes_sec", "total_bytes_sec", "B",         \
		"Most bytes read and written each second; absent: unlimited")            \
	X(READ_BYTES, "block.*.iotune.read_bytes_sec", "read_bytes_sec", "B",            \
		"Most bytes read each second; absent: unlimited")                        \
	X(WRITE_BYTES, "block.*.iotune.write_bytes_sec", "write_bytes_sec", "B",         \
		"Most bytes written each second; absent: unlimited")                     \
	X(TOTAL_IOPS, "block.*.iotune.total_iops_sec", "total_iops_sec", "1",            \
		"Most requests each second; absent: unlimited")                          \
	X(READ_IOPS, "block.*.iotune.read_iops_sec", "read_iops_sec", "1",               \
		"Most read requests each second; absent: unlimited")                     \
	X(WRITE_IOPS, "block.*.iotune.write_iops_sec", "write_iops_sec", "1",            \
		"Most write requests each second; absent: unlimited")

#define VM_PRESSURE(X, RES, WHAT, res, what)                                             \
	X(PRESSURE_##RES##_##WHAT##_AVG10, "pressure." res "." what ".avg10", REAL64,    \
		"%", GAUGE, READS(PRESSURE_##RES),                                       \
		"cgroup " res ".pressure: " what " avg10",                               \
		"Share of the last 10 s in which " what " of the VM waited for " res)    \
	X(PRESSURE_##RES##_##WHAT##_AVG60, "pressure." res "." what ".avg60", REAL64,    \
		"%", GAUGE, READS(PRESSURE_##RES),                                       \
		"cgroup " res ".pressure: " what " avg60",                               \
		"Share of the last 60 s in which " what " of the VM waited for " res)    \
	X(PRESSURE_##RES##_##WHAT##_AVG300, "pressure." res "." what ".avg300", REAL64,  \
		"%", GAUGE, READS(PRESSURE_##RES),                                       \
		"cgroup " res ".pressure: " what " avg300",                              \
		"Share of the last 300 s in which " what " of the VM waited for " res)   \
	X(PRESSURE_##RES##_##WHAT##_TOTAL, "pressure." res "." what ".total", UINT64,    \
		"us", COUNTER, READS(PRESSURE_##RES),                                    \
		"cgroup " res ".pressure: " what " total",                               \
		"Time in which " what " of the VM waited for " res)

#define DELAY_HOW "eBPF at the scheduler's switches, in steps of a quarter at most"

#define DELAY_SOURCES(X, key, prefix, whose)                                             \
	X(key##_P50, prefix "delay.p50", UINT64, "ns", GAUGE,                            \
		READS(VCPUS) | READS(DELAYS), DELAY_HOW,                                 \
		"Median of the waits of " whose " for a processor, last period")         \
	X(key##_P90, prefix "delay.p90", UINT64, "ns", GAUGE,                            \
		READS(VCPUS) | READS(DELAYS), DELAY_HOW,                                 \
		"90th percentile of the waits of " whose " for a processor, last "       \
		"period")                                                                \
	X(key##_P99, prefix "delay.p99", UINT64, "ns", GAUGE,                            \
		READS(VCPUS) | READS(DELAYS), DELAY_HOW,                                 \
		"99th percentile of the waits of " whose " for a processor, last "       \
		"period")                                                                \
	X(key##_MAX, prefix "delay.max", UINT64, "ns", GAUGE,                            \
		READS(VCPUS) | READS(DELAYS), "eBPF at the scheduler's switches",        \
		"Longest wait of " whose " for a processor, last period")

/* Of a VM, and of each of its virtual CPUs. */
#define VM_DELAY_SOURCES(X) DELAY_SOURCES(X, DELAY, "", "all virtual CPUs")
#define VCPU_DELAY_SOURCES(X) DELAY_SOURCES(X, VCPU_DELAY, "vcpu.*.", "a virtual CPU")

/* Of all virtual CPUs; in the order of enum delay_owner (bpf/delay_format.h). */
#define DELAY_BY(X, key, owner, whom)                                                    \
	X(DELAY_BY_##key, "delay.by." owner, REAL64, "%", GAUGE,                         \
		READS(VCPUS) | READS(DELAYS),                                            \
		"eBPF at the scheduler's switches: 100 * part / all",                    \
		"Of what virtual CPUs waited, last period, the part in which " whom)
#define DELAY_OWNER_SOURCES(X)                                                           \
	DELAY_BY(X, VMS, "vms", "other VMs had the processor")                           \
	DELAY_BY(X, SELF, "self", "the VM's own threads had it")                         \
	DELAY_BY(X, HOST, "host", "other processes of the host had it")                  \
	DELAY_BY(X, KERNEL, "kernel", "threads of the kernel had it")                    \
	DELAY_BY(X, IDLE, "idle", "nobody had it: it takes a moment to begin")           \
	DELAY_BY(X, QUOTA, "quota", "a limit held them back")                            \
	DELAY_BY(X, UNKNOWN, "unknown", "it is not known who had it")

/* The same of all the time that the VM has run, which is on no wire. */
#define DELAY_HISTOGRAM_SOURCES(X)                                                       \
	X(DELAY_HISTOGRAM, "delay.histogram", HISTOGRAM, "ns", HISTOGRAM,                \
		READS(VCPUS) | READS(DELAYS), "eBPF at the scheduler's switches",        \
		"Waits of all virtual CPUs for a processor; for Prometheus alone")

/* A VM's process and cgroup, read by the fast lane alone. */
#define KERNEL_SOURCES(X)                                                                \
	X(THREADS, "process.threads", UINT32, "1", GAUGE, READS(PROCESS),                \
		"/proc/<pid>/stat: num_threads", "Threads of the VM's process")          \
	X(MINOR_FAULTS, "process.faults.minor", UINT64, "1", COUNTER, READS(PROCESS),    \
		"/proc/<pid>/stat: minflt", "Page faults that needed no disk")           \
	X(MAJOR_FAULTS, "process.faults.major", UINT64, "1", COUNTER, READS(PROCESS),    \
		"/proc/<pid>/stat: majflt", "Page faults that needed a disk")            \
	X(IO_READ, "process.io.read.bytes", UINT64, "B", COUNTER, READS(PROCESS_IO),     \
		"/proc/<pid>/io: read_bytes",                                            \
		"Bytes that the process read from storage")                              \
	X(IO_WRITE, "process.io.write.bytes", UINT64, "B", COUNTER, READS(PROCESS_IO),   \
		"/proc/<pid>/io: write_bytes - cancelled_write_bytes",                   \
		"Bytes that the process had written to storage")                         \
	X(IO_READ_CALLS, "process.io.read.calls", UINT64, "1", COUNTER,                  \
		READS(PROCESS_IO), "/proc/<pid>/io: syscr",                              \
		"Read calls of the process")                                             \
	X(IO_WRITE_CALLS, "process.io.write.calls", UINT64, "1", COUNTER,                \
		READS(PROCESS_IO), "/proc/<pid>/io: syscw",                              \
		"Write calls of the process")                                            \
	X(THROTTLE_PERIODS, "cgroup.cpu.periods", UINT64, "1", COUNTER,                  \
		READS(THROTTLE),                                                         \
		"cpu.stat: nr_periods of the VM's cgroup, those below and those above, " \
		"added up",                                                              \
		"Quota periods in which the VM, or who shares a quota with it, ran")     \
	X(THROTTLED_PERIODS, "cgroup.cpu.throttled.periods", UINT64, "1", COUNTER,       \
		READS(THROTTLE), "cpu.stat: nr_throttled, added up",                     \
		"Quota periods in which the VM, or who shares a quota with it, was "     \
		"stopped")                                                               \
	X(THROTTLED_TIME, "cgroup.cpu.throttled.time", UINT64, "ns", COUNTER,            \
		READS(THROTTLE), "cpu.stat: throttled_usec, throttled_time, added up",   \
		"Time in which the VM, or who shares a quota with it, was stopped, all " \
		"processors added up")                                                   \
	X(IOTHREADS_TIME, "domain.iothread.time", UINT64, "ns", COUNTER,                 \
		READS(IOTHREAD_TIMES), "sum of iothread.*.time, unplugged ones too",     \
		"Time that all I/O threads ran")                                         \
	X(EMULATOR_TIME, "domain.emulator.time", UINT64, "ns", COUNTER,                  \
		READS(CPU) | READS(VCPUS) | READS(IOTHREAD_TIMES),                       \
		"cpu.time - domain.vcpu.time - domain.iothread.time",                    \
		"Time that the VM's other threads ran: emulator, vhost")                 \
	X(CGROUP_MEMORY, "cgroup.memory.current", UINT64, "B", GAUGE,                    \
		READS(CGROUP_MEMORY), "cgroup memory.current, memory.usage_in_bytes",    \
		"Memory charged to the VM, page cache included")                         \
	VM_PRESSURE(X, CPU, SOME, "cpu", "some")                                         \
	VM_PRESSURE(X, CPU, FULL, "cpu", "full")                                         \
	VM_PRESSURE(X, MEMORY, SOME, "memory", "some")                                   \
	VM_PRESSURE(X, MEMORY, FULL, "memory", "full")                                   \
	VM_PRESSURE(X, IO, SOME, "io", "some")                                           \
	VM_PRESSURE(X, IO, FULL, "io", "full")                                           \
	VM_DELAY_SOURCES(X)                                                              \
	DELAY_OWNER_SOURCES(X)                                                           \
	DELAY_HISTOGRAM_SOURCES(X)

/* For each disk that is a device of the host, by its place among the VM's disks as in block.*. */
#define HOSTDISK(X, key, name, unit, kind, how, help)                                    \
	X(HOSTDISK_##key, "hostdisk.*." name, UINT64, unit, kind, READS(HOSTDISKS),      \
		"/proc/diskstats: " how, help)
/* Behind the first one numbers, in the order of the file (collect/kernel/disk_stats.h). */
#define HOSTDISK_SOURCES(X)                                                              \
	X(HOSTDISK_NODE, "hostdisk.*.node", STRING, NULL, TEXT, READS(HOSTDISKS),        \
		"/proc/diskstats: device name",                                          \
		"The kernel's name of the host's device that is the VM's disk")          \
	HOSTDISK(X, RD_REQS, "rd.reqs", "1", COUNTER, "reads completed",                 \
		"Reads that the host's device completed")                                \
	HOSTDISK(X, RD_MERGED, "rd.merged", "1", COUNTER, "reads merged",                \
		"Reads that became part of others before the device got them")           \
	HOSTDISK(X, RD_BYTES, "rd.bytes", "B", COUNTER, "sectors read * 512",            \
		"Bytes that the host's device read")                                     \
	HOSTDISK(X, RD_TIMES, "rd.times", "ns", COUNTER, "time spent reading",           \
		"Time that the host's device took for reads, added up")                  \
	HOSTDISK(X, WR_REQS, "wr.reqs", "1", COUNTER, "writes completed",                \
		"Writes that the host's device completed")                               \
	HOSTDISK(X, WR_MERGED, "wr.merged", "1", COUNTER, "writes merged",               \
		"Writes that became part of others before the device got them")          \
	HOSTDISK(X, WR_BYTES, "wr.bytes", "B", COUNTER, "sectors written * 512",         \
		"Bytes that the host's device wrote")                                    \
	HOSTDISK(X, WR_TIMES, "wr.times", "ns", COUNTER, "time spent writing",           \
		"Time that the host's device took for writes, added up")                 \
	HOSTDISK(X, INFLIGHT, "inflight", "1", GAUGE, "I/Os currently in progress",      \
		"Requests that the host's device has not completed yet")                 \
	HOSTDISK(X, BUSY, "busy", "ns", COUNTER, "time spent doing I/Os",                \
		"Time in which the host's device had any request")                       \
	HOSTDISK(X, QUEUE_TIMES, "queue.times", "ns", COUNTER,                           \
		"weighted time spent doing I/Os",                                        \
		"Time of all requests so far, those under way included, added up")       \
	HOSTDISK(X, DISCARD_REQS, "discard.reqs", "1", COUNTER, "discards completed",    \
		"Discards that the host's device completed; Linux 4.18")                 \
	HOSTDISK(X, DISCARD_MERGED, "discard.merged", "1", COUNTER, "discards merged",   \
		"Discards that became part of others before the device got them")        \
	HOSTDISK(X, DISCARD_BYTES, "discard.bytes", "B", COUNTER,                        \
		"sectors discarded * 512", "Bytes that the host's device discarded")     \
	HOSTDISK(X, DISCARD_TIMES, "discard.times", "ns", COUNTER,                       \
		"time spent discarding",                                                 \
		"Time that the host's device took for discards, added up")               \
	HOSTDISK(X, FL_REQS, "fl.reqs", "1", COUNTER, "flush requests completed",        \
		"Flushes that the host's device completed; Linux 5.5, not of "           \
		"partitions, nor of LVM and the like")                                   \
	HOSTDISK(X, FL_TIMES, "fl.times", "ns", COUNTER, "time spent flushing",          \
		"Time that the host's device took for flushes, added up")

#define USAGE_SOURCES(X)                                                                 \
	X(VCPUS_TIME, "domain.vcpu.time", UINT64, "ns", COUNTER, READS(VCPUS),           \
		"sum of vcpu.*.time, unplugged ones too",                                \
		"Time that all virtual CPUs ran")                                        \
	X(VCPUS_DELAY, "domain.vcpu.delay", UINT64, "ns", COUNTER, READS(VCPUS),         \
		"sum of vcpu.*.delay, unplugged ones too",                               \
		"Time that virtual CPUs were ready but waited for a processor (steal)")  \
	X(VCPUS_WAIT, "domain.vcpu.wait", UINT64, "ns", COUNTER,                         \
		READS(VCPUS) | READS(WAIT), "sum of vcpu.*.wait, unplugged ones too",    \
		"The same as domain.vcpu.delay, as the kernel's schedstats count it")    \
	X(USAGE_CPU, "usage.cpu", REAL64, "%", GAUGE, READS(CPU) | READS(VCPUS),         \
		"100 * growth of cpu.time / (time * vcpu.current), last period",         \
		"CPU that the VM used, of what its virtual CPUs could; over 100 where "  \
		"emulator, vhost and I/O threads, which count, work beside them")        \
	X(USAGE_STEAL, "usage.steal", REAL64, "%", GAUGE, READS(VCPUS),                  \
		"100 * growth of domain.vcpu.delay / (time * vcpu.current), last period", \
		"Time that virtual CPUs were ready but got no processor")                \
	X(USAGE_WAIT, "usage.wait", REAL64, "%", GAUGE, READS(VCPUS) | READS(WAIT),      \
		"100 * growth of domain.vcpu.wait / (time * vcpu.current), last period", \
		"The same as usage.steal, as the kernel's schedstats count it")          \
	X(USAGE_THROTTLED, "usage.throttled", REAL64, "%", GAUGE,                        \
		READS(VCPUS) | READS(THROTTLE),                                          \
		"100 * growth of cgroup.cpu.throttled.time / (time * vcpu.current), "    \
		"last period, at most 100",                                              \
		"Time that virtual CPUs, or who shares a quota with them, were stopped " \
		"by it")                                                                 \
	X(USAGE_MEMORY_PRESSURE, "usage.memory.pressure", REAL64, "%", GAUGE,            \
		READS(PRESSURE_MEMORY),                                                  \
		"100 * growth of pressure.memory.some.total / time, last period",        \
		"Time in which something of the VM waited for memory")

/* About a VM's samples. */
#define SAMPLE_SOURCES(X)                                                                \
	X(SLOW_AGE, "sample.slow.age", REAL64, "s", GAUGE, READS_NOTHING,                \
		"time since libvirt was last asked with success",                        \
		"Age of the figures that need the VM's monitor")                         \
	X(STALE, "sample.stale", UINT32, "1", GAUGE, READS_NOTHING,                      \
		"1 if the monitor does not answer, or there was no answer for 3 slow "   \
		"periods", "1 if the figures that need the VM's monitor are old")

/* key, context, name, type, unit, kind, what must be read, how, help */
#define SNAPSHOT_SOURCES(X)                                                              \
	X(GENERATION, HOST, "host.sample.generation", UINT64, "1", COUNTER,              \
		READS_NOTHING, "counted by publications",                                \
		"Grows with each change of these metrics")                               \
	X(UNAVAILABLE, HOST, "host.sample.unavailable", STRING, NULL, TEXT,              \
		READS_NOTHING, "names, separated by spaces",                             \
		"Metrics of the host that cannot be had now, which is not zero")         \
	X(GENERATION, VM, "sample.generation", UINT64, "1", COUNTER, READS_NOTHING,      \
		"counted by publications", "Grows with each change of these metrics")    \
	X(UNAVAILABLE, VM, "sample.unavailable", STRING, NULL, TEXT, READS_NOTHING,      \
		"names, separated by spaces",                                            \
		"Metrics of the VM that cannot be had now, which is not zero")

/* clang-format on */

#define CATALOGUE_KEY(key, ...) HOST_##key,
enum host_key { HOST_SOURCES(CATALOGUE_KEY) HOST_KEY_COUNT };
#undef CATALOGUE_KEY

#define CATALOGUE_KEY(key, ...) FLEET_##key,
enum fleet_key { FLEET_SOURCES(CATALOGUE_KEY) FLEET_KEY_COUNT };
#undef CATALOGUE_KEY

#define CATALOGUE_KEY(key, ...) IOTUNE_##key,
enum iotune_key { IOTUNE_SOURCES(CATALOGUE_KEY) IOTUNE_KEY_COUNT };
#undef CATALOGUE_KEY

#define CATALOGUE_KEY(key, ...) DOMAIN_##key,
#define CATALOGUE_IOTUNE_KEY(key, ...) DOMAIN_IOTUNE_##key,
enum domain_key {
	DOMAIN_SOURCES(CATALOGUE_KEY) DOMAIN_SCALAR_COUNT,
	DOMAIN_BEFORE_IOTUNE = DOMAIN_SCALAR_COUNT - 1,
	IOTUNE_SOURCES(CATALOGUE_IOTUNE_KEY) DOMAIN_KEY_COUNT,
};
#undef CATALOGUE_KEY
#undef CATALOGUE_IOTUNE_KEY

#define CATALOGUE_KEY(key, ...) VM_##key,
/* What the fast lane knows of a VM: one value each, then one for each I/O thread, vCPU,
 * interface or disk. */
enum vm_key {
	VM_CPU_TIME,
	VM_CPU_USER,
	VM_CPU_SYSTEM,
	VM_RSS,
	VM_VCPU_CURRENT,
	VM_VCPU_MAXIMUM,
	VM_BALLOON_CURRENT,
	VM_BALLOON_MAXIMUM,
	VM_NET_COUNT,
	KERNEL_SOURCES(CATALOGUE_KEY) USAGE_SOURCES(CATALOGUE_KEY) VM_SCALAR_COUNT,
	VM_IOTHREAD_TIME = VM_SCALAR_COUNT,
	VM_VCPU_STATE,
	VM_VCPU_TIME,
	VM_VCPU_WAIT,
	VM_VCPU_DELAY,
	VCPU_DELAY_SOURCES(CATALOGUE_KEY) VM_NET_NAME,
	VM_NET_RX_BYTES,
	VM_NET_RX_PKTS,
	VM_NET_RX_ERRS,
	VM_NET_RX_DROP,
	VM_NET_TX_BYTES,
	VM_NET_TX_PKTS,
	VM_NET_TX_ERRS,
	VM_NET_TX_DROP,
	HOSTDISK_SOURCES(CATALOGUE_KEY) VM_KEY_COUNT,
};
#undef CATALOGUE_KEY

#define CATALOGUE_KEY(key, ...) SAMPLE_##key,
enum sample_key { SAMPLE_SOURCES(CATALOGUE_KEY) SAMPLE_KEY_COUNT };
#undef CATALOGUE_KEY

enum snapshot_key { SNAPSHOT_GENERATION, SNAPSHOT_UNAVAILABLE, SNAPSHOT_KEY_COUNT };

struct catalogue_entry {
	const char *name; /* may hold '*', each of which stands for a number */
	enum metric_context context;
	enum catalogue_collector collector;
	enum metric_type type;
	const char *unit; /* NULL for text; "1" for plain numbers */
	enum catalogue_kind kind;
	int key;        /* of the enum that belongs to the collector; -1: by name alone */
	uint64_t reads; /* of READS() */
	bool words;     /* '*' stands for a word, not only for a number */
	const char *how;
	const char *help;
};

/* Entry @i in the order of the documentation; NULL behind the last. */
const struct catalogue_entry *catalogue_at(size_t i);

/*
 * Finds what a <source> names: an entry's own name, or one with numbers in place of some
 * '*' ("vcpu.0.delay").  Return: NULL if there is no such source.
 */
const struct catalogue_entry *catalogue_find(const char *source);

/* The catalogue's name that resembles @source most, for "did you mean"; or NULL. */
const char *catalogue_suggest(const char *source);

/* Appends the table as text for a terminal, or in Markdown for docs/sources.md. */
void catalogue_print(struct strbuf *out, bool markdown);

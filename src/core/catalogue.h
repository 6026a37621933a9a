/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The catalogue of native sources: what a <source> may name.  Each is declared once here;
 * the configuration reader, the collectors, `vhostmd --list-sources` and
 * docs/sources.md all walk this table.  Immutable data.
 *
 * To add a host figure: one line in HOST_SOURCES and the code in collect/host that sets it.
 * To add one of libvirt's: one line in catalogue.c; it is matched by name.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "core/spec.h"
#include "core/value.h"

struct strbuf;

enum catalogue_collector {
	COLLECTOR_HOST,    /* collect/host: files of the kernel, kept open */
	COLLECTOR_LIBVIRT, /* collect/virt: libvirt's bulk statistics, by the same name */
	COLLECTOR_DERIVED, /* collect/virt: calculated from them or from the connection */
};

enum catalogue_kind {
	KIND_GAUGE,   /* may go up and down */
	KIND_COUNTER, /* only grows, until a restart */
	KIND_TEXT,
};

/* clang-format off */
/* key, name, type, unit, kind, how to get it, help */
#define HOST_PRESSURE(X, KEY, res, what)                                                 \
	X(PRESSURE_##KEY##_AVG10, "host.pressure." res "." what ".avg10", REAL64, "%",   \
		GAUGE, "/proc/pressure/" res ": " what " avg10",                         \
		"Share of the last 10 s in which " what " tasks waited for " res)        \
	X(PRESSURE_##KEY##_AVG60, "host.pressure." res "." what ".avg60", REAL64, "%",   \
		GAUGE, "/proc/pressure/" res ": " what " avg60",                         \
		"Share of the last 60 s in which " what " tasks waited for " res)        \
	X(PRESSURE_##KEY##_AVG300, "host.pressure." res "." what ".avg300", REAL64, "%", \
		GAUGE, "/proc/pressure/" res ": " what " avg300",                        \
		"Share of the last 300 s in which " what " tasks waited for " res)       \
	X(PRESSURE_##KEY##_TOTAL, "host.pressure." res "." what ".total", UINT64, "us",  \
		COUNTER, "/proc/pressure/" res ": " what " total",                       \
		"Time in which " what " tasks waited for " res)

#define HOST_SOURCES(X)                                                                  \
	X(NAME, "host.name", STRING, NULL, TEXT, "uname: nodename", "Host name")         \
	X(NAME_SHORT, "host.name.short", STRING, NULL, TEXT,                             \
		"uname: nodename up to the first dot", "Host name without its domain")   \
	X(TIME, "host.time", UINT64, "s", GAUGE, "CLOCK_REALTIME",                       \
		"Seconds since 1970")                                                    \
	X(UPTIME, "host.uptime", REAL64, "s", GAUGE, "/proc/uptime",                     \
		"Time since the host booted")                                            \
	X(OS_NAME, "host.os.name", STRING, NULL, TEXT, "uname: sysname, in lower case",  \
		"Operating system of the host")                                          \
	X(OS_RELEASE, "host.os.release", STRING, NULL, TEXT, "uname: release",           \
		"Kernel release of the host")                                            \
	X(OS_MACHINE, "host.os.machine", STRING, NULL, TEXT, "uname: machine",           \
		"Processor architecture of the host")                                    \
	X(VIRT_VENDOR, "host.virt.vendor", STRING, NULL, TEXT,                           \
		"/etc/os-release: VENDOR_NAME, else NAME",                               \
		"Vendor of the virtualization platform")                                 \
	X(CPU_COUNT, "host.cpu.count", UINT32, "1", GAUGE,                               \
		"/sys/devices/system/cpu/online", "Logical CPUs that are online")        \
	X(CPU_SOCKETS, "host.cpu.sockets", UINT32, "1", GAUGE,                           \
		"/sys/devices/system/cpu/cpu*/topology/physical_package_id",             \
		"Processor sockets in use")                                              \
	X(CPU_CORES, "host.cpu.cores", UINT32, "1", GAUGE,                               \
		"/sys/devices/system/cpu/cpu*/topology/core_id, per package",            \
		"Processor cores in use")                                                \
	X(CPU_TIME, "host.cpu.time", UINT64, "ns", COUNTER,                              \
		"/proc/stat: user + nice + system",                                      \
		"Time that all CPUs worked, in user and system mode")                    \
	X(CPU_USER, "host.cpu.user", UINT64, "ns", COUNTER, "/proc/stat: user",          \
		"Time in user mode, guests included")                                    \
	X(CPU_NICE, "host.cpu.nice", UINT64, "ns", COUNTER, "/proc/stat: nice",          \
		"Time in user mode at low priority")                                     \
	X(CPU_SYSTEM, "host.cpu.system", UINT64, "ns", COUNTER, "/proc/stat: system",    \
		"Time in system mode")                                                   \
	X(CPU_IDLE, "host.cpu.idle", UINT64, "ns", COUNTER, "/proc/stat: idle",          \
		"Time in which CPUs had nothing to do")                                  \
	X(CPU_IOWAIT, "host.cpu.iowait", UINT64, "ns", COUNTER, "/proc/stat: iowait",    \
		"Idle time with input or output outstanding")                            \
	X(CPU_IRQ, "host.cpu.irq", UINT64, "ns", COUNTER, "/proc/stat: irq + softirq",   \
		"Time in interrupts")                                                    \
	X(CPU_STEAL, "host.cpu.steal", UINT64, "ns", COUNTER, "/proc/stat: steal",       \
		"Time that a hypervisor below this host took away")                      \
	X(CPU_GUEST, "host.cpu.guest", UINT64, "ns", COUNTER,                            \
		"/proc/stat: guest + guest_nice", "Time that CPUs ran virtual CPUs")     \
	X(CONTEXT_SWITCHES, "host.context.switches", UINT64, "1", COUNTER,               \
		"/proc/stat: ctxt", "Context switches")                                  \
	X(PROCS_RUNNING, "host.procs.running", UINT32, "1", GAUGE,                       \
		"/proc/stat: procs_running", "Runnable tasks")                           \
	X(PROCS_BLOCKED, "host.procs.blocked", UINT32, "1", GAUGE,                       \
		"/proc/stat: procs_blocked", "Tasks blocked on input or output")         \
	X(LOAD1, "host.load.1", REAL64, "1", GAUGE, "/proc/loadavg, first",              \
		"Load average over 1 minute")                                            \
	X(LOAD5, "host.load.5", REAL64, "1", GAUGE, "/proc/loadavg, second",             \
		"Load average over 5 minutes")                                           \
	X(LOAD15, "host.load.15", REAL64, "1", GAUGE, "/proc/loadavg, third",            \
		"Load average over 15 minutes")                                          \
	X(MEM_TOTAL, "host.mem.total", UINT64, "KiB", GAUGE, "/proc/meminfo: MemTotal",  \
		"Physical memory")                                                       \
	X(MEM_FREE, "host.mem.free", UINT64, "KiB", GAUGE, "/proc/meminfo: MemFree",     \
		"Unused physical memory")                                                \
	X(MEM_AVAILABLE, "host.mem.available", UINT64, "KiB", GAUGE,                     \
		"/proc/meminfo: MemAvailable",                                           \
		"Memory that new work could use without swapping")                       \
	X(MEM_BUFFERS, "host.mem.buffers", UINT64, "KiB", GAUGE,                         \
		"/proc/meminfo: Buffers", "Memory that buffers block devices")           \
	X(MEM_CACHED, "host.mem.cached", UINT64, "KiB", GAUGE, "/proc/meminfo: Cached",  \
		"Memory that caches files")                                              \
	X(MEM_USED, "host.mem.used", UINT64, "KiB", GAUGE,                               \
		"/proc/meminfo: MemTotal - MemFree", "Physical memory in use")           \
	X(MEM_APPS, "host.mem.apps", UINT64, "KiB", GAUGE,                               \
		"/proc/meminfo: MemTotal - MemFree - Buffers - Cached",                  \
		"Physical memory in use, caches not counted")                            \
	X(SWAP_TOTAL, "host.swap.total", UINT64, "KiB", GAUGE,                           \
		"/proc/meminfo: SwapTotal", "Swap space")                                \
	X(SWAP_FREE, "host.swap.free", UINT64, "KiB", GAUGE, "/proc/meminfo: SwapFree",  \
		"Unused swap space")                                                     \
	X(SWAP_USED, "host.swap.used", UINT64, "KiB", GAUGE,                             \
		"/proc/meminfo: SwapTotal - SwapFree", "Swap space in use")              \
	X(SWAP_CACHED, "host.swap.cached", UINT64, "KiB", GAUGE,                         \
		"/proc/meminfo: SwapCached", "Memory that is also in swap space")        \
	X(SWAP_IN, "host.swap.in", UINT64, "B", COUNTER,                                 \
		"/proc/vmstat: pswpin * page size", "Read from swap space")              \
	X(SWAP_OUT, "host.swap.out", UINT64, "B", COUNTER,                               \
		"/proc/vmstat: pswpout * page size", "Written to swap space")            \
	X(VMEM_FREE, "host.vmem.free", UINT64, "KiB", GAUGE,                             \
		"/proc/meminfo: MemFree + SwapFree", "Unused memory and swap space")     \
	X(VMEM_USED, "host.vmem.used", UINT64, "KiB", GAUGE,                             \
		"/proc/meminfo: MemTotal + SwapTotal - MemFree - Cached - Buffers - "    \
		"SwapCached",                                                            \
		"Memory and swap space in use, caches not counted")                      \
	X(PAGE_IN, "host.page.in", UINT64, "KiB", COUNTER, "/proc/vmstat: pgpgin",       \
		"Read from block devices")                                               \
	X(PAGE_OUT, "host.page.out", UINT64, "KiB", COUNTER, "/proc/vmstat: pgpgout",    \
		"Written to block devices")                                              \
	X(PAGE_FAULTS, "host.page.faults", UINT64, "1", COUNTER,                         \
		"/proc/vmstat: pgfault", "Page faults")                                  \
	X(PAGE_MAJOR_FAULTS, "host.page.major_faults", UINT64, "1", COUNTER,             \
		"/proc/vmstat: pgmajfault", "Page faults that needed a disk")            \
	X(PAGE_IN_RATE, "host.page.in.rate", REAL64, "1/s", GAUGE,                       \
		"/proc/vmstat: pgpgin over the last period",                             \
		"KiB read from block devices each second")                               \
	X(PAGE_FAULT_RATE, "host.page.fault.rate", REAL64, "1/s", GAUGE,                 \
		"/proc/vmstat: pgfault over the last period", "Page faults each second") \
	X(HUGEPAGES_TOTAL, "host.hugepages.total", UINT64, "1", GAUGE,                   \
		"/proc/meminfo: HugePages_Total", "Huge pages of the default size")      \
	X(HUGEPAGES_FREE, "host.hugepages.free", UINT64, "1", GAUGE,                     \
		"/proc/meminfo: HugePages_Free", "Unused huge pages")                    \
	X(HUGEPAGES_RESERVED, "host.hugepages.reserved", UINT64, "1", GAUGE,             \
		"/proc/meminfo: HugePages_Rsvd", "Huge pages promised but not yet used") \
	X(HUGEPAGES_SURPLUS, "host.hugepages.surplus", UINT64, "1", GAUGE,               \
		"/proc/meminfo: HugePages_Surp", "Huge pages above the configured pool") \
	X(HUGEPAGES_SIZE, "host.hugepages.size", UINT64, "KiB", GAUGE,                   \
		"/proc/meminfo: Hugepagesize", "Default size of a huge page")            \
	HOST_PRESSURE(X, CPU_SOME, "cpu", "some")                                        \
	HOST_PRESSURE(X, CPU_FULL, "cpu", "full")                                        \
	HOST_PRESSURE(X, MEMORY_SOME, "memory", "some")                                  \
	HOST_PRESSURE(X, MEMORY_FULL, "memory", "full")                                  \
	HOST_PRESSURE(X, IO_SOME, "io", "some")                                          \
	HOST_PRESSURE(X, IO_FULL, "io", "full")

/* clang-format on */

#define HOST_KEY(key, ...) HOST_##key,
enum host_key { HOST_SOURCES(HOST_KEY) HOST_KEY_COUNT };
#undef HOST_KEY

enum derived_key {
	DERIVED_VIRT_PRODUCT,
	DERIVED_VMS_COUNT,
	DERIVED_VMS_VCPUS,
	DERIVED_VMS_MEMORY,
	DERIVED_DOMAIN_NAME,
	DERIVED_DOMAIN_UUID,
	DERIVED_DOMAIN_ID,
	DERIVED_VCPU_TIME,
	DERIVED_VCPU_DELAY,
	DERIVED_VCPU_WAIT,
	DERIVED_KEY_COUNT,
};

struct catalogue_entry {
	const char *name; /* may hold '*', each of which stands for a number */
	enum metric_context context;
	enum catalogue_collector collector;
	enum metric_type type;
	const char *unit; /* NULL for text; "1" for plain numbers */
	enum catalogue_kind kind;
	int key;    /* enum host_key or enum derived_key; -1: by name */
	bool words; /* '*' stands for a word, not only for a number */
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

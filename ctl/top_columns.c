/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "top_columns.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "top_model.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/glob.h"
#include "util/mem.h"
#include "util/strbuf.h"

const struct top_column_info top_columns[TOP_COLUMNS] = {
	[COLUMN_NAME] = { 'N', "name", "NAME", "name", "the VM's name", NULL, 20,
		FORMAT_TEXT },
	[COLUMN_STATE] = { 'S', "state", "STATE", "state", "what it does", "state.state",
		8, FORMAT_TEXT },
	[COLUMN_VCPUS] = { 'v', "vcpus", "VCPU", "vcpus", "virtual CPUs", "vcpu.current",
		4, FORMAT_NUMBER },
	[COLUMN_CPU] = { 'c', "cpu", "CPU%", "cpu_percent", "CPU time, of one processor",
		"cpu.time, or usage.cpu and vcpu.current", 6, FORMAT_PERCENT },
	[COLUMN_STEAL] = { 's', "steal", "STL%", "steal_percent",
		"its vCPUs were ready and waited for a processor, of their time",
		"vcpu.*.delay and vcpu.current, or usage.steal", 5, FORMAT_PERCENT },
	[COLUMN_THROTTLED] = { 't', "throttled", "THR%", "throttled_percent",
		"a quota stopped it, of its vCPUs' time",
		"cgroup.cpu.throttled.time and vcpu.current, or usage.throttled", 5,
		FORMAT_PERCENT },
	[COLUMN_MEMORY] = { 'm', "memory", "MEM", "memory_bytes",
		"memory of the host that it has", "balloon.rss or cgroup.memory.current",
		6, FORMAT_SIZE },
	[COLUMN_PRESSURE] = { 'p', "pressure", "MPR%", "memory_pressure_percent",
		"time in which something of it waited for memory",
		"pressure.memory.some.total or usage.memory.pressure", 5,
		FORMAT_PERCENT },
	[COLUMN_SWAP] = { 'w', "swap", "SWAP/s", "swap_bytes_per_second",
		"swapped in and out by the guest", "balloon.swap_in, balloon.swap_out", 6,
		FORMAT_SIZE },
	[COLUMN_READ] = { 'b', "block", "RD/s", "read_bytes_per_second",
		"bytes read from its disks (sorted with those written)",
		"block.*.rd.bytes", 6, FORMAT_SIZE },
	[COLUMN_WRITTEN] = { 0, "written", "WR/s", "written_bytes_per_second",
		"bytes written to them", "block.*.wr.bytes", 6, FORMAT_SIZE },
	[COLUMN_REQUESTS] = { 'o', "requests", "REQ/s", "block_requests_per_second",
		"requests to its disks", "block.*.rd.reqs, block.*.wr.reqs", 6,
		FORMAT_NUMBER },
	[COLUMN_LATENCY] = { 'l', "latency", "LAT/ms", "block_latency_ms",
		"how long these took, on the average",
		"block.*.rd.times, block.*.wr.times, and .reqs", 6, FORMAT_MS },
	[COLUMN_RECEIVED] = { 'n', "net", "RX/s", "received_bytes_per_second",
		"bytes that came in (sorted with those sent)", "net.*.rx.bytes", 6,
		FORMAT_SIZE },
	[COLUMN_SENT] = { 0, "sent", "TX/s", "sent_bytes_per_second",
		"bytes that went out", "net.*.tx.bytes", 6, FORMAT_SIZE },
	[COLUMN_AGE] = { 'a', "age", "AGE/s", "age_s", "since it was sampled last", NULL,
		6, FORMAT_SECONDS },
};

/* ---- values ---- */

static double sum(double a, double b)
{
	return isnan(a) ? b : isnan(b) ? a : a + b;
}

/* Of rates of things; NAN: there is none. */
static double sum_rates(const struct top_things *things, size_t figure)
{
	double all = NAN;

	for (size_t i = 0; i < things->n; i++)
		all = sum(all, things->at[i].rate[figure]);
	return all;
}

static double rates(const struct top_thing *t, size_t n, size_t a, size_t b)
{
	double all = NAN;

	for (size_t i = 0; i < n; i++)
		all = sum(all, sum(t[i].rate[a], t[i].rate[b]));
	return all;
}

double top_requests(const struct top_thing *disks, size_t n)
{
	return rates(disks, n, TOP_DISK_READS, TOP_DISK_WRITES);
}

double top_latency_ms(const struct top_thing *disks, size_t n)
{
	static const struct {
		enum top_disk_figure requests, time;
	} kinds[] = { { TOP_DISK_READS, TOP_DISK_READ_TIME },
		{ TOP_DISK_WRITES, TOP_DISK_WRITE_TIME } };
	double time = 0, requests = 0;

	for (size_t i = 0; i < n * ARRAY_LEN(kinds); i++) {
		const double *rate = disks[i / ARRAY_LEN(kinds)].rate;
		double t = rate[kinds[i % ARRAY_LEN(kinds)].time];
		double r = rate[kinds[i % ARRAY_LEN(kinds)].requests];

		if (isnan(t) || isnan(r))
			continue;
		time += t;
		requests += r;
	}
	return requests > 0 ? 1000 * time / requests : NAN;
}

/* @rate: seconds a second of all vCPUs together; @usage: the daemon's ratio of one of them. */
static double vcpus_percent(const struct top_vm *vm, double rate, double usage)
{
	double vcpus = vm->all.now[TOP_VM_VCPUS];

	return 100 * (isnan(rate) || !(vcpus > 0) ? usage : rate / vcpus);
}

static double first_of(double a, double b)
{
	return isnan(a) ? b : a;
}

static double cpu_percent(const struct top_vm *vm)
{
	const double *now = vm->all.now;

	return 100 *
		first_of(vm->all.rate[TOP_VM_CPU_TIME],
			now[TOP_VM_CPU_USAGE] * now[TOP_VM_VCPUS]);
}

static double steal_percent(const struct top_vm *vm)
{
	double rate = first_of(vm->all.rate[TOP_VM_DELAY],
		sum_rates(&vm->things[TOP_VCPU], TOP_VCPU_DELAY));

	return vcpus_percent(vm, rate, vm->all.now[TOP_VM_STEAL_USAGE]);
}

static double throttled_percent(const struct top_vm *vm)
{
	double percent = vcpus_percent(
		vm, vm->all.rate[TOP_VM_THROTTLED], vm->all.now[TOP_VM_THROTTLED_USAGE]);

	/* the kernel adds up what each processor's share of the quota lacked */
	return percent > 100 ? 100 : percent;
}

static double pressure_percent(const struct top_vm *vm)
{
	const double *now = vm->all.now;

	return 100 *
		first_of(vm->all.rate[TOP_VM_PRESSURE],
			first_of(now[TOP_VM_PRESSURE_USAGE], now[TOP_VM_PRESSURE_AVG10]));
}

double top_column_value(const struct top_vm *vm, enum top_column column, int64_t now_ns)
{
	const struct top_things *disks = &vm->things[TOP_DISK];
	const struct top_things *nets = &vm->things[TOP_NET];

	switch (column) {
	case COLUMN_STATE:
		return vm->all.now[TOP_VM_STATE];
	case COLUMN_VCPUS:
		return vm->all.now[TOP_VM_VCPUS];
	case COLUMN_CPU:
		return cpu_percent(vm);
	case COLUMN_STEAL:
		return steal_percent(vm);
	case COLUMN_THROTTLED:
		return throttled_percent(vm);
	case COLUMN_MEMORY:
		return first_of(vm->all.now[TOP_VM_RSS], vm->all.now[TOP_VM_CHARGED]);
	case COLUMN_PRESSURE:
		return pressure_percent(vm);
	case COLUMN_SWAP:
		return sum(vm->all.rate[TOP_VM_SWAP_IN], vm->all.rate[TOP_VM_SWAP_OUT]);
	case COLUMN_READ:
		return sum_rates(disks, TOP_DISK_READ_BYTES);
	case COLUMN_WRITTEN:
		return sum_rates(disks, TOP_DISK_WRITTEN_BYTES);
	case COLUMN_REQUESTS:
		return top_requests(disks->at, disks->n);
	case COLUMN_LATENCY:
		return top_latency_ms(disks->at, disks->n);
	case COLUMN_RECEIVED:
		return sum_rates(nets, TOP_NET_RECEIVED_BYTES);
	case COLUMN_SENT:
		return sum_rates(nets, TOP_NET_SENT_BYTES);
	case COLUMN_AGE:
		return vm->sampled_ns
			? (double)(now_ns - vm->sampled_ns) / (double)NS_PER_S
			: NAN;
	case COLUMN_NAME:
	case TOP_COLUMNS:
		break;
	}
	return NAN;
}

const char *top_state(const struct top_vm *vm)
{
	/* libvirt's enum virDomainState */
	static const char *const names[] = { "none", "running", "blocked", "paused",
		"stopping", "off", "crashed", "asleep" };
	double state = vm->all.now[TOP_VM_STATE];

	return state >= 0 && state < (double)ARRAY_LEN(names) ? names[(size_t)state]
							      : "-";
}

/* ---- of a VM's vCPUs, disks and interfaces ---- */

/* In place of a figure of a disk. */
#define LATENCY TOP_DISK_FIGURES

static const struct top_thing_column vcpu_columns[] = {
	{ "CPU%", "cpu_percent", 6, FORMAT_PERCENT, TOP_VCPU_TIME },
	{ "STL%", "steal_percent", 6, FORMAT_PERCENT, TOP_VCPU_DELAY },
};

static const struct top_thing_column disk_columns[] = {
	{ "RD/s", "read_bytes_per_second", 6, FORMAT_SIZE, TOP_DISK_READ_BYTES },
	{ "WR/s", "written_bytes_per_second", 6, FORMAT_SIZE, TOP_DISK_WRITTEN_BYTES },
	{ "rd/s", "reads_per_second", 6, FORMAT_NUMBER, TOP_DISK_READS },
	{ "wr/s", "writes_per_second", 6, FORMAT_NUMBER, TOP_DISK_WRITES },
	{ "flush/s", "flushes_per_second", 7, FORMAT_NUMBER, TOP_DISK_FLUSHES },
	{ "LAT/ms", "latency_ms", 6, FORMAT_MS, LATENCY },
};

static const struct top_thing_column net_columns[] = {
	{ "RX/s", "received_bytes_per_second", 6, FORMAT_SIZE, TOP_NET_RECEIVED_BYTES },
	{ "TX/s", "sent_bytes_per_second", 6, FORMAT_SIZE, TOP_NET_SENT_BYTES },
	{ "rx-pk/s", "received_packets_per_second", 7, FORMAT_NUMBER,
		TOP_NET_RECEIVED_PACKETS },
	{ "tx-pk/s", "sent_packets_per_second", 7, FORMAT_NUMBER, TOP_NET_SENT_PACKETS },
	{ "rx-drop", "received_drops_per_second", 7, FORMAT_NUMBER,
		TOP_NET_RECEIVED_DROPS },
	{ "tx-drop", "sent_drops_per_second", 7, FORMAT_NUMBER, TOP_NET_SENT_DROPS },
};

const struct top_thing_column *top_thing_columns(enum top_scope scope, size_t *ret_n)
{
	switch (scope) {
	case TOP_VCPU:
		*ret_n = ARRAY_LEN(vcpu_columns);
		return vcpu_columns;
	case TOP_DISK:
		*ret_n = ARRAY_LEN(disk_columns);
		return disk_columns;
	case TOP_NET:
		*ret_n = ARRAY_LEN(net_columns);
		return net_columns;
	default:
		*ret_n = 0;
		return NULL;
	}
}

double top_thing_value(
	const struct top_thing *thing, const struct top_thing_column *column)
{
	if (column->figure == LATENCY && column->format == FORMAT_MS)
		return top_latency_ms(thing, 1);
	return column->format == FORMAT_PERCENT ? 100 * thing->rate[column->figure]
						: thing->rate[column->figure];
}

/* ---- text ---- */

static void add_size(double value, struct strbuf *out)
{
	static const char units[] = "BKMGTPE";
	size_t unit = 0;

	/* 999.5 would be four digits */
	while (fabs(value) >= 999.5 && unit + 1 < sizeof(units) - 1) {
		value /= 1024;
		unit++;
	}
	if (unit == 0)
		strbuf_addf(out, "%.0f", value);
	else
		strbuf_addf(out, fabs(value) < 9.95 ? "%.1f%c" : "%.0f%c", value,
			units[unit]);
}

void top_format_add(double value, enum top_format format, struct strbuf *out)
{
	if (!isfinite(value))
		strbuf_addc(out, '-');
	else if (format == FORMAT_SIZE)
		add_size(value, out);
	else if (format == FORMAT_NUMBER || fabs(value) >= 9999.5)
		strbuf_addf(out, fabs(value) < 1e6 ? "%.0f" : "%.0e", value);
	else
		strbuf_addf(
			out, format == FORMAT_MS && value < 10 ? "%.2f" : "%.1f", value);
}

enum top_column top_column_find(const char *sort)
{
	for (size_t i = 0; i < TOP_COLUMNS; i++)
		if (!strcmp(top_columns[i].sort, sort))
			return (enum top_column)i;
	return TOP_COLUMNS;
}

enum top_column top_column_of_key(int key)
{
	for (size_t i = 0; i < TOP_COLUMNS; i++)
		if (top_columns[i].key && top_columns[i].key == key)
			return (enum top_column)i;
	return TOP_COLUMNS;
}

/* True if some VM has figures from which the column could be made. */
static bool can_be_had(const struct top_model *m, enum top_column column)
{
	const bool *vm = m->seen[TOP_VM], *disk = m->seen[TOP_DISK],
		   *net = m->seen[TOP_NET];

	switch (column) {
	case COLUMN_STATE:
		return vm[TOP_VM_STATE];
	case COLUMN_VCPUS:
		return vm[TOP_VM_VCPUS];
	case COLUMN_CPU:
		return vm[TOP_VM_CPU_TIME] || (vm[TOP_VM_CPU_USAGE] && vm[TOP_VM_VCPUS]);
	case COLUMN_STEAL:
		return vm[TOP_VM_STEAL_USAGE] ||
			(vm[TOP_VM_VCPUS] &&
				(vm[TOP_VM_DELAY] || m->seen[TOP_VCPU][TOP_VCPU_DELAY]));
	case COLUMN_THROTTLED:
		return vm[TOP_VM_THROTTLED_USAGE] ||
			(vm[TOP_VM_VCPUS] && vm[TOP_VM_THROTTLED]);
	case COLUMN_MEMORY:
		return vm[TOP_VM_RSS] || vm[TOP_VM_CHARGED];
	case COLUMN_PRESSURE:
		return vm[TOP_VM_PRESSURE] || vm[TOP_VM_PRESSURE_USAGE] ||
			vm[TOP_VM_PRESSURE_AVG10];
	case COLUMN_SWAP:
		return vm[TOP_VM_SWAP_IN] || vm[TOP_VM_SWAP_OUT];
	case COLUMN_READ:
		return disk[TOP_DISK_READ_BYTES];
	case COLUMN_WRITTEN:
		return disk[TOP_DISK_WRITTEN_BYTES];
	case COLUMN_REQUESTS:
		return disk[TOP_DISK_READS] || disk[TOP_DISK_WRITES];
	case COLUMN_LATENCY:
		return (disk[TOP_DISK_READS] && disk[TOP_DISK_READ_TIME]) ||
			(disk[TOP_DISK_WRITES] && disk[TOP_DISK_WRITE_TIME]);
	case COLUMN_RECEIVED:
		return net[TOP_NET_RECEIVED_BYTES];
	case COLUMN_SENT:
		return net[TOP_NET_SENT_BYTES];
	case COLUMN_NAME:
	case COLUMN_AGE:
	case TOP_COLUMNS:
		break;
	}
	return true;
}

void top_lacking_add(const struct top_model *m, const char *between, struct strbuf *out)
{
	size_t start = out->len;

	for (size_t i = 0; i < TOP_COLUMNS && m->n; i++)
		if (!can_be_had(m, (enum top_column)i))
			strbuf_addf(out, "%s%s (%s)", out->len > start ? between : "",
				top_columns[i].title, top_columns[i].sources);
}

/* ---- order ---- */

struct ranked {
	const struct top_vm *vm;
	double value;
};

static int compare_names(const struct ranked *a, const struct ranked *b)
{
	int r = strverscmp(a->vm->name, b->vm->name);

	return r ? r : strcmp(a->vm->uuid, b->vm->uuid);
}

static int compare_by_name(const void *a, const void *b)
{
	return compare_names(a, b);
}

/* The greatest first; what is not known last. */
static int compare_by_value(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	if (isnan(x->value) || isnan(y->value))
		return isnan(x->value) != isnan(y->value) ? (isnan(x->value) ? 1 : -1)
							  : compare_names(x, y);
	if (x->value < y->value || x->value > y->value)
		return x->value > y->value ? -1 : 1;
	return compare_names(x, y);
}

static bool matches(const char *filter, const char *name)
{
	if (!*filter)
		return true;
	return strpbrk(filter, "*?") ? glob_match(filter, name)
				     : strcasestr(name, filter) != NULL;
}

static double rank_value(const struct top_vm *vm, enum top_column column, int64_t now_ns)
{
	double value = top_column_value(vm, column, now_ns);

	if (column == COLUMN_READ)
		return sum(value, top_column_value(vm, COLUMN_WRITTEN, now_ns));
	if (column == COLUMN_RECEIVED)
		return sum(value, top_column_value(vm, COLUMN_SENT, now_ns));
	return value;
}

size_t top_select(const struct top_model *m, const struct top_query *query,
	int64_t now_ns, const struct top_vm ***ret)
{
	struct ranked *ranked = xcalloc(m->n + 1, sizeof(*ranked));
	const struct top_vm **vms = xcalloc(m->n + 1, sizeof(*vms));
	size_t n = 0;

	assert(query->sort < TOP_COLUMNS);
	for (size_t i = 0; i < m->n; i++)
		if (matches(query->filter, m->vms[i]->name))
			ranked[n++] = (struct ranked){ m->vms[i],
				rank_value(m->vms[i], query->sort, now_ns) };
	qsort(ranked, n, sizeof(*ranked),
		query->sort == COLUMN_NAME ? compare_by_name : compare_by_value);
	for (size_t i = 0; i < n; i++)
		vms[i] = ranked[query->reverse ? n - 1 - i : i].vm;
	free(ranked);
	*ret = vms;
	return n;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "top_figures.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/catalogue.h"
#include "core/prom_name.h"
#include "util/cleanup.h"
#include "util/mem.h"

static const struct top_figure figures[] = {
	{ "host.cpu.count", TOP_HOST, TOP_HOST_CPUS },
	{ "host.cpu.time", TOP_HOST, TOP_HOST_CPU_TIME },
	{ "host.cpu.steal", TOP_HOST, TOP_HOST_CPU_STEAL },
	{ "host.load.1", TOP_HOST, TOP_HOST_LOAD },
	{ "host.mem.total", TOP_HOST, TOP_HOST_MEMORY_TOTAL },
	{ "host.mem.used", TOP_HOST, TOP_HOST_MEMORY_USED },
	{ "host.swap.used", TOP_HOST, TOP_HOST_SWAP_USED },
	{ "host.pressure.cpu.some.avg10", TOP_HOST, TOP_HOST_PRESSURE_CPU },
	{ "host.pressure.memory.some.avg10", TOP_HOST, TOP_HOST_PRESSURE_MEMORY },
	{ "host.pressure.io.some.avg10", TOP_HOST, TOP_HOST_PRESSURE_IO },

	{ "state.state", TOP_VM, TOP_VM_STATE, TOP_SLOW },
	{ "vcpu.current", TOP_VM, TOP_VM_VCPUS },
	{ "cpu.time", TOP_VM, TOP_VM_CPU_TIME },
	{ "usage.cpu", TOP_VM, TOP_VM_CPU_USAGE },
	{ "domain.vcpu.delay", TOP_VM, TOP_VM_DELAY },
	{ "usage.steal", TOP_VM, TOP_VM_STEAL_USAGE },
	{ "cgroup.cpu.throttled.time", TOP_VM, TOP_VM_THROTTLED, .by_kernel = true },
	{ "usage.throttled", TOP_VM, TOP_VM_THROTTLED_USAGE, .by_kernel = true },
	{ "balloon.rss", TOP_VM, TOP_VM_RSS },
	{ "cgroup.memory.current", TOP_VM, TOP_VM_CHARGED, .by_kernel = true },
	{ "balloon.current", TOP_VM, TOP_VM_BALLOON },
	{ "pressure.memory.some.total", TOP_VM, TOP_VM_PRESSURE, .by_kernel = true },
	{ "usage.memory.pressure", TOP_VM, TOP_VM_PRESSURE_USAGE, .by_kernel = true },
	{ "pressure.memory.some.avg10", TOP_VM, TOP_VM_PRESSURE_AVG10,
		.by_kernel = true },
	{ "balloon.swap_in", TOP_VM, TOP_VM_SWAP_IN, TOP_SLOW },
	{ "balloon.swap_out", TOP_VM, TOP_VM_SWAP_OUT, TOP_SLOW },
	{ "sample.stale", TOP_VM, TOP_VM_STALE },
	{ "process.threads", TOP_VM, TOP_VM_THREADS, .by_kernel = true },

	{ "vcpu.*.state", TOP_VCPU, TOP_VCPU_STATE, TOP_SLOW },
	{ "vcpu.*.time", TOP_VCPU, TOP_VCPU_TIME },
	{ "vcpu.*.delay", TOP_VCPU, TOP_VCPU_DELAY },

	{ "block.*.rd.bytes", TOP_DISK, TOP_DISK_READ_BYTES, TOP_SLOW },
	{ "block.*.wr.bytes", TOP_DISK, TOP_DISK_WRITTEN_BYTES, TOP_SLOW },
	{ "block.*.rd.reqs", TOP_DISK, TOP_DISK_READS, TOP_SLOW },
	{ "block.*.wr.reqs", TOP_DISK, TOP_DISK_WRITES, TOP_SLOW },
	{ "block.*.fl.reqs", TOP_DISK, TOP_DISK_FLUSHES, TOP_SLOW },
	{ "block.*.rd.times", TOP_DISK, TOP_DISK_READ_TIME, TOP_SLOW },
	{ "block.*.wr.times", TOP_DISK, TOP_DISK_WRITE_TIME, TOP_SLOW },
	{ "block.*.fl.times", TOP_DISK, TOP_DISK_FLUSH_TIME, TOP_SLOW },

	{ "net.*.rx.bytes", TOP_NET, TOP_NET_RECEIVED_BYTES },
	{ "net.*.tx.bytes", TOP_NET, TOP_NET_SENT_BYTES },
	{ "net.*.rx.pkts", TOP_NET, TOP_NET_RECEIVED_PACKETS },
	{ "net.*.tx.pkts", TOP_NET, TOP_NET_SENT_PACKETS },
	{ "net.*.rx.drop", TOP_NET, TOP_NET_RECEIVED_DROPS },
	{ "net.*.tx.drop", TOP_NET, TOP_NET_SENT_DROPS },
};

enum { N_FIGURES = ARRAY_LEN(figures) };

static_assert(N_FIGURES ==
		(size_t)TOP_HOST_FIGURES + TOP_VM_FIGURES + TOP_VCPU_FIGURES +
			TOP_DISK_FIGURES + TOP_NET_FIGURES,
	"each has a line");

struct top_figures {
	struct top_figure all[N_FIGURES];
	const struct top_figure *by_family[N_FIGURES]; /* sorted */
	const struct top_figure *by_place[N_FIGURES];  /* scope by scope */
	size_t n[TOP_SCOPES], first[TOP_SCOPES];
};

static int compare(const void *a, const void *b)
{
	const struct top_figure *const *x = a, *const *y = b;

	return strcmp((*x)->family, (*y)->family);
}

struct top_figures *top_figures_new(void)
{
	struct top_figures *f = xcalloc(1, sizeof(*f));

	for (size_t i = 0; i < N_FIGURES; i++) {
		const struct catalogue_entry *e = catalogue_find(figures[i].source);

		assert(e);
		_cleanup_prom_name_ struct prom_name name = prom_name_source(e);

		f->all[i] = figures[i];
		f->all[i].is_counter = name.is_counter;
		f->all[i].family = TAKE_PTR(name.family);
		assert(f->all[i].family);
		f->by_family[i] = f->by_place[i] = &f->all[i];
		if (f->n[figures[i].scope]++ == 0)
			f->first[figures[i].scope] = i;
		assert(i - f->first[figures[i].scope] == figures[i].at);
	}
	qsort(f->by_family, N_FIGURES, sizeof(*f->by_family), compare);
	return f;
}

void top_figures_free(struct top_figures *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < N_FIGURES; i++)
		free(f->all[i].family);
	free(f);
}

static int compare_key(const void *key, const void *element)
{
	const struct top_figure *const *figure = element;

	return strcmp(key, (*figure)->family);
}

const struct top_figure *top_figures_find(const struct top_figures *f, const char *family)
{
	const struct top_figure *const *found = bsearch(
		family, f->by_family, N_FIGURES, sizeof(*f->by_family), compare_key);

	return found ? *found : NULL;
}

const struct top_figure *const *top_figures_of(
	const struct top_figures *f, enum top_scope scope, size_t *ret_n)
{
	*ret_n = f->n[scope];
	return f->by_place + f->first[scope];
}

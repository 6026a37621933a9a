/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The host's own files: no figure is infinite, whatever they say. */
#include <math.h>
#include <stdlib.h>

#include "collect/kernel/cpu_topology.h"
#include "collect/kernel/finder.h"
#include "collect/kernel/host.h"
#include "collect/kernel/link_stats.h"
#include "core/catalogue.h"
#include "core/metric_list.h"
#include "files.h"
#include "fuzz.h"
#include "model/plan.h"
#include "specs.h"

void __wrap_cpu_topology_count(int root_fd, const char *online, struct cpu_counts *ret);

/* That of thousands takes long, and has a target of its own. */
void __wrap_cpu_topology_count(int root_fd, const char *online, struct cpu_counts *ret)
{
	(void)root_fd;
	(void)online;
	*ret = (struct cpu_counts){ 1, 1, 1 };
}

static struct plan *everything(void)
{
	static struct plan *plan;
	const struct plan_settings settings = { .period_ns = 0 };

	if (!plan) {
		struct spec_set *specs = all_of(COLLECTOR_HOST);

		plan = plan_new(NULL, specs, &settings);
		spec_set_unref(specs);
	}
	return plan;
}

static void check(const struct metric *m)
{
	if (m->available && m->value.type == METRIC_REAL64 && !isfinite(m->value.real))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct host *host = host_new(FILES_ROOT);
	bool swapped = false;
	int ifindex = 1;

	files_begin(data, size);
	do {
		struct metric_list *now = host_sample(host, everything());

		for (size_t i = 0; i < now->n; i++)
			check(&now->metrics[i]);
		metric_list_unref(now);
		(void)finder_waits_counted(FILES_ROOT, false);
		(void)link_find(FILES_ROOT, "tap0", &ifindex, &swapped);
		if (ifindex <= 0)
			abort();
	} while (files_next());
	host_free(host);
	files_end();
	return 0;
}

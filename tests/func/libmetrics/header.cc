/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The same in C++. */
#include <vhostmd/libmetrics.h>
#include <vhostmd/metrics.h>

struct _metric a;
struct memory_metrics b;
struct cpu_metrics c;
enum _metric_type t;
enum _metric_context x;
metric *pa = &a;

int main()
{
	uint32_t cpus = 0;
	vhostmd_source *source = NULL;

	memory_metrics_free(memory_metrics_alloc());
	if (get_host_totalPhyCPUs(&cpus) == 0 ||
		vhostmd_open("auto", &source) != VHOSTMD_OK)
		return 1;
	vhostmd_close(source);
	return 0;
}

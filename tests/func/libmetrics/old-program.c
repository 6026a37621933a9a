/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A program as those in the field are written: it frees what it asked for, got or not. */
#include <stdio.h>

#include "libmetrics.h"

int main(void)
{
	metric *m = (metric *)1;
	cpu_metrics *cpu = cpu_metrics_alloc();
	memory_metrics *memory = memory_metrics_alloc();

	printf("HostName %d", get_metric("HostName", &m, METRIC_CONTEXT_HOST));
	printf(" %s\n", m->value.str);
	metric_free(m);
	printf("NoSuchMetric %d", get_metric("NoSuchMetric", &m, METRIC_CONTEXT_HOST));
	printf(" %s\n", m ? "stale" : "NULL");
	metric_free(m);
	printf("PageInRate %d", get_metric("PageInRate", &m, METRIC_CONTEXT_HOST));
	printf(" %llu\n", (unsigned long long)m->value.ui64);
	metric_free(m);
	if (get_host_cpu_metrics(cpu) == 0)
		printf("cpu %u %.1f\n", cpu->total_phys_cpus, cpu->total_cpu_time);
	if (get_host_memory_metrics(memory) == 0)
		printf("memory %llu\n",
			(unsigned long long)memory->total_physical_memory);
	cpu_metrics_free(cpu);
	memory_metrics_free(memory);
	return 0;
}

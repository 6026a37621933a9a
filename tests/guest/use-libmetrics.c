/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A program such as those in the field: prints what libmetrics gives it, "name value". */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <vhostmd/libmetrics.h>

/* in no header */
int libmetrics_init(void);
int libmetrics_fini(void);

static void print_metric(const char *label, const char *name, metric_context context)
{
	metric *m = NULL;

	if (get_metric(name, &m, context) != 0) {
		printf("%s errno %d\n", label, errno);
		return;
	}
	switch (m->type) {
	case M_STRING:
		printf("%s %s\n", label, m->value.str);
		break;
	case M_UINT32:
		printf("%s %u\n", label, m->value.ui32);
		break;
	case M_UINT64:
		printf("%s %llu\n", label, (unsigned long long)m->value.ui64);
		break;
	case M_REAL64:
		printf("%s %.6f\n", label, m->value.r64);
		break;
	default:
		printf("%s type %d\n", label, (int)m->type);
	}
	metric_free(m);
}

int main(void)
{
	memory_metrics *mem = memory_metrics_alloc();
	cpu_metrics *cpu = cpu_metrics_alloc();
	uint32_t cpus = 0;

	libmetrics_init();
	print_metric("host.HostName", "HostName", METRIC_CONTEXT_HOST);
	print_metric("host.TotalPhyMem", "TotalPhyMem", METRIC_CONTEXT_HOST);
	print_metric("vm.vcpu.current", "vcpu.current", METRIC_CONTEXT_VM);
	print_metric("vm.TotalCPUTime", "TotalCPUTime", METRIC_CONTEXT_VM);
	print_metric("vm.nothing", "nothing", METRIC_CONTEXT_VM);
	if (get_host_memory_metrics(mem) == 0)
		printf("mem.total %llu\nmem.free %llu\n",
			(unsigned long long)mem->total_physical_memory,
			(unsigned long long)mem->free_physical_memory);
	if (get_host_cpu_metrics(cpu) == 0)
		printf("cpu.total %u\ncpu.time %.6f\n", cpu->total_phys_cpus,
			cpu->total_cpu_time);
	if (get_vm_cpu_metrics(cpu) == 0)
		printf("vmcpu.time %.6f\n", cpu->total_cpu_time);
	if (get_vm_memory_metrics(mem) != 0)
		printf("vmmem errno %d\n", errno);
	if (get_host_totalPhyCPUs(&cpus) == 0)
		printf("cpus %u\n", cpus);
	printf("dump %d virtio %d xenstore %d\n", dump_metrics("/tmp/disk.xml"),
		dump_virtio_metrics("/tmp/channel.xml"), dump_xenstore_metrics("/tmp/x"));
	memory_metrics_free(mem);
	cpu_metrics_free(cpu);
	libmetrics_fini();
	return 0;
}

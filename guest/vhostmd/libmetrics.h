/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libmetrics: the host's metrics for programs inside a guest.  These are the functions that
 * programs in the field were compiled against; names and layouts never change.  New programs
 * find more in <vhostmd/metrics.h>.
 *
 * All functions may be called from any thread.  Each call shows the metrics as they are now:
 * from the metrics disk or, without one, over the virtio-serial channel.  Those that return
 * an int return 0, or -1 with errno: ENODATA or ENOENT (no transport), EACCES, ENOMSG (no such
 * metric, or no telling which VM this is), EBADMSG (the host sent nonsense), EBUSY, ETIMEDOUT,
 * ENOMEM.
 */
#ifndef VHOSTMD_LIBMETRICS_H
#define VHOSTMD_LIBMETRICS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Both names of these are in use. */
#define _metric_type metric_type
#define _metric_context metric_context

typedef enum metric_type {
	M_INT32,
	M_UINT32,
	M_INT64,
	M_UINT64,
	M_REAL32,
	M_REAL64,
	M_STRING
} metric_type;

typedef enum metric_context { METRIC_CONTEXT_HOST, METRIC_CONTEXT_VM } metric_context;

typedef struct _metric {
	metric_type type;
	union {
		int32_t i32;
		uint32_t ui32;
		int64_t i64;
		uint64_t ui64;
		float r32;
		double r64;
		char *str; /* in the metric's own allocation */
	} value;
} metric;

typedef struct memory_metrics {
	uint64_t total_physical_memory;
	uint64_t used_physical_memory;
	uint64_t free_physical_memory;
	uint64_t paged_out_memory;
	uint64_t paged_in_memory;
	uint64_t page_in_rate;
	uint64_t page_fault_rate;
} memory_metrics;

typedef struct cpu_metrics {
	uint32_t total_phys_cpus;
	uint32_t num_phys_cpus_utilized;
	double total_cpu_time; /* seconds */
} cpu_metrics;

/* One metric by name; free it with metric_free().  *@ret is NULL if there is none. */
int get_metric(const char *name, metric **ret, metric_context context);
void metric_free(metric *m);

/*
 * The well-known metrics of the host or of this guest.  Those that the host does not offer
 * are 0; it is an error if none is there.
 */
memory_metrics *memory_metrics_alloc(void);
void memory_metrics_free(memory_metrics *m);
int get_host_memory_metrics(memory_metrics *m);
int get_vm_memory_metrics(memory_metrics *m);

cpu_metrics *cpu_metrics_alloc(void);
void cpu_metrics_free(cpu_metrics *m);
int get_host_cpu_metrics(cpu_metrics *m);
int get_vm_cpu_metrics(cpu_metrics *m);
int get_host_totalPhyCPUs(uint32_t *ret);

/* Writes all metrics as XML; NULL is standard output.  From the disk, the channel, xenstore. */
int dump_metrics(const char *dest_file);
int dump_virtio_metrics(const char *dest_file);
int dump_xenstore_metrics(const char *dest_file);

/*
 * libmetrics_init() and libmetrics_fini() are there for programs that call them, under whatever
 * declaration of their own, and have nothing to do.
 */

#ifdef __cplusplus
}
#endif

#endif

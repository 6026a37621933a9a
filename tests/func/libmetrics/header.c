/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What old sources make of libmetrics.h, and new ones of metrics.h, in one file. */
#include <vhostmd/libmetrics.h>
#include <vhostmd/metrics.h>

/* A14: in no header, so that programs declare them, in their own way */
extern void libmetrics_init(void);
extern void libmetrics_fini(void);

struct _metric a;
struct memory_metrics b;
struct cpu_metrics c;
enum _metric_type t;
enum _metric_context x;
metric *pa = &a;
memory_metrics *pb = &b;
cpu_metrics *pc = &c;
metric_type *pt = &t;
metric_context *px = &x;
enum metric_type u;
enum metric_context y;
struct vhostmd_source *source;

/* layouts and numbers, which compiled programs have in them */
#define CHECK(name, what) typedef char check_##name[(what) ? 1 : -1]
CHECK(metric, sizeof(metric) == 16);
CHECK(memory, sizeof(memory_metrics) == 56);
CHECK(cpu, sizeof(cpu_metrics) == 16);
CHECK(types, M_INT32 == 0 && M_STRING == 6 && METRIC_CONTEXT_VM == 1);

int main(void)
{
	libmetrics_init();
	libmetrics_fini();
	return vhostmd_open("auto", &source) == VHOSTMD_OK ? 0 : 1;
}

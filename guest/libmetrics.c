/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The functions of vhostmd/libmetrics.h, made of those of vhostmd/metrics.h. */
#include "vhostmd/libmetrics.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "buf.h"
#include "failure.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "vhostmd/metrics.h"
#include "whole_file.h"
#include "xenstore.h"

#define EXPORT __attribute__((visibility("default")))

/* What compiled programs rely on. */
_Static_assert(sizeof(metric) == 16 && offsetof(metric, value) == 8, "ABI of metric");
_Static_assert(sizeof(memory_metrics) == 56, "ABI of memory_metrics");
_Static_assert(sizeof(cpu_metrics) == 16 && offsetof(cpu_metrics, total_cpu_time) == 8,
	"ABI of cpu_metrics");

/* In no header: programs that call them declare them, as they like. */
int libmetrics_init(void);
int libmetrics_fini(void);

DEFINE_CLEANUP(struct vhostmd_snapshot *, vhostmd_snapshot_free)
#define _cleanup_snapshot_ _cleanup_(vhostmd_snapshot_free_p)

static int fail(int error)
{
	errno = failure_to_errno(error);
	return -1;
}

/*
 * Sources that nobody is using just now, so that a call need not look for the disk again.  A call
 * takes one out, is its only owner, and puts it back.  There is nothing that could be locked
 * when a process forks, or that one thread would wait for.
 */
#define IDLE_SOURCES 4
static struct vhostmd_source *_Atomic idle[IDLE_SOURCES];

static struct vhostmd_source *take_idle(void)
{
	struct vhostmd_source *s = NULL;

	for (size_t i = 0; i < IDLE_SOURCES && !s; i++)
		s = atomic_exchange(&idle[i], NULL);
	return s;
}

static void put_idle(struct vhostmd_source *s)
{
	struct vhostmd_source *none = NULL;

	for (size_t i = 0; i < IDLE_SOURCES; i++, none = NULL)
		if (atomic_compare_exchange_strong(&idle[i], &none, s))
			return;
	vhostmd_close(s);
}

/* A program may unload the library. */
__attribute__((destructor)) static void close_idle(void)
{
	for (struct vhostmd_source *s = take_idle(); s; s = take_idle())
		vhostmd_close(s);
}

static int read_now(struct vhostmd_snapshot **ret)
{
	struct vhostmd_source *s = take_idle();
	int r = s ? 0 : vhostmd_open(NULL, &s);

	if (r < 0)
		return r;
	r = vhostmd_read(s, ret);
	put_idle(s);
	return r;
}

/* ---- one metric ---- */

/* A string is in the same allocation as its metric. */
static metric *new_metric(const struct vhostmd_metric *from)
{
	const char *text = vhostmd_metric_text(from);
	metric_type type = vhostmd_metric_type(from);
	size_t n = type == M_STRING ? strlen(text) + 1 : 0;
	metric *m = calloc(1, sizeof(*m) + n);
	uint64_t u = 0;
	int64_t i = 0;
	double real = 0;

	if (!m)
		return NULL;
	m->type = type;
	(void)vhostmd_metric_u64(from, &u);
	(void)vhostmd_metric_i64(from, &i);
	(void)vhostmd_metric_real(from, &real);
	switch (type) {
	case M_INT32:
		m->value.i32 = (int32_t)i;
		break;
	case M_UINT32:
		m->value.ui32 = (uint32_t)u;
		break;
	case M_INT64:
		m->value.i64 = i;
		break;
	case M_UINT64:
		m->value.ui64 = u;
		break;
	case M_REAL32:
		m->value.r32 = (float)real;
		break;
	case M_REAL64:
		m->value.r64 = real;
		break;
	case M_STRING:
		m->value.str = memcpy(m + 1, text, n);
		break;
	}
	return m;
}

EXPORT int get_metric(const char *name, metric **ret, metric_context context)
{
	_cleanup_snapshot_ struct vhostmd_snapshot *now = NULL;
	const struct vhostmd_metric *found = NULL;

	if (!ret)
		return fail(VHOSTMD_ERR_INVALID);
	*ret = NULL; /* programs free it whatever happened */
	if (!name || (context != METRIC_CONTEXT_HOST && context != METRIC_CONTEXT_VM))
		return fail(VHOSTMD_ERR_INVALID);
	int r = read_now(&now);

	if (r == 0)
		r = vhostmd_find(now, context, name, &found);
	if (r < 0)
		return fail(r);
	*ret = new_metric(found);
	return *ret ? 0 : fail(VHOSTMD_ERR_MEMORY);
}

EXPORT void metric_free(metric *m)
{
	free(m);
}

/* ---- the well-known ones ---- */

/* Of any type; 0 if it does not fit.  Return: whether it is there. */
static bool get_as_u64(const struct vhostmd_snapshot *now, metric_context context,
	const char *name, uint64_t *ret)
{
	const struct vhostmd_metric *m = NULL;

	if (vhostmd_find(now, context, name, &m) < 0)
		return false;
	if (vhostmd_metric_u64(m, ret) < 0)
		*ret = 0;
	return true;
}

static int get_memory(memory_metrics *ret, metric_context context)
{
	_cleanup_snapshot_ struct vhostmd_snapshot *now = NULL;
	memory_metrics m = { 0 };
	const struct {
		const char *name;
		uint64_t *at;
	} fields[] = { { "TotalPhyMem", &m.total_physical_memory },
		{ "UsedMem", &m.used_physical_memory },
		{ "FreeMem", &m.free_physical_memory },
		{ "PagedOutMemory", &m.paged_out_memory },
		{ "PagedInMemory", &m.paged_in_memory },
		{ "PageInRate", &m.page_in_rate },
		{ "PageFaultRate", &m.page_fault_rate } };
	bool any = false;
	int r = ret ? read_now(&now) : VHOSTMD_ERR_INVALID;

	if (r < 0)
		return fail(r);
	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		any |= get_as_u64(now, context, fields[i].name, fields[i].at);
	*ret = m;
	return any ? 0 : fail(VHOSTMD_ERR_NO_METRIC);
}

static int get_cpu(cpu_metrics *ret, metric_context context)
{
	_cleanup_snapshot_ struct vhostmd_snapshot *now = NULL;
	uint64_t total = 0, used = 0;
	double seconds = 0;
	int r = ret ? read_now(&now) : VHOSTMD_ERR_INVALID;

	if (r < 0)
		return fail(r);
	bool any = get_as_u64(now, context, "TotalPhyCPUs", &total);

	any |= get_as_u64(now, context, "NumCPUs", &used);
	any |= vhostmd_get_real(now, context, "TotalCPUTime", &seconds) == 0;
	*ret = (cpu_metrics){ (uint32_t)total, (uint32_t)used, seconds };
	return any ? 0 : fail(VHOSTMD_ERR_NO_METRIC);
}

EXPORT memory_metrics *memory_metrics_alloc(void)
{
	return calloc(1, sizeof(memory_metrics));
}

EXPORT void memory_metrics_free(memory_metrics *m)
{
	free(m);
}

EXPORT cpu_metrics *cpu_metrics_alloc(void)
{
	return calloc(1, sizeof(cpu_metrics));
}

EXPORT void cpu_metrics_free(cpu_metrics *m)
{
	free(m);
}

EXPORT int get_host_memory_metrics(memory_metrics *m)
{
	return get_memory(m, METRIC_CONTEXT_HOST);
}

EXPORT int get_vm_memory_metrics(memory_metrics *m)
{
	return get_memory(m, METRIC_CONTEXT_VM);
}

EXPORT int get_host_cpu_metrics(cpu_metrics *m)
{
	return get_cpu(m, METRIC_CONTEXT_HOST);
}

EXPORT int get_vm_cpu_metrics(cpu_metrics *m)
{
	return get_cpu(m, METRIC_CONTEXT_VM);
}

EXPORT int get_host_totalPhyCPUs(uint32_t *ret)
{
	_cleanup_snapshot_ struct vhostmd_snapshot *now = NULL;
	uint64_t n = 0;
	int r = ret ? read_now(&now) : VHOSTMD_ERR_INVALID;

	if (r < 0)
		return fail(r);
	if (!get_as_u64(now, METRIC_CONTEXT_HOST, "TotalPhyCPUs", &n))
		return fail(VHOSTMD_ERR_NO_METRIC);
	*ret = (uint32_t)n;
	return 0;
}

/* ---- all as text ---- */

/* The environment's device counts here, too, if it is of that kind. */
static const char *device(bool channel)
{
	const char *path = secure_getenv("VHOSTMD_SOURCE");
	struct stat st;

	if (path && strchr(path, '/') && stat(path, &st) == 0 &&
		S_ISCHR(st.st_mode) == channel)
		return path;
	return channel ? "channel" : "disk";
}

static int print(const char *text, size_t len)
{
	return fwrite(text, 1, len, stdout) == len && fflush(stdout) == 0 ? 0 : -errno;
}

static int write_out(const char *dest_file, const char *text, size_t len)
{
	int r = dest_file ? whole_file_write(dest_file, text, len, 0666)
			  : print(text, len);

	if (r == 0)
		return 0;
	errno = -r;
	return -1;
}

static int dump(const char *where, const char *dest_file)
{
	_cleanup_free_ char *text = NULL;
	struct vhostmd_source *s = NULL;
	size_t len = 0;
	int r = vhostmd_open(where, &s);

	if (r == 0)
		r = vhostmd_read_text(s, &text, &len);
	vhostmd_close(s);
	if (r < 0)
		return fail(r);
	return write_out(dest_file, text, len);
}

EXPORT int dump_metrics(const char *dest_file)
{
	return dump(device(false), dest_file);
}

EXPORT int dump_virtio_metrics(const char *dest_file)
{
	return dump(device(true), dest_file);
}

EXPORT int dump_xenstore_metrics(const char *dest_file)
{
	_cleanup_buf_ struct buf text = BUF_INIT, tried = BUF_INIT;
	int r = xenstore_read(clock_mono_ns() + XENSTORE_WAIT_NS, &text, &tried);

	return r < 0 ? fail(r) : write_out(dest_file, buf_str(&text), text.len);
}

EXPORT int libmetrics_init(void)
{
	return 0;
}

EXPORT int libmetrics_fini(void)
{
	return 0;
}

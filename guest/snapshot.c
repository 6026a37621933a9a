/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>

#include "document.h"
#include "source.h"
#include "util/cleanup.h"
#include "util/clock.h"

#define EXPORT __attribute__((visibility("default")))

EXPORT void vhostmd_snapshot_free(struct vhostmd_snapshot *s)
{
	if (!s)
		return;
	document_unref(s->document);
	free(s);
}

EXPORT const char *vhostmd_snapshot_xml(const struct vhostmd_snapshot *s, size_t *ret_len)
{
	if (ret_len)
		*ret_len = s->document->xml.len;
	return buf_str(&s->document->xml);
}

EXPORT const char *vhostmd_snapshot_path(const struct vhostmd_snapshot *s)
{
	return s->path;
}

EXPORT int vhostmd_snapshot_is_channel(const struct vhostmd_snapshot *s)
{
	return s->is_channel;
}

EXPORT const char *vhostmd_snapshot_uuid(const struct vhostmd_snapshot *s)
{
	return s->document->uuid;
}

EXPORT double vhostmd_snapshot_age(const struct vhostmd_snapshot *s)
{
	return (double)s->age_ns / NS_PER_S;
}

EXPORT enum vhostmd_freshness vhostmd_snapshot_freshness(const struct vhostmd_snapshot *s)
{
	return s->freshness;
}

/* ---- metrics ---- */

EXPORT size_t vhostmd_snapshot_count(const struct vhostmd_snapshot *s)
{
	return s->document->n_good;
}

EXPORT const struct vhostmd_metric *vhostmd_snapshot_at(
	const struct vhostmd_snapshot *s, size_t i)
{
	return i < s->document->n_good ? &s->document->metrics[i] : NULL;
}

/* True if a text metric of @context has @word among its words. */
static bool names(const struct document *d, metric_context context, const char *list,
	const char *word)
{
	const struct vhostmd_metric *m = document_find(d, context, list);
	size_t len = strlen(word);

	for (const char *at = m && len ? m->text : ""; *at;) {
		size_t n = strcspn(at, " \t\n");

		if (n == len && !memcmp(at, word, n))
			return true;
		at += n;
		at += strspn(at, " \t\n");
	}
	return false;
}

/* Why there is no such metric. */
static int why_not(const struct document *d, metric_context context, const char *name)
{
	bool is_vm = context == METRIC_CONTEXT_VM;

	if (is_vm && d->is_anonymous)
		return VHOSTMD_ERR_IDENTITY;
	if (names(d, context, is_vm ? "sample.unavailable" : "host.sample.unavailable",
		    name))
		return VHOSTMD_ERR_UNAVAILABLE;
	if (is_vm && names(d, context, "domain.unlimited", name))
		return VHOSTMD_ERR_UNLIMITED;
	return VHOSTMD_ERR_NO_METRIC;
}

EXPORT int vhostmd_find(const struct vhostmd_snapshot *s, metric_context context,
	const char *name, const struct vhostmd_metric **ret)
{
	if (!s || !name || !ret ||
		(context != METRIC_CONTEXT_HOST && context != METRIC_CONTEXT_VM))
		return VHOSTMD_ERR_INVALID;
	const struct vhostmd_metric *m = document_find(s->document, context, name);

	if (!m)
		return why_not(s->document, context, name);
	if (m->is_bad)
		return VHOSTMD_ERR_CORRUPT;
	*ret = m;
	return 0;
}

EXPORT const char *vhostmd_metric_name(const struct vhostmd_metric *m)
{
	return m->name;
}

EXPORT metric_context vhostmd_metric_context(const struct vhostmd_metric *m)
{
	return (metric_context)m->context;
}

EXPORT metric_type vhostmd_metric_type(const struct vhostmd_metric *m)
{
	return (metric_type)m->type;
}

EXPORT const char *vhostmd_metric_unit(const struct vhostmd_metric *m)
{
	return m->unit;
}

EXPORT const char *vhostmd_metric_text(const struct vhostmd_metric *m)
{
	return m->text;
}

EXPORT int vhostmd_metric_u64(const struct vhostmd_metric *m, uint64_t *ret)
{
	switch (m->type) {
	case M_UINT32:
	case M_UINT64:
		*ret = m->value.u;
		return 0;
	case M_INT32:
	case M_INT64:
		if (m->value.i < 0)
			return VHOSTMD_ERR_RANGE;
		*ret = (uint64_t)m->value.i;
		return 0;
	case M_REAL32:
	case M_REAL64:
		if (!(m->value.real > -1.0 && m->value.real < 0x1p64))
			return VHOSTMD_ERR_RANGE;
		*ret = (uint64_t)m->value.real;
		return 0;
	default:
		return VHOSTMD_ERR_TYPE;
	}
}

EXPORT int vhostmd_metric_i64(const struct vhostmd_metric *m, int64_t *ret)
{
	switch (m->type) {
	case M_UINT32:
	case M_UINT64:
		if (m->value.u > INT64_MAX)
			return VHOSTMD_ERR_RANGE;
		*ret = (int64_t)m->value.u;
		return 0;
	case M_INT32:
	case M_INT64:
		*ret = m->value.i;
		return 0;
	case M_REAL32:
	case M_REAL64:
		if (!(m->value.real >= -0x1p63 && m->value.real < 0x1p63))
			return VHOSTMD_ERR_RANGE;
		*ret = (int64_t)m->value.real;
		return 0;
	default:
		return VHOSTMD_ERR_TYPE;
	}
}

EXPORT int vhostmd_metric_real(const struct vhostmd_metric *m, double *ret)
{
	switch (m->type) {
	case M_UINT32:
	case M_UINT64:
		*ret = (double)m->value.u;
		return 0;
	case M_INT32:
	case M_INT64:
		*ret = (double)m->value.i;
		return 0;
	case M_REAL32:
	case M_REAL64:
		*ret = m->value.real;
		return 0;
	default:
		return VHOSTMD_ERR_TYPE;
	}
}

/* Begins as libvirt's names of what the VM's monitor alone knows do (docs/sources.md). */
static bool needs_monitor(const struct vhostmd_metric *m)
{
	static const char *const slow[] = { "state.", "cpu.haltpoll.", "cpu.cache.",
		"balloon.swap_", "balloon.major_fault", "balloon.minor_fault",
		"balloon.unused", "balloon.available", "balloon.usable",
		"balloon.last-update", "balloon.disk_caches", "balloon.hugetlb_", "vm.",
		"block.", "memory.bandwidth.", "dirtyrate.", "perf.", "iothread.count" };
	static const char iotune[] = ".iotune.";

	if (m->context != METRIC_CONTEXT_VM || strstr(m->name, iotune))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(slow); i++)
		if (!strncmp(m->name, slow[i], strlen(slow[i])))
			return true;
	return false;
}

EXPORT double vhostmd_metric_age(
	const struct vhostmd_snapshot *s, const struct vhostmd_metric *m)
{
	double age = vhostmd_snapshot_age(s), slow = 0;

	if (needs_monitor(m) &&
		vhostmd_get_real(s, METRIC_CONTEXT_VM, "sample.slow.age", &slow) == 0 &&
		slow > 0)
		age += slow;
	return age;
}

EXPORT int vhostmd_get_u64(const struct vhostmd_snapshot *s, metric_context context,
	const char *name, uint64_t *ret)
{
	const struct vhostmd_metric *m = NULL;
	int r = ret ? vhostmd_find(s, context, name, &m) : VHOSTMD_ERR_INVALID;

	return r < 0 ? r : vhostmd_metric_u64(m, ret);
}

EXPORT int vhostmd_get_i64(const struct vhostmd_snapshot *s, metric_context context,
	const char *name, int64_t *ret)
{
	const struct vhostmd_metric *m = NULL;
	int r = ret ? vhostmd_find(s, context, name, &m) : VHOSTMD_ERR_INVALID;

	return r < 0 ? r : vhostmd_metric_i64(m, ret);
}

EXPORT int vhostmd_get_real(const struct vhostmd_snapshot *s, metric_context context,
	const char *name, double *ret)
{
	const struct vhostmd_metric *m = NULL;
	int r = ret ? vhostmd_find(s, context, name, &m) : VHOSTMD_ERR_INVALID;

	return r < 0 ? r : vhostmd_metric_real(m, ret);
}

EXPORT int vhostmd_get_text(const struct vhostmd_snapshot *s, metric_context context,
	const char *name, const char **ret)
{
	const struct vhostmd_metric *m = NULL;
	int r = ret ? vhostmd_find(s, context, name, &m) : VHOSTMD_ERR_INVALID;

	if (r == 0)
		*ret = m->text;
	return r;
}

/* ---- two snapshots ---- */

static uint64_t mix(uint64_t h, const char *text)
{
	do {
		h = (h ^ (unsigned char)*text) * UINT64_C(1099511628211);
	} while (*text++);
	return h;
}

EXPORT int vhostmd_snapshot_session(const struct vhostmd_snapshot *s, uint64_t *ret)
{
	const struct document *d = s->document;
	const char *host = "";

	if (!d->uuid)
		return VHOSTMD_ERR_IDENTITY;
	if (vhostmd_get_u64(s, METRIC_CONTEXT_VM, "domain.session", ret) == 0)
		return 0;
	(void)vhostmd_get_text(s, METRIC_CONTEXT_HOST, "HostName", &host);
	*ret = mix(mix(mix(UINT64_C(14695981039346656037), host), d->uuid), d->id);
	return 0;
}

/* True if a counter by which the host tells samples apart stands still. */
static bool is_same_sample(
	const struct vhostmd_snapshot *a, const struct vhostmd_snapshot *b)
{
	static const struct {
		metric_context context;
		const char *name;
	} generations[] = { { METRIC_CONTEXT_VM, "sample.generation" },
		{ METRIC_CONTEXT_HOST, "host.sample.generation" } };
	uint64_t x, y;

	if (a->document == b->document)
		return true;
	for (size_t i = 0; i < ARRAY_LEN(generations); i++)
		if (vhostmd_get_u64(a, generations[i].context, generations[i].name, &x) ==
				0 &&
			vhostmd_get_u64(
				b, generations[i].context, generations[i].name, &y) == 0)
			return x == y;
	return a->document->xml.len == b->document->xml.len &&
		!memcmp(a->document->xml.data, b->document->xml.data,
			a->document->xml.len);
}

EXPORT int vhostmd_deltas_valid(
	const struct vhostmd_snapshot *before, const struct vhostmd_snapshot *now)
{
	uint64_t was = 0, is = 0;

	if (!before || !now || before->read_ns > now->read_ns)
		return VHOSTMD_ERR_INVALID;
	int had = vhostmd_snapshot_session(before, &was);
	int has = vhostmd_snapshot_session(now, &is);

	if (had != has || was != is)
		return VHOSTMD_ERR_MOVED;
	return is_same_sample(before, now) ? VHOSTMD_ERR_SAME_SAMPLE : 0;
}

EXPORT double vhostmd_elapsed(
	const struct vhostmd_snapshot *before, const struct vhostmd_snapshot *now)
{
	static const char *const clocks[] = { "host.uptime", "host.time" };
	double a, b;

	for (size_t i = 0; i < ARRAY_LEN(clocks); i++)
		if (vhostmd_get_real(before, METRIC_CONTEXT_HOST, clocks[i], &a) == 0 &&
			vhostmd_get_real(now, METRIC_CONTEXT_HOST, clocks[i], &b) == 0 &&
			b > a)
			return b - a;
	return (double)(now->read_ns - before->read_ns) / NS_PER_S;
}

/* What was added, of integers to the last digit.  Return: 0, VHOSTMD_ERR_RESET, or of others. */
static int grown(
	const struct vhostmd_metric *a, const struct vhostmd_metric *b, double *ret)
{
	uint64_t x, y;
	double u, v;

	if (a->type != M_REAL32 && a->type != M_REAL64 && b->type != M_REAL32 &&
		b->type != M_REAL64 && vhostmd_metric_u64(a, &x) == 0 &&
		vhostmd_metric_u64(b, &y) == 0) {
		if (y < x)
			return VHOSTMD_ERR_RESET;
		*ret = (double)(y - x);
		return 0;
	}
	if (vhostmd_metric_real(a, &u) < 0 || vhostmd_metric_real(b, &v) < 0)
		return VHOSTMD_ERR_TYPE;
	if (v < u)
		return VHOSTMD_ERR_RESET;
	*ret = v - u;
	return 0;
}

EXPORT int vhostmd_rate(const struct vhostmd_snapshot *before,
	const struct vhostmd_snapshot *now, metric_context context, const char *name,
	double *ret)
{
	const struct vhostmd_metric *a = NULL, *b = NULL;
	double delta = 0;
	int r = ret ? vhostmd_deltas_valid(before, now) : VHOSTMD_ERR_INVALID;

	if (r == 0)
		r = vhostmd_find(before, context, name, &a);
	if (r == 0)
		r = vhostmd_find(now, context, name, &b);
	if (r == 0)
		r = grown(a, b, &delta);
	if (r < 0)
		return r;
	double seconds = vhostmd_elapsed(before, now);

	if (!(seconds > 0))
		return VHOSTMD_ERR_SAME_SAMPLE;
	*ret = delta / seconds;
	return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vhostmd/libmetrics.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "foreign/foreign.h"
#include "reader.h"
#include "util/cleanup.h"
#include "util/fileio.h"
#include "util/parse.h"
#include "util/strbuf.h"

#define EXPORT __attribute__((visibility("default")))

/* What compiled programs rely on. */
_Static_assert(sizeof(metric) == 16 && offsetof(metric, value) == 8, "ABI of metric");
_Static_assert(sizeof(memory_metrics) == 56, "ABI of memory_metrics");
_Static_assert(sizeof(cpu_metrics) == 16 && offsetof(cpu_metrics, total_cpu_time) == 8,
	"ABI of cpu_metrics");

static int fail(int r)
{
	errno = -r;
	return -1;
}

static int fetch(struct strbuf *text)
{
	_cleanup_strbuf_ struct strbuf tried = STRBUF_INIT;
	int r = reader_disk(text, &tried);

	return r == 0 ? 0 : reader_channel(text, &tried);
}

static int fetch_doc(xmlDoc **ret)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	int r = fetch(&text);

	if (r < 0)
		return r;
	*ret = foreign_doc_parse(text.data, text.len);
	return *ret ? 0 : -EBADMSG;
}

static bool attribute_is(xmlNode *node, const char *name, const char *value)
{
	xmlChar *is = xmlGetProp(node, (const xmlChar *)name);
	bool equal = is && !strcasecmp((const char *)is, value);

	xmlFree(is);
	return equal;
}

/* The trimmed text of a child; the caller frees.  NULL if there is none. */
static char *child_text(xmlNode *node, const char *name)
{
	for (xmlNode *child = node->children; child; child = child->next) {
		if (child->type != XML_ELEMENT_NODE ||
			strcmp((const char *)child->name, name))
			continue;
		xmlChar *content = xmlNodeGetContent(child);
		_cleanup_free_ char *copy =
			content ? strdup((const char *)content) : NULL;

		xmlFree(content);
		return copy ? strdup(str_trim(copy)) : NULL;
	}
	return NULL;
}

/* This guest's own uuid, as its firmware tells; "" if it is not to be had. */
static void own_uuid(struct strbuf *out)
{
	static const char *const files[] = { "/sys/class/dmi/id/product_uuid",
		"/sys/hypervisor/uuid", "/proc/device-tree/vm,uuid" };

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		if (read_file_at(AT_FDCWD, files[i], 256, out) < 0 || !out->len)
			continue;
		char *trimmed = str_trim(out->data);

		memmove(out->data, trimmed, strlen(trimmed) + 1);
		out->len = strlen(out->data);
		return;
	}
	strbuf_clear(out);
}

static bool is_named(xmlNode *node, const char *name, const char *context)
{
	if (node->type != XML_ELEMENT_NODE || !attribute_is(node, "context", context))
		return false;
	_cleanup_free_ char *is = child_text(node, "name");

	return is && !strcmp(is, name);
}

/*
 * The metric's element.  A shared disk lists several VMs: then it is the one with this
 * guest's uuid.  Return: NULL if there is none, or no telling which.
 */
static xmlNode *find(xmlDoc *doc, const char *name, metric_context context)
{
	const char *word = context == METRIC_CONTEXT_HOST ? "host" : "vm";
	_cleanup_strbuf_ struct strbuf uuid = STRBUF_INIT;
	xmlNode *root = xmlDocGetRootElement(doc), *found = NULL;
	size_t n = 0;

	if (context == METRIC_CONTEXT_VM)
		own_uuid(&uuid);
	for (xmlNode *node = root ? root->children : NULL; node; node = node->next) {
		if (!is_named(node, name, word))
			continue;
		if (context == METRIC_CONTEXT_HOST ||
			(uuid.len && attribute_is(node, "uuid", strbuf_str(&uuid))))
			return node;
		found = node;
		n++;
	}
	return n == 1 ? found : NULL;
}

/* In the same allocation as its metric. */
static metric *new_string(const char *text)
{
	size_t n = strlen(text) + 1;
	metric *m = malloc(sizeof(*m) + n);

	if (!m)
		return NULL;
	m->type = M_STRING;
	m->value.str = memcpy(m + 1, text, n);
	return m;
}

static int read_number(const char *type, const char *text, metric *m)
{
	int64_t i = 0;
	uint64_t u = 0;
	int r = -EBADMSG;

	if (!strcmp(type, "int32") && parse_i64(text, &i) == 0 && i == (int32_t)i)
		m->type = M_INT32, m->value.i32 = (int32_t)i, r = 0;
	else if (!strcmp(type, "uint32") && parse_u64(text, &u) == 0 && u == (uint32_t)u)
		m->type = M_UINT32, m->value.ui32 = (uint32_t)u, r = 0;
	else if (!strcmp(type, "int64") && parse_i64(text, &i) == 0)
		m->type = M_INT64, m->value.i64 = i, r = 0;
	else if (!strcmp(type, "uint64") && parse_u64(text, &u) == 0)
		m->type = M_UINT64, m->value.ui64 = u, r = 0;
	else if (!strcmp(type, "real64") && parse_real(text, &m->value.r64) == 0)
		m->type = M_REAL64, r = 0;
	else if (!strcmp(type, "real32")) {
		double real = 0;

		r = parse_real(text, &real) < 0 ? -EBADMSG : 0;
		m->type = M_REAL32;
		m->value.r32 = (float)real;
	}
	return r;
}

static int read_metric(xmlNode *node, metric **ret)
{
	xmlChar *type = xmlGetProp(node, (const xmlChar *)"type");
	_cleanup_free_ char *text = child_text(node, "value");
	metric *m = NULL;
	int r = type && text ? 0 : -EBADMSG;

	if (r == 0)
		m = !strcmp((char *)type, "string") ? new_string(text)
						    : malloc(sizeof(*m));
	if (r == 0 && !m)
		r = -ENOMEM;
	if (r == 0 && strcmp((char *)type, "string") != 0)
		r = read_number((char *)type, text, m);
	xmlFree(type);
	if (r < 0)
		free(m);
	else
		*ret = m;
	return r;
}

static int get_from(xmlDoc *doc, const char *name, metric_context context, metric **ret)
{
	xmlNode *node = find(doc, name, context);

	return node ? read_metric(node, ret) : -ENOMSG;
}

EXPORT int get_metric(const char *name, metric **ret, metric_context context)
{
	_cleanup_doc_ xmlDoc *doc = NULL;

	if (!name || !ret ||
		(context != METRIC_CONTEXT_HOST && context != METRIC_CONTEXT_VM))
		return fail(-EINVAL);
	int r = fetch_doc(&doc);

	if (r == 0)
		r = get_from(doc, name, context, ret);
	return r < 0 ? fail(r) : 0;
}

EXPORT void metric_free(metric *m)
{
	free(m);
}

static double as_real(const metric *m)
{
	switch (m->type) {
	case M_INT32:
		return m->value.i32;
	case M_UINT32:
		return m->value.ui32;
	case M_INT64:
		return (double)m->value.i64;
	case M_UINT64:
		return (double)m->value.ui64;
	case M_REAL32:
		return (double)m->value.r32;
	case M_REAL64:
		return m->value.r64;
	default:
		return 0;
	}
}

static uint64_t as_u64(const metric *m)
{
	if (m->type == M_UINT64)
		return m->value.ui64;
	double real = as_real(m);

	return real > 0 && real < 0x1p64 ? (uint64_t)real : 0;
}

/* Reads a well-known metric of any type.  Return: whether it is there. */
static bool get_as(xmlDoc *doc, const char *name, metric_context context,
	double *ret_real, uint64_t *ret_u64)
{
	metric *m = NULL;

	if (get_from(doc, name, context, &m) < 0)
		return false;
	if (ret_real)
		*ret_real = as_real(m);
	if (ret_u64)
		*ret_u64 = as_u64(m);
	free(m);
	return true;
}

static int get_memory(memory_metrics *m, metric_context context)
{
	const struct {
		const char *name;
		uint64_t *at;
	} fields[] = { { "TotalPhyMem", &m->total_physical_memory },
		{ "UsedMem", &m->used_physical_memory },
		{ "FreeMem", &m->free_physical_memory },
		{ "PagedOutMemory", &m->paged_out_memory },
		{ "PagedInMemory", &m->paged_in_memory },
		{ "PageInRate", &m->page_in_rate },
		{ "PageFaultRate", &m->page_fault_rate } };
	_cleanup_doc_ xmlDoc *doc = NULL;
	int r = fetch_doc(&doc);
	bool any = false;

	if (r < 0)
		return fail(r);
	*m = (memory_metrics){ 0 };
	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		any |= get_as(doc, fields[i].name, context, NULL, fields[i].at);
	return any ? 0 : fail(-ENOMSG);
}

static int get_cpu(cpu_metrics *m, metric_context context)
{
	_cleanup_doc_ xmlDoc *doc = NULL;
	uint64_t total = 0, used = 0;
	int r = fetch_doc(&doc);

	if (r < 0)
		return fail(r);
	*m = (cpu_metrics){ 0 };
	bool any = get_as(doc, "TotalPhyCPUs", context, NULL, &total);

	any |= get_as(doc, "NumCPUs", context, NULL, &used);
	any |= get_as(doc, "TotalCPUTime", context, &m->total_cpu_time, NULL);
	m->total_phys_cpus = (uint32_t)total;
	m->num_phys_cpus_utilized = (uint32_t)used;
	return any ? 0 : fail(-ENOMSG);
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
	return m ? get_memory(m, METRIC_CONTEXT_HOST) : fail(-EINVAL);
}

EXPORT int get_vm_memory_metrics(memory_metrics *m)
{
	return m ? get_memory(m, METRIC_CONTEXT_VM) : fail(-EINVAL);
}

EXPORT int get_host_cpu_metrics(cpu_metrics *m)
{
	return m ? get_cpu(m, METRIC_CONTEXT_HOST) : fail(-EINVAL);
}

EXPORT int get_vm_cpu_metrics(cpu_metrics *m)
{
	return m ? get_cpu(m, METRIC_CONTEXT_VM) : fail(-EINVAL);
}

EXPORT int get_host_totalPhyCPUs(uint32_t *ret)
{
	_cleanup_doc_ xmlDoc *doc = NULL;
	uint64_t n = 0;
	int r = ret ? fetch_doc(&doc) : -EINVAL;

	if (r < 0)
		return fail(r);
	if (!get_as(doc, "TotalPhyCPUs", METRIC_CONTEXT_HOST, NULL, &n))
		return fail(-ENOMSG);
	*ret = (uint32_t)n;
	return 0;
}

static int dump(int r, const struct strbuf *text, const char *dest_file)
{
	if (r < 0)
		return fail(r);
	FILE *f = dest_file ? fopen(dest_file, "we") : stdout;

	if (!f)
		return -1;
	bool ok = fwrite(text->data, 1, text->len, f) == text->len && fflush(f) == 0;
	int saved = errno;

	if (dest_file && fclose(f) != 0)
		ok = false, saved = errno;
	return ok ? 0 : fail(-saved);
}

EXPORT int dump_metrics(const char *dest_file)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	_cleanup_strbuf_ struct strbuf tried = STRBUF_INIT;
	int r = reader_disk(&text, &tried);

	return dump(r, &text, dest_file);
}

EXPORT int dump_virtio_metrics(const char *dest_file)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	_cleanup_strbuf_ struct strbuf tried = STRBUF_INIT;
	int r = reader_channel(&text, &tried);

	return dump(r, &text, dest_file);
}

EXPORT int dump_xenstore_metrics(const char *dest_file)
{
	(void)dest_file;
	return fail(-EOPNOTSUPP);
}

EXPORT int libmetrics_init(void)
{
	return 0;
}

EXPORT int libmetrics_fini(void)
{
	return 0;
}

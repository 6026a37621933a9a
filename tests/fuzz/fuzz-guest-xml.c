/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A document as libmetrics reads it, of one VM's disk or of the shared one. */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "reader.h"
#include "util/fileio.h"
#include "util/strbuf.h"
#include "vhostmd/libmetrics.h"

static const uint8_t *document;
static size_t document_bytes;

int __wrap_read_file_at(int dirfd, const char *path, size_t max, struct strbuf *out);

/* In the place of reader.c. */
int reader_disk(struct strbuf *out, struct strbuf *tried)
{
	(void)tried;
	strbuf_add(out, document, document_bytes);
	return 0;
}

int reader_channel(struct strbuf *out, struct strbuf *tried)
{
	(void)out;
	(void)tried;
	return -ENOENT;
}

/* This guest's uuid. */
int __wrap_read_file_at(int dirfd, const char *path, size_t max, struct strbuf *out)
{
	(void)dirfd;
	(void)path;
	(void)max;
	strbuf_clear(out);
	strbuf_adds(out, "6BE3FDB8-BEF5-6FEC-B1B7-E61BBCEAB708\n");
	return 0;
}

static void get(const char *name, metric_context context)
{
	metric *m = NULL;

	errno = 0;
	int r = get_metric(name, &m, context);

	if (r == 0 ? !m || (unsigned)m->type > M_STRING ||
				(m->type == M_STRING && !m->value.str)
		   : r != -1 || !errno || m)
		abort();
	/* entities would make much of little */
	if (m && m->type == M_STRING && strlen(m->value.str) > document_bytes)
		abort();
	metric_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	memory_metrics memory;
	cpu_metrics cpus;
	uint32_t n = 0;

	document = data;
	document_bytes = size;
	get("HostName", METRIC_CONTEXT_HOST);
	get("TotalCPUTime", METRIC_CONTEXT_VM);
	(void)get_vm_memory_metrics(&memory);
	(void)get_host_cpu_metrics(&cpus);
	(void)get_host_totalPhyCPUs(&n);
	return 0;
}

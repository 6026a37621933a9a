/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What vhostmdctl top reads: metrics.prom and, behind the first NUL, status; twice, the second time
 * as if a period had gone by.  Whatever they hold, what is printed is text, and JSON.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "top_batch.h"
#include "top_columns.h"
#include "top_lines.h"
#include "top_model.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"

#define REAL_NS (1700000000 * NS_PER_S)
#define MONO_NS (5000 * NS_PER_S)

static void update(
	struct top_model *m, const uint8_t *data, size_t size, int64_t later_ns)
{
	const uint8_t *end = size ? memchr(data, 0, size) : NULL;
	size_t prom_size = end ? (size_t)(end - data) : size;
	size_t status_size = end ? size - prom_size - 1 : 0;
	_cleanup_free_ char *prom = xmalloc(prom_size + 1),
			    *status = xmalloc(status_size + 1);
	struct top_sample s = { .prom = prom,
		.prom_size = prom_size,
		.status = status,
		.status_size = status_size,
		.prom_real_ns = REAL_NS + later_ns - NS_PER_S,
		.status_real_ns = REAL_NS + later_ns,
		.real_ns = REAL_NS + later_ns,
		.mono_ns = MONO_NS + later_ns };

	if (prom_size)
		memcpy(prom, data, prom_size);
	if (status_size)
		memcpy(status, end + 1, status_size);
	top_model_update(m, &s);
}

static void check(const struct strbuf *out, bool lines)
{
	if (!utf8_valid(strbuf_str(out), out->len))
		abort();
	for (size_t i = 0; i < out->len; i++)
		if ((unsigned char)out->data[i] < 0x20 &&
			!(lines && strchr("\r\n", out->data[i])))
			abort();
}

/* Brackets and braces outside texts close in order, and nothing is left open. */
static void check_json(const struct strbuf *out)
{
	char open[8];
	size_t depth = 0;
	bool text = false;

	for (const char *p = strbuf_str(out); *p; p++) {
		if (text && *p == '\\')
			p++;
		else if (*p == '"')
			text = !text;
		else if (!text && strchr("{[", *p))
			open[depth++] = *p;
		else if (!text && strchr("}]", *p) &&
			(!depth || open[--depth] != (*p == '}' ? '{' : '[')))
			abort();
		if (depth == sizeof(open))
			abort();
	}
	if (depth || text)
		abort();
}

static void print(const struct top_model *m)
{
	_cleanup_strbuf_ struct strbuf csv = STRBUF_INIT, json = STRBUF_INIT,
				       lines = STRBUF_INIT;
	const struct top_vm **vms = NULL;
	struct top_record record = { .model = m, .mono_ns = MONO_NS, .real_ns = REAL_NS };

	for (size_t i = 0; i < TOP_COLUMNS; i++) {
		const struct top_query query = { .filter = i % 2 ? "*" : "",
			.sort = (enum top_column)i,
			.reverse = i % 3 == 0 };

		free(vms);
		record.n = top_select(m, &query, MONO_NS, &vms);
		if (record.n != m->n)
			abort();
	}
	record.vms = vms;
	top_csv_add(&record, &csv);
	top_json_add(&record, &json);
	for (size_t i = 0; i < record.n; i++)
		top_vm_add(vms[i], 60, i % 2, MONO_NS, &lines);
	top_host_add(m, &lines);
	top_help_add(m, &lines);
	check(&csv, true);
	check(&json, true);
	check(&lines, true);
	check_json(&json);
	free(vms);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct top_model *m = top_model_new();

	update(m, data, size, 0);
	update(m, data, size, 5 * NS_PER_S);
	print(m);
	top_model_free(m);
	return 0;
}

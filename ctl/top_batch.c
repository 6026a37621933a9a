/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "top_batch.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "top_columns.h"
#include "top_model.h"
#include "util/clock.h"
#include "util/parse.h"
#include "util/strbuf.h"
#include "util/text.h"

static void add_time(int64_t real_ns, struct strbuf *out)
{
	strbuf_addf(out, "%" PRId64 ".%03" PRId64, real_ns / NS_PER_S,
		real_ns % NS_PER_S / NS_PER_MS);
}

/* All digits that matter, none that do not: 0, 12.5, 1048576. */
static void add_number(double value, struct strbuf *out)
{
	if (fabs(value) >= 1e15)
		strbuf_addf(out, "%.6e", value);
	else if (fabs(value - round(value)) < 1e-9)
		strbuf_addf(out, "%.0f", fabs(round(value)) > 0 ? round(value) : 0.0);
	else
		strbuf_addf(out, "%.3f", value);
}

/* ---- CSV ---- */

/* Text of others', harmless on a terminal: quoted, a quote doubled. */
static void add_quoted(const char *text, struct strbuf *out)
{
	_cleanup_strbuf_ struct strbuf shown = STRBUF_INIT;

	text_add_printable(text, &shown);
	strbuf_addc(out, '"');
	for (const char *p = strbuf_str(&shown); *p; p++) {
		if (*p == '"')
			strbuf_addc(out, '"');
		strbuf_addc(out, *p);
	}
	strbuf_addc(out, '"');
}

void top_csv_add_header(struct strbuf *out)
{
	strbuf_adds(out, "time,uuid,id");
	for (size_t i = 0; i < TOP_COLUMNS; i++)
		strbuf_addf(out, ",%s", top_columns[i].field);
	strbuf_adds(out, ",stale,silent\r\n");
}

static void add_csv_vm(
	const struct top_record *record, const struct top_vm *vm, struct strbuf *out)
{
	add_time(record->real_ns, out);
	strbuf_addf(out, ",%s,", vm->uuid);
	add_quoted(vm->id, out);
	for (size_t i = 0; i < TOP_COLUMNS; i++) {
		double value = top_column_value(vm, (enum top_column)i, record->mono_ns);

		strbuf_addc(out, ',');
		if (i == COLUMN_NAME)
			add_quoted(vm->name, out);
		else if (i == COLUMN_STATE && !isnan(value))
			strbuf_adds(out, top_state(vm));
		else if (i != COLUMN_STATE && isfinite(value))
			add_number(value, out);
	}
	strbuf_addf(out, ",%d,%d\r\n", vm->stale, vm->silent);
}

void top_csv_add(const struct top_record *record, struct strbuf *out)
{
	for (size_t i = 0; i < record->n; i++)
		add_csv_vm(record, record->vms[i], out);
}

/* ---- JSON ---- */

/* JSON is UTF-8, whatever a text is. */
static void add_text(const char *text, struct strbuf *out)
{
	_cleanup_strbuf_ struct strbuf shown = STRBUF_INIT;

	if (!utf8_valid(text, strlen(text)))
		text_add_printable(text, &shown);
	text_add_json(shown.len ? strbuf_str(&shown) : text, out);
}

static void add_member(const char *name, double value, struct strbuf *out)
{
	char last = out->data[out->len - 1];

	strbuf_addf(out, "%s\"%s\": ", last == '{' || last == '[' ? "" : ", ", name);
	if (isfinite(value))
		add_number(value, out);
	else
		strbuf_adds(out, "null");
}

static void add_things(const struct top_vm *vm, enum top_scope scope, const char *name,
	struct strbuf *out)
{
	const struct top_things *things = &vm->things[scope];
	size_t n;
	const struct top_thing_column *columns = top_thing_columns(scope, &n);

	strbuf_addf(out, ", \"%s\": [", name);
	for (size_t k = 0; k < things->n; k++) {
		strbuf_adds(out, k ? ", {\"name\": " : "{\"name\": ");
		add_text(things->at[k].name, out);
		for (size_t i = 0; i < n; i++)
			add_member(columns[i].field,
				top_thing_value(&things->at[k], &columns[i]), out);
		strbuf_addc(out, '}');
	}
	strbuf_addc(out, ']');
}

static void add_json_vm(
	const struct top_record *record, const struct top_vm *vm, struct strbuf *out)
{
	strbuf_adds(out, "{\"name\": ");
	add_text(vm->name, out);
	strbuf_addf(out, ", \"uuid\": \"%s\", \"id\": ", vm->uuid);
	add_text(vm->id, out);
	strbuf_adds(out, ", \"state\": ");
	if (isnan(vm->all.now[TOP_VM_STATE]))
		strbuf_adds(out, "null");
	else
		add_text(top_state(vm), out);
	for (size_t i = COLUMN_VCPUS; i < TOP_COLUMNS; i++)
		add_member(top_columns[i].field,
			top_column_value(vm, (enum top_column)i, record->mono_ns), out);
	strbuf_addf(out, ", \"stale\": %s, \"silent\": %s", vm->stale ? "true" : "false",
		vm->silent ? "true" : "false");
	add_things(vm, TOP_VCPU, "vcpu", out);
	add_things(vm, TOP_DISK, "disk", out);
	add_things(vm, TOP_NET, "interface", out);
	strbuf_addc(out, '}');
}

static void add_host(const struct top_thing *host, struct strbuf *out)
{
	strbuf_adds(out, ", \"host\": {");
	add_member("cpus", host->now[TOP_HOST_CPUS], out);
	add_member("cpu_percent", 100 * host->rate[TOP_HOST_CPU_TIME], out);
	add_member("steal_percent", 100 * host->rate[TOP_HOST_CPU_STEAL], out);
	add_member("load1", host->now[TOP_HOST_LOAD], out);
	add_member("memory_bytes", host->now[TOP_HOST_MEMORY_TOTAL], out);
	add_member("memory_used_bytes", host->now[TOP_HOST_MEMORY_USED], out);
	add_member("swap_used_bytes", host->now[TOP_HOST_SWAP_USED], out);
	add_member("cpu_pressure_percent", 100 * host->now[TOP_HOST_PRESSURE_CPU], out);
	add_member("memory_pressure_percent", 100 * host->now[TOP_HOST_PRESSURE_MEMORY],
		out);
	add_member("io_pressure_percent", 100 * host->now[TOP_HOST_PRESSURE_IO], out);
	strbuf_addc(out, '}');
}

void top_json_add(const struct top_record *record, struct strbuf *out)
{
	strbuf_adds(out, "{\"time\": ");
	add_time(record->real_ns, out);
	add_host(&record->model->host, out);
	strbuf_adds(out, ", \"vms\": [");
	for (size_t i = 0; i < record->n; i++) {
		if (i)
			strbuf_adds(out, ", ");
		add_json_vm(record, record->vms[i], out);
	}
	strbuf_adds(out, "]}\n");
}

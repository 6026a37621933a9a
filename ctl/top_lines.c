/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "top_lines.h"

#include <math.h>
#include <string.h>

#include "top_columns.h"
#include "top_model.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/strbuf.h"
#include "util/text.h"

static void add_value(const char *before, double value, enum top_format format,
	const char *behind, struct strbuf *out)
{
	strbuf_adds(out, before);
	top_format_add(value, format, out);
	strbuf_adds(out, behind);
}

/* Right-aligned, with a space in front. */
static void add_cell(double value, enum top_format format, int width, struct strbuf *out)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	top_format_add(value, format, &text);
	strbuf_addf(out, " %*s", width, strbuf_str(&text));
}

static void add_name(const char *name, int width, struct strbuf *out)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	text_add_printable(name, &text);
	strbuf_addf(out, "%-*s", width, strbuf_str(&text));
}

void top_host_add(const struct top_model *m, struct strbuf *out)
{
	const double *now = m->host.now, *rate = m->host.rate;

	add_value("host: ", now[TOP_HOST_CPUS], FORMAT_NUMBER, " CPUs ", out);
	add_value("", 100 * rate[TOP_HOST_CPU_TIME] / now[TOP_HOST_CPUS], FORMAT_PERCENT,
		"%", out);
	add_value(" steal ", 100 * rate[TOP_HOST_CPU_STEAL] / now[TOP_HOST_CPUS],
		FORMAT_PERCENT, "%", out);
	add_value(" load ", now[TOP_HOST_LOAD], FORMAT_MS, "  mem ", out);
	add_value("", now[TOP_HOST_MEMORY_USED], FORMAT_SIZE, "/", out);
	add_value("", now[TOP_HOST_MEMORY_TOTAL], FORMAT_SIZE, " swap ", out);
	add_value("", now[TOP_HOST_SWAP_USED], FORMAT_SIZE, "  pressure cpu ", out);
	add_value("", 100 * now[TOP_HOST_PRESSURE_CPU], FORMAT_PERCENT, "% mem ", out);
	add_value("", 100 * now[TOP_HOST_PRESSURE_MEMORY], FORMAT_PERCENT, "% io ", out);
	add_value("", 100 * now[TOP_HOST_PRESSURE_IO], FORMAT_PERCENT, "%", out);
}

/* ---- graphs ---- */

static const struct {
	const char *title;
	enum top_format format;
	double least; /* what fills a graph at least, lest noise looks like much */
} graphs[TOP_GRAPHS] = {
	[GRAPH_CPU] = { "CPU %", FORMAT_PERCENT, 10 },
	[GRAPH_STEAL] = { "steal %", FORMAT_PERCENT, 10 },
	[GRAPH_PRESSURE] = { "mem. pressure %", FORMAT_PERCENT, 10 },
	[GRAPH_BLOCK] = { "block B/s", FORMAT_SIZE, 1024 },
	[GRAPH_NET] = { "net B/s", FORMAT_SIZE, 1024 },
};

static void add_bar(float value, double most, bool blocks, struct strbuf *out)
{
	static const char *const eighths[] = { "\u2581", "\u2582", "\u2583", "\u2584",
		"\u2585", "\u2586", "\u2587", "\u2588" };
	static const char letters[] = "_.:-=+*#";
	double part = (double)value / most;
	size_t at = part >= 1 ? 7 : part > 0 ? (size_t)(part * 8) : 0;

	if (isnan(value))
		strbuf_addc(out, ' ');
	else if (blocks)
		strbuf_adds(out, eighths[at]);
	else
		strbuf_addc(out, letters[at]);
}

static void add_graph(const struct top_vm *vm, enum top_graph graph, size_t columns,
	bool blocks, struct strbuf *out)
{
	size_t n = columns < vm->n_points ? columns : vm->n_points;
	double most = graphs[graph].least;

	for (size_t i = 0; i < n; i++) {
		float value = top_vm_point(vm, i)->value[graph];

		if ((double)value > most)
			most = (double)value;
	}
	strbuf_addf(out, "  %-15s", graphs[graph].title);
	add_cell(n ? (double)top_vm_point(vm, 0)->value[graph] : NAN,
		graphs[graph].format, 7, out);
	strbuf_adds(out, " |");
	for (size_t i = n; i < columns; i++)
		strbuf_addc(out, ' ');
	for (size_t i = n; i-- > 0;)
		add_bar(top_vm_point(vm, i)->value[graph], most, blocks, out);
	add_value("| of ", most, graphs[graph].format, "\n", out);
}

static void add_graphs(
	const struct top_vm *vm, int width, bool blocks, struct strbuf *out)
{
	/* what stands around them */
	const int around = 40;
	size_t columns = width < around + 8 ? 8 : (size_t)(width - around);
	size_t n = columns < TOP_POINTS ? columns : TOP_POINTS;
	const struct top_point *newest = top_vm_point(vm, 0);
	const struct top_point *oldest = vm->n_points
		? top_vm_point(vm, (n < vm->n_points ? n : vm->n_points) - 1)
		: NULL;

	add_value("\nThe last ",
		oldest ? (double)(newest->ns - oldest->ns) / (double)NS_PER_S : 0,
		FORMAT_NUMBER, " s\n", out);
	for (size_t i = 0; i < TOP_GRAPHS; i++)
		add_graph(vm, (enum top_graph)i, n, blocks, out);
}

/* ---- a VM ---- */

static void add_state(const struct top_vm *vm, int64_t now_ns, struct strbuf *out)
{
	strbuf_addf(out, "%s, id ", top_state(vm));
	add_name(*vm->id ? vm->id : "-", 0, out);
	add_value(", sampled ", top_column_value(vm, COLUMN_AGE, now_ns), FORMAT_SECONDS,
		" s ago", out);
	strbuf_addf(out, "%s%s\n", vm->stale ? ", STALE" : "",
		vm->silent ? ", ITS MONITOR IS SILENT" : "");
}

static void add_figures(const struct top_vm *vm, int64_t now_ns, struct strbuf *out)
{
	strbuf_addc(out, '\n');
	for (size_t i = COLUMN_VCPUS; i < COLUMN_AGE; i++) {
		const struct top_column_info *c = &top_columns[i];

		strbuf_addf(out, "  %-7s", c->title);
		add_cell(top_column_value(vm, (enum top_column)i, now_ns), c->format, 7,
			out);
		strbuf_addf(out, "  %s\n", c->help);
	}
	add_value("  balloon ", vm->all.now[TOP_VM_BALLOON], FORMAT_SIZE, "", out);
	add_value(", threads ", vm->all.now[TOP_VM_THREADS], FORMAT_NUMBER, "\n", out);
}

static void add_things(const struct top_vm *vm, enum top_scope scope, const char *title,
	struct strbuf *out)
{
	const struct top_things *things = &vm->things[scope];
	size_t n;
	const struct top_thing_column *columns = top_thing_columns(scope, &n);

	if (!things->n)
		return;
	strbuf_addf(out, "\n%-10s", title);
	for (size_t i = 0; i < n; i++)
		strbuf_addf(out, " %*s", columns[i].width, columns[i].title);
	strbuf_addc(out, '\n');
	for (size_t k = 0; k < things->n; k++) {
		add_name(things->at[k].name, 10, out);
		for (size_t i = 0; i < n; i++)
			add_cell(top_thing_value(&things->at[k], &columns[i]),
				columns[i].format, columns[i].width, out);
		strbuf_addc(out, '\n');
	}
}

void top_vm_add(const struct top_vm *vm, int width, bool blocks, int64_t now_ns,
	struct strbuf *out)
{
	add_name(vm->name, 0, out);
	strbuf_addf(out, "  %s\n", vm->uuid);
	add_state(vm, now_ns, out);
	add_graphs(vm, width, blocks, out);
	add_figures(vm, now_ns, out);
	add_things(vm, TOP_VCPU, "vCPU", out);
	add_things(vm, TOP_DISK, "disk", out);
	add_things(vm, TOP_NET, "interface", out);
}

/* ---- help ---- */

void top_help_add(const struct top_model *m, struct strbuf *out)
{
	_cleanup_strbuf_ struct strbuf lacking = STRBUF_INIT;

	strbuf_adds(out,
		"Up Down PgUp PgDn Home End   move\n"
		"Enter   all of the VM, with its vCPUs, disks, interfaces\n"
		"/       show VMs of that name alone: a part of it, or a pattern of * and ?\n"
		"r       the other way round\n"
		"h       this\n"
		"q Esc   back; q ends it\n"
		"\nColumns, and the key that sorts by each:\n");
	for (size_t i = 0; i < TOP_COLUMNS; i++)
		strbuf_addf(out, "%c       %-7s %s\n",
			top_columns[i].key ? top_columns[i].key : ' ',
			top_columns[i].title, top_columns[i].help);
	strbuf_adds(out, "\nWhat is not known is \"-\".\n");
	top_lacking_add(m, "\n", &lacking);
	if (lacking.len)
		strbuf_addf(out,
			"No VM has these; they need sources in vhostmd.conf(5), or do not apply "
			"here:\n%s\n",
			strbuf_str(&lacking));
}

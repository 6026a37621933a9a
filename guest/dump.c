/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "dump.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/mem.h"
#include "told.h"
#include "util/strbuf.h"
#include "util/text.h"
#include "vhostmd/metrics.h"

static const char *context_name(const struct vhostmd_metric *m)
{
	return vhostmd_metric_context(m) == METRIC_CONTEXT_HOST ? "host" : "vm";
}

/* ---- table ---- */

void dump_printable(const char *text, struct strbuf *out)
{
	for (; *text; text++)
		strbuf_addc(
			out, (unsigned char)*text < 0x20 || *text == 0x7f ? ' ' : *text);
}

static int width_of_names(const struct vhostmd_snapshot *s)
{
	size_t width = 0;

	for (size_t i = 0; i < vhostmd_snapshot_count(s); i++) {
		size_t n = strlen(vhostmd_metric_name(vhostmd_snapshot_at(s, i)));

		width = n > width ? n : width;
	}
	return width < 60 ? (int)width : 60;
}

static void add_row(const struct vhostmd_metric *m, int width, struct strbuf *out)
{
	const char *unit = vhostmd_metric_unit(m);

	strbuf_addf(out, "%-4s  ", context_name(m));
	size_t start = out->len;

	dump_printable(vhostmd_metric_name(m), out);
	strbuf_addf(out, "%*s  ",
		out->len - start < (size_t)width ? width - (int)(out->len - start) : 0,
		"");
	dump_printable(vhostmd_metric_text(m), out);
	if (*unit) {
		strbuf_addc(out, ' ');
		dump_printable(unit, out);
	}
}

void dump_table(const struct vhostmd_snapshot *s, struct strbuf *out)
{
	int width = width_of_names(s);

	for (size_t i = 0; i < vhostmd_snapshot_count(s); i++) {
		add_row(vhostmd_snapshot_at(s, i), width, out);
		strbuf_addc(out, '\n');
	}
}

/* ---- changes ---- */

/* True if the figure may be one that only grows, so that a rate says something. */
static bool may_be_counter(const struct vhostmd_snapshot *before,
	const struct vhostmd_snapshot *now, const struct vhostmd_metric *m,
	double *ret_rate)
{
	return vhostmd_metric_type(m) != M_STRING &&
		vhostmd_rate(before, now, vhostmd_metric_context(m),
			vhostmd_metric_name(m), ret_rate) == 0;
}

static bool has_changed(
	const struct vhostmd_snapshot *before, const struct vhostmd_metric *m)
{
	const struct vhostmd_metric *was = NULL;

	return vhostmd_find(before, vhostmd_metric_context(m), vhostmd_metric_name(m),
		       &was) < 0 ||
		strcmp(vhostmd_metric_text(was), vhostmd_metric_text(m)) != 0;
}

void dump_changes(const struct vhostmd_snapshot *before,
	const struct vhostmd_snapshot *now, const struct vhostmd_metric *only,
	struct strbuf *out)
{
	int width = only ? 0 : width_of_names(now);

	for (size_t i = 0; i < vhostmd_snapshot_count(now); i++) {
		const struct vhostmd_metric *m = vhostmd_snapshot_at(now, i);
		double rate = 0;

		if (only ? m != only : !has_changed(before, m))
			continue;
		add_row(m, width, out);
		if (may_be_counter(before, now, m, &rate))
			strbuf_addf(out, "  (%+.6g/s)", rate);
		strbuf_addc(out, '\n');
	}
}

/* ---- JSON ---- */

void dump_json_real(double real, struct strbuf *out)
{
	char text[40];

	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, real);
		if (strtod(text, NULL) == real)
			break;
	}
	strbuf_adds(out, text);
}

static void add_json_value(const struct vhostmd_metric *m, struct strbuf *out)
{
	uint64_t u = 0;
	int64_t i = 0;
	double real = 0;

	switch (vhostmd_metric_type(m)) {
	case M_INT32:
	case M_INT64:
		(void)vhostmd_metric_i64(m, &i);
		strbuf_addf(out, "%" PRId64, i);
		break;
	case M_UINT32:
	case M_UINT64:
		(void)vhostmd_metric_u64(m, &u);
		strbuf_addf(out, "%" PRIu64, u);
		break;
	case M_REAL32:
	case M_REAL64:
		(void)vhostmd_metric_real(m, &real);
		dump_json_real(real, out);
		break;
	case M_STRING:
		text_add_json(vhostmd_metric_text(m), out);
		break;
	}
}

static void add_json_metric(const struct vhostmd_snapshot *s,
	const struct vhostmd_metric *m, struct strbuf *out)
{
	const char *unit = vhostmd_metric_unit(m);

	strbuf_addf(out, "    {\"context\": \"%s\", \"name\": ", context_name(m));
	text_add_json(vhostmd_metric_name(m), out);
	strbuf_adds(out, ", \"value\": ");
	add_json_value(m, out);
	if (*unit) {
		strbuf_adds(out, ", \"unit\": ");
		text_add_json(unit, out);
	}
	strbuf_addf(out, ", \"age\": %.3f}", vhostmd_metric_age(s, m));
}

void dump_json(const struct vhostmd_snapshot *s, struct strbuf *out)
{
	static const char *const freshness[] = {
		[VHOSTMD_UNKNOWN] = "unknown",
		[VHOSTMD_FRESH] = "fresh",
		[VHOSTMD_STOPPED] = "stopped",
	};
	const char *uuid = vhostmd_snapshot_uuid(s);
	uint64_t session = 0;

	strbuf_addf(out, "{\n  \"transport\": \"%s\",\n  \"path\": ",
		vhostmd_snapshot_is_channel(s) ? "channel" : "disk");
	text_add_json(vhostmd_snapshot_path(s), out);
	strbuf_addf(out, ",\n  \"freshness\": \"%s\",\n  \"age\": %.3f",
		freshness[vhostmd_snapshot_freshness(s)], vhostmd_snapshot_age(s));
	if (uuid) {
		strbuf_adds(out, ",\n  \"uuid\": ");
		text_add_json(uuid, out);
	}
	/* a text: it has more digits than many readers' numbers */
	if (vhostmd_snapshot_session(s, &session) == 0)
		strbuf_addf(out, ",\n  \"session\": \"%" PRIu64 "\"", session);
	strbuf_adds(out, ",\n  \"metrics\": [");
	for (size_t i = 0; i < vhostmd_snapshot_count(s); i++) {
		strbuf_adds(out, i ? ",\n" : "\n");
		add_json_metric(s, vhostmd_snapshot_at(s, i), out);
	}
	strbuf_adds(out, "\n  ]\n}\n");
}

/* ---- Prometheus ---- */

void dump_prometheus(const struct vhostmd_snapshot *s, struct strbuf *out)
{
	_cleanup_free_ struct told_metric *all = NULL;
	size_t n = told_metrics(s, &all);
	struct told_tree *tree = told_tree_new();

	told_tree_show(tree, all, n, vhostmd_snapshot_uuid(s), 0);
	told_tree_prometheus(tree, out);
	told_tree_free(tree);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What vm-dump-metrics prints of snapshots.  All append to @out; nothing fails but for want of
 * memory, which ends the program.  One thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct strbuf;
struct vhostmd_metric;
struct vhostmd_snapshot;

/* Text of the host's: line breaks and the like would look like other lines. */
void dump_printable(const char *text, struct strbuf *out);

/* A number of JSON's, the shortest that is the same. */
void dump_json_real(double real, struct strbuf *out);

/* A line for each metric: context, name, value, unit, in columns. */
void dump_table(const struct vhostmd_snapshot *s, struct strbuf *out);

/* One object: where it is from, and all metrics in the host's order. */
void dump_json(const struct vhostmd_snapshot *s, struct strbuf *out);

/* Prometheus' text format, with the names that the host's metrics.prom has where they are known. */
void dump_prometheus(const struct vhostmd_snapshot *s, struct strbuf *out);

/*
 * What changed between two snapshots, a line for each metric: context, name, value, unit, and the
 * rate of figures that grew.  @only: one metric, NULL: all.
 */
void dump_changes(const struct vhostmd_snapshot *before,
	const struct vhostmd_snapshot *now, const struct vhostmd_metric *only,
	struct strbuf *out);

/* What why_look() found, in words and as one object. */
struct why_report;
void dump_why(const struct why_report *r, struct strbuf *out);
void dump_why_json(const struct why_report *r, struct strbuf *out);

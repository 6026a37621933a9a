/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the host told this guest, between the library's types (vhostmd/metrics.h) and the daemon's
 * own (core/), which have the same names and cannot be in one file.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tree;
struct vhostmd_snapshot;

/* Texts are borrowed from the snapshot. */
struct told_metric {
	const char *name, *unit, *text;
	int type; /* as both number them */
	bool is_host;
	uint64_t u;
	int64_t i;
	double real;
};

/* All metrics of a snapshot, in its order.  Return: how many; the caller frees *@ret. */
size_t told_metrics(const struct vhostmd_snapshot *snapshot, struct told_metric **ret);

/* The host's model of what it told: a tree with the host and, where it is known, this VM. */
struct told_tree;

struct told_tree *told_tree_new(void);
void told_tree_free(struct told_tree *told); /* NULL is accepted */

/* Lives as long as @told; readers as in core/snapshot.h. */
struct tree *told_tree_readers(const struct told_tree *told);

/*
 * Shows these metrics instead of those before; what did not change keeps its time.  Of two with the
 * same name in one context the first is shown.  One thread.
 * @uuid: this VM's, NULL: unknown.  @time_ns: real time of the reading; grows.
 */
void told_tree_show(struct told_tree *told, const struct told_metric *metrics, size_t n,
	const char *uuid, int64_t time_ns);

/* Prometheus' text of what is shown, with the names that the host's metrics.prom has where they
 * are known. */
struct strbuf;
void told_tree_prometheus(const struct told_tree *told, struct strbuf *out);

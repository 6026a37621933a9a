/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What `vhostmdctl top` knows: the VMs, with figures, rates and the last minutes, made from what the
 * daemon's files metrics.prom and status said, one time after another.  Knows nothing of terminals
 * and opens nothing.  One thread.
 *
 * Rates are what a counter grew by between two samples, by the times at which these were taken,
 * not by when they were read.  What was not sampled anew keeps its rate and its baseline.  So each
 * VM has two times, of the fast lane and of the slow one, taken from status, and a document that
 * does not go with it (it may be somewhat older or newer) waits for the next time.
 *
 * What is not known is NAN.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "top_figures.h"

/* What the files said.  @prom, @status: one writable byte more than their sizes; are changed. */
struct top_sample {
	char *prom, *status;
	size_t prom_size, status_size;
	int64_t prom_real_ns, status_real_ns; /* their mtime */
	int64_t mono_ns, real_ns;             /* when they were read */
};

/* Something with figures, by their place in its scope. */
struct top_thing {
	char *name;
	double *now, *rate; /* each second, of counters */
	double *base;       /* the model's own, as is all below */
	uint64_t seen;
};

struct top_things {
	struct top_thing *at; /* as the daemon has them in order */
	size_t n, cap;
};

/* What is drawn of the last minutes. */
enum top_graph {
	GRAPH_CPU,
	GRAPH_STEAL,
	GRAPH_PRESSURE,
	GRAPH_BLOCK,
	GRAPH_NET,
	TOP_GRAPHS
};

enum { TOP_POINTS = 120 };

struct top_point {
	int64_t ns; /* monotonic */
	float value[TOP_GRAPHS];
};

struct top_vm {
	char *name, *uuid, *id; /* id: "" if it is not known */
	struct top_thing all;
	struct top_things things[TOP_SCOPES]; /* of vCPUs, disks and interfaces */
	int64_t sampled_ns;                   /* monotonic; 0: not known */
	bool stale, silent; /* not sampled lately; its monitor does not answer */
	struct top_point *points;
	size_t n_points, next_point; /* where the oldest is, once all are there */
	/* the model's own */
	uint64_t seen;
	bool by_kernel, is_new;
	int64_t slow_ns, base_ns[TOP_LANES], base_slow_ns;
};

struct top_model {
	struct top_vm **vms; /* by uuid */
	size_t n, cap;
	struct top_thing host;
	char *version;
	int64_t period_ns;  /* the daemon's; 0: not known */
	int64_t sampled_ns; /* last time of the fast lane, monotonic; 0: never */
	bool seen[TOP_SCOPES][TOP_VM_FIGURES]; /* anybody has the figure */
	/* the model's own */
	struct top_figures *figures;
	uint64_t updates;
	size_t cursor, vm_cursor;
	const char *family; /* of the line before, in the document */
	const struct top_figure *figure;
	bool wanted;
	int64_t fast_age_ms;
	unsigned unsure;
};

struct top_model *top_model_new(void);
void top_model_free(struct top_model *model); /* NULL is accepted */

enum top_news {
	TOP_OLD,    /* nothing was sampled by the fast lane since the last time */
	TOP_NEW,    /* something was */
	TOP_UNSURE, /* the documents do not go together: read them again, a moment later */
};

/* Takes in what was read. */
enum top_news top_model_update(struct top_model *model, struct top_sample *sample);

/* True of what was sampled so long ago that the daemon says so, too. */
bool top_is_stale(const struct top_model *model, int64_t sampled_ns, int64_t now_ns);

/* The point that is @back before the newest; NULL: there is none. */
const struct top_point *top_vm_point(const struct top_vm *vm, size_t back);

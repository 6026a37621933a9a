/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which samples a view has for Prometheus, and in which order they are written: each family's
 * together, families by name.  What a metric is called is found out once for each spec, or for
 * each name that an action prints: a figure.  Samples are no more than a few pointers each.
 * One thread at a time; everything is borrowed from the view but the tables themselves.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/prom_name.h"

struct metric;
struct metric_label;
struct view;

/* All samples of one name. */
struct prom_family {
	struct prom_family *next;        /* in its bucket */
	const struct prom_figure *first; /* of those that are called so */
	size_t n_figures;
	size_t at, n; /* its samples */
};

/* What metrics of one spec, or of one name that actions print, have in common. */
struct prom_figure {
	struct prom_figure *all;    /* the next of all */
	struct prom_figure *next;   /* in its bucket, of names that actions print */
	struct prom_family *family; /* NULL: left out */
	struct prom_name name;
	const struct metric_label *label; /* the first that was met; NULL: of vm_info */
	bool is_host, is_custom;
	uint64_t mul, div; /* from the value's unit to the family's */
	int decimals; /* div is ten to the power of that; -1: it is not, or mul is not 1 */
};

/* One line to be, or one label of an info's line. */
struct prom_sample {
	const struct prom_figure *figure;
	const struct metric *m; /* NULL: what the info of each VM has */
	uint32_t scope;         /* 0: the host; else of the VM before */
	uint32_t order;         /* in the view */
};

struct prom_samples {
	struct prom_sample *at; /* by family; of one in the view's order */
	size_t n;
	struct prom_family **families; /* by name */
	size_t n_families;
	struct prom_figure *figures;
};

/* All of what is available and not left out.  The caller frees by prom_samples_done(). */
struct prom_samples prom_samples_collect(const struct view *view);
void prom_samples_done(struct prom_samples *samples);

/*
 * Moves on to the next '*' of *@pattern and to what replaced it in *@source.
 * Return: false if there is no more.
 */
bool prom_next_place(const char **pattern, const char **source, size_t *ret_len);

/*
 * What tells a scope's samples of one family apart: the same text is the same thing.
 * Return: its length; in *@ret the text, borrowed.
 */
size_t prom_place(const struct prom_sample *sample, const char **ret);

/* Return: less than, equal to or greater than 0, by their places. */
int prom_compare_places(const struct prom_sample *x, const struct prom_sample *y);

/* Sorts a family's samples of one scope by place; those of one place keep their order. */
void prom_sort_places(struct prom_sample *at, size_t n);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The columns of `vhostmdctl top`, on the screen, in CSV and in JSON, and which VMs are shown in
 * which order.  Pure functions of the model.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "top_figures.h"

struct strbuf;
struct top_model;
struct top_thing;
struct top_vm;

enum top_column {
	COLUMN_NAME,
	COLUMN_STATE,
	COLUMN_VCPUS,
	COLUMN_CPU,
	COLUMN_STEAL,
	COLUMN_THROTTLED,
	COLUMN_MEMORY,
	COLUMN_PRESSURE,
	COLUMN_SWAP,
	COLUMN_READ,
	COLUMN_WRITTEN,
	COLUMN_REQUESTS,
	COLUMN_LATENCY,
	COLUMN_RECEIVED,
	COLUMN_SENT,
	COLUMN_AGE,
	TOP_COLUMNS
};

enum top_format {
	FORMAT_TEXT,
	FORMAT_NUMBER,
	FORMAT_PERCENT,
	FORMAT_SIZE, /* 1.5M: of 1024 */
	FORMAT_SECONDS,
	FORMAT_MS,
};

struct top_column_info {
	char key;          /* sorts by it; 0: none does */
	const char *sort;  /* for --sort */
	const char *title; /* on the screen */
	const char *field; /* in CSV and JSON */
	const char *help;
	const char *sources; /* any of which it needs; NULL: none */
	int width;
	enum top_format format;
};

extern const struct top_column_info top_columns[TOP_COLUMNS];

/* One of a vCPU, a disk or an interface. */
struct top_thing_column {
	const char *title;
	const char *field; /* in JSON */
	int width;
	enum top_format format;
	size_t figure; /* whose rate it is, of its scope's */
};

/* @scope: TOP_VCPU, TOP_DISK or TOP_NET; static. */
const struct top_thing_column *top_thing_columns(enum top_scope scope, size_t *ret_n);

/* NAN: not known. */
double top_thing_value(
	const struct top_thing *thing, const struct top_thing_column *column);

/* The number of a column; NAN: not known.  @now_ns: monotonic, for the age. */
double top_column_value(const struct top_vm *vm, enum top_column column, int64_t now_ns);

/* "running", "paused"...; "-": not known. */
const char *top_state(const struct top_vm *vm);

/* Appends a number as people read it, "-" for NAN. */
void top_format_add(double value, enum top_format format, struct strbuf *out);

/* The column of --sort; TOP_COLUMNS: there is none. */
enum top_column top_column_find(const char *sort);
enum top_column top_column_of_key(int key);

/* Appends the columns that nobody has a figure for, with the sources that they need. */
void top_lacking_add(
	const struct top_model *model, const char *between, struct strbuf *out);

/* Milliseconds that a request took on the average; NAN: there were none. */
double top_latency_ms(const struct top_thing *disks, size_t n);
double top_requests(const struct top_thing *disks, size_t n);

struct top_query {
	const char
		*filter; /* part of a name, or a pattern of it (util/glob.h); "": all */
	enum top_column sort;
	bool reverse; /* numbers begin with the greatest, names with the first */
};

/* The VMs that are asked for, in order.  *@ret is the caller's to free.  Return: how many. */
size_t top_select(const struct top_model *model, const struct top_query *query,
	int64_t now_ns, const struct top_vm ***ret);

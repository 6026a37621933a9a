/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of why.h share: figures of two snapshots, and how entries are made of them. */
#pragma once

#include <math.h>

#include "vhostmd/metrics.h"
#include "why.h"

/* % of time; vm-dump-metrics(1), WHAT HOLDS THE MACHINE BACK */
#define LOST_SOME 5.0
#define LOST_MUCH 10.0

/* vCPUs, disks: those with higher numbers are not looked at, whatever the host says. */
#define SUBJECTS_MAX 1024ul

/* In what a figure is had: s, bytes, %, a number; and what it is where it has no unit. */
enum base { BASE_NS, BASE_US, BASE_BYTES, BASE_KIB, BASE_PERCENT, BASE_NUMBER };

struct look {
	const struct vhostmd_snapshot *before, *now;
	struct why_report *report;
	double stopped; /* s, by the quota; 0 if that is not known */
};

static inline double smaller(double a, double b)
{
	return a < b ? a : b;
}

/*
 * A figure of this VM or of the host as it is now, and what a counter grew by.
 * Return: 0 or an error of the library's; VHOSTMD_ERR_RANGE: it cannot be true.
 */
int look_gauge(const struct look *l, const char *name, enum base base, double *ret);
int look_host_gauge(const struct look *l, const char *name, enum base base, double *ret);
int look_growth(const struct look *l, const char *name, enum base base, double *ret);
int look_host_growth(const struct look *l, const char *name, enum base base, double *ret);

/* A share of something, %. */
int look_percent(const struct look *l, const char *name, double *ret);

/* Where it is told: NAN if not. */
double look_gauge_or_nan(const struct look *l, const char *name, enum base base);

/* False if that much time cannot have passed on one processor. */
bool look_is_possible(const struct look *l, double time_s);

/*
 * Marks the numbers N of all metrics of this VM that are called @prefix N @suffix.
 * Return: how many there are.
 */
size_t look_mark_numbers(const struct look *l, const char *prefix, const char *suffix,
	bool seen[static SUBJECTS_MAX]);

/* Entries without figures, valid until the next one is added. */
struct why_entry *look_add(
	struct look *l, enum why_cause cause, enum why_degree degree, long number);
struct why_entry *look_add_unknown(struct look *l, enum why_cause cause,
	const char *lacking, int error, long number);

/* One that has its degree by the share of time that was lost, %. */
struct why_entry *look_add_lost(
	struct look *l, enum why_cause cause, double lost, long number);

enum why_degree look_degree(double value, double some, double much);

/* Another file's causes. */
void look_at_disks(struct look *l);

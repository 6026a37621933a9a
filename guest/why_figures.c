/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "core/unit.h"
#include "util/mem.h"
#include "util/parse.h"
#include "why_private.h"

/* A figure that is larger, in seconds or bytes, is no figure. */
#define VALUE_MAX 1e30

/* ---- figures ---- */

/* What one of the metric's unit is in ours; NAN: that cannot be said. */
static double scale_of(const struct vhostmd_metric *m, enum base base)
{
	static const struct {
		enum unit_dimension dimension;
		double own, ours; /* as struct unit counts */
	} bases[] = {
		[BASE_NS] = { DIMENSION_TIME, 1, 1e9 },
		[BASE_US] = { DIMENSION_TIME, 1e3, 1e9 },
		[BASE_BYTES] = { DIMENSION_BYTES, 1, 1 },
		[BASE_KIB] = { DIMENSION_BYTES, 1024, 1 },
		[BASE_PERCENT] = { DIMENSION_RATIO, 1, 1 },
		[BASE_NUMBER] = { DIMENSION_RATIO, 100, 100 },
	};
	const char *symbol = vhostmd_metric_unit(m);
	const struct unit *unit = *symbol ? unit_find(symbol) : NULL;

	if (*symbol && (!unit || unit->dimension != bases[base].dimension))
		return NAN;
	return (unit ? (double)unit->factor : bases[base].own) / bases[base].ours;
}

static int value_of(const struct vhostmd_metric *m, enum base base, double *ret)
{
	double value = 0;
	int r = vhostmd_metric_real(m, &value);

	if (r < 0)
		return r;
	value *= scale_of(m, base);
	if (!(value >= 0 && value <= VALUE_MAX))
		return VHOSTMD_ERR_RANGE;
	*ret = value;
	return 0;
}

static int gauge(const struct vhostmd_snapshot *s, metric_context context,
	const char *name, enum base base, double *ret)
{
	const struct vhostmd_metric *m = NULL;
	int r = vhostmd_find(s, context, name, &m);

	return r < 0 ? r : value_of(m, base, ret);
}

static int growth(const struct look *l, metric_context context, const char *name,
	enum base base, double *ret)
{
	double was = 0, is = 0;
	int r = gauge(l->now, context, name, base, &is);

	if (r == 0)
		r = gauge(l->before, context, name, base, &was);
	if (r < 0)
		return r;
	if (is < was)
		return VHOSTMD_ERR_RESET;
	*ret = is - was;
	return 0;
}

int look_gauge(const struct look *l, const char *name, enum base base, double *ret)
{
	return gauge(l->now, METRIC_CONTEXT_VM, name, base, ret);
}

int look_host_gauge(const struct look *l, const char *name, enum base base, double *ret)
{
	return gauge(l->now, METRIC_CONTEXT_HOST, name, base, ret);
}

int look_growth(const struct look *l, const char *name, enum base base, double *ret)
{
	return growth(l, METRIC_CONTEXT_VM, name, base, ret);
}

int look_host_growth(const struct look *l, const char *name, enum base base, double *ret)
{
	return growth(l, METRIC_CONTEXT_HOST, name, base, ret);
}

int look_percent(const struct look *l, const char *name, double *ret)
{
	double percent = 0;
	int r = look_gauge(l, name, BASE_PERCENT, &percent);

	if (r == 0 && percent > 100)
		r = VHOSTMD_ERR_RANGE;
	if (r == 0)
		*ret = percent;
	return r;
}

double look_gauge_or_nan(const struct look *l, const char *name, enum base base)
{
	double value = NAN;

	(void)look_gauge(l, name, base, &value);
	return value;
}

bool look_is_possible(const struct look *l, double time_s)
{
	/* a sample and the reading of it are not quite the same moment */
	return time_s <= 1.5 * (l->report->seconds + 1);
}

/* ---- names with a number in them ---- */

/* The number in a name; -1: it has another form, as has "vcpu.007.delay". */
static long number_in(const char *name, const char *prefix, const char *suffix)
{
	size_t skip = strlen(prefix);
	uint64_t number = 0;

	if (strncmp(name, prefix, skip) != 0)
		return -1;
	const char *at = name + skip;

	if ((at[0] == '0' && at[1] != '.') || parse_u64_at(&at, &number) < 0 ||
		number >= SUBJECTS_MAX || strcmp(at, suffix) != 0)
		return -1;
	return (long)number;
}

size_t look_mark_numbers(const struct look *l, const char *prefix, const char *suffix,
	bool seen[static SUBJECTS_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < vhostmd_snapshot_count(l->now); i++) {
		const struct vhostmd_metric *m = vhostmd_snapshot_at(l->now, i);
		long number = vhostmd_metric_context(m) == METRIC_CONTEXT_VM
			? number_in(vhostmd_metric_name(m), prefix, suffix)
			: -1;

		if (number < 0 || seen[number])
			continue;
		seen[number] = true;
		n++;
	}
	return n;
}

/* ---- entries ---- */

enum why_degree look_degree(double value, double some, double much)
{
	return value >= much ? WHY_MUCH : value >= some ? WHY_SOME : WHY_NONE;
}

struct why_entry *look_add(
	struct look *l, enum why_cause cause, enum why_degree degree, long number)
{
	struct why_report *r = l->report;

	r->entries = xgrow(r->entries, r->n, &r->cap, sizeof(*r->entries));
	struct why_entry *e = &r->entries[r->n++];

	*e = (struct why_entry){ .cause = cause, .degree = degree, .number = number };
	for (size_t i = 0; i < WHY_FIGURE_COUNT; i++)
		e->figures[i] = NAN;
	return e;
}

struct why_entry *look_add_unknown(
	struct look *l, enum why_cause cause, const char *lacking, int error, long number)
{
	struct why_entry *e = look_add(l, cause, WHY_UNKNOWN, number);

	snprintf(e->metric, sizeof(e->metric), "%s", lacking);
	e->error = error;
	return e;
}

struct why_entry *look_add_lost(
	struct look *l, enum why_cause cause, double lost, long number)
{
	struct why_entry *e =
		look_add(l, cause, look_degree(lost, LOST_SOME, LOST_MUCH), number);

	e->figures[WHY_LOST] = lost;
	return e;
}

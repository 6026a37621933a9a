/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How the degrees come about.  WHY_LOST is a share of time wherever time is lost, so that one
 * pair of limits does for all of them:
 *
 *   steal         waited / seconds, of each vCPU; less what the quota stopped, which the kernel
 *                 counts as waiting, too
 *   quota         stopped / (stopped + ran), if that is worth a twentieth of a processor
 *   memory        the pressure of the VM's cgroup; where it is not told it is at most the host's
 *   disk latency  time with requests of a kind outstanding / seconds, if they take long
 *   disk limit    time with requests outstanding / seconds, if the limit is reached
 *   host steal    stolen / (seconds * CPUs)
 *
 * A balloon loses no time that the host could see: there it is the share of the memory.  That a
 * host promised more than it has holds nobody back who does not wait: host CPU and host memory
 * say why there is steal or pressure, and have the degree of that.
 */
#include "why.h"

#include <stdio.h>
#include <stdlib.h>

#include "util/cleanup.h"
#include "why_private.h"

#define BALLOON_SOME 5.0 /* % of the memory */
#define BALLOON_MUCH 25.0
#define HOST_IS_BUSY 90.0 /* % of its CPUs */

/* ---- processors ---- */

/* How long all vCPUs ran; NAN if not all of them are told. */
static double all_ran(const struct look *l)
{
	bool seen[SUBJECTS_MAX] = { 0 };
	double sum = 0;

	if (!look_mark_numbers(l, "vcpu.", ".time", seen))
		return NAN;
	for (unsigned long i = 0; i < SUBJECTS_MAX; i++) {
		char name[40];
		double ran = 0;

		snprintf(name, sizeof(name), "vcpu.%lu.time", i);
		int r = seen[i] ? look_growth(l, name, BASE_NS, &ran)
				: VHOSTMD_ERR_NO_METRIC;

		if (r < 0 && r != VHOSTMD_ERR_NO_METRIC)
			return NAN;
		sum += ran;
	}
	return sum;
}

/* How long the quota stopped the VM, by the counter or else by the rate of the last period. */
static int find_stopped(const struct look *l, double *ret, const char **ret_metric)
{
	double vcpus = 0, percent = 0;

	*ret_metric = "cgroup.cpu.throttled.time";
	int r = look_growth(l, *ret_metric, BASE_NS, ret);

	/* of all processors on which the VM, or who shares a quota with it, was stopped */
	if (r == 0 && !look_is_possible(l, *ret / SUBJECTS_MAX))
		r = VHOSTMD_ERR_RANGE;
	if (r != VHOSTMD_ERR_NO_METRIC)
		return r;
	*ret_metric = "usage.throttled";
	r = look_percent(l, *ret_metric, &percent);
	if (r < 0 || percent == 0)
		return r;
	*ret_metric = "vcpu.current";
	r = look_gauge(l, *ret_metric, BASE_NUMBER, &vcpus);
	if (r == 0)
		*ret = percent / 100 * vcpus * l->report->seconds;
	return r;
}

/* The VM may keep all its vCPUs busy: nothing is there that would stop it, or be told. */
static bool has_no_quota(const struct look *l)
{
	double limit = 0, vcpus = 0;

	return look_gauge(l, "domain.cpu.limit", BASE_NUMBER, &limit) == 0 &&
		look_gauge(l, "vcpu.current", BASE_NUMBER, &vcpus) == 0 && vcpus >= 1 &&
		limit >= vcpus;
}

/* Before steal, which is less what this finds. */
static void look_at_quota(struct look *l)
{
	const char *lacking = NULL;
	double stopped = 0, ran = all_ran(l), lost = 0;
	int r = find_stopped(l, &stopped, &lacking);

	if (r < 0 && (r != VHOSTMD_ERR_NO_METRIC || !has_no_quota(l))) {
		(void)look_add_unknown(l, WHY_QUOTA, lacking, r, -1);
		return;
	}
	l->stopped = stopped;
	if (stopped >= LOST_SOME / 100 * l->report->seconds)
		lost = isnan(ran) ? smaller(100, 100 * stopped / l->report->seconds)
				  : 100 * stopped / (stopped + ran);
	struct why_entry *e = look_add_lost(l, WHY_QUOTA, lost, -1);

	e->figures[WHY_STOPPED] = stopped;
	e->figures[WHY_RAN] = ran;
	e->figures[WHY_LIMIT_CPUS] =
		look_gauge_or_nan(l, "domain.cpu.limit", BASE_NUMBER);
}

/*
 * Which share of the waiting is not the quota's.  The host tells of the VM as a whole what that
 * stopped, so all its vCPUs get the same share.
 */
static double share_of_steal(const struct look *l, double all_waited)
{
	return all_waited > l->stopped ? 1 - l->stopped / all_waited : 0;
}

/* Without figures of each vCPU. */
static void look_at_all_steal(struct look *l)
{
	const char *lacking = "usage.steal";
	double percent = 0, vcpus = 0;
	int r = look_percent(l, lacking, &percent);

	if (r == VHOSTMD_ERR_NO_METRIC)
		lacking = "vcpu.*.delay";
	if (r == 0 && l->stopped > 0) {
		lacking = "vcpu.current";
		r = look_gauge(l, lacking, BASE_NUMBER, &vcpus);
		percent *= share_of_steal(l, percent / 100 * vcpus * l->report->seconds);
	}
	if (r < 0)
		(void)look_add_unknown(l, WHY_STEAL, lacking, r, -1);
	else
		(void)look_add_lost(l, WHY_STEAL, percent, -1);
}

/* Return: 0 or why it is not known how long this vCPU waited. */
static int vcpu_waited(const struct look *l, const char *name, double *ret)
{
	int r = look_growth(l, name, BASE_NS, ret);

	return r == 0 && !look_is_possible(l, *ret) ? VHOSTMD_ERR_RANGE : r;
}

static void add_vcpu(struct look *l, unsigned long i, double waited)
{
	double ran = NAN;
	char name[40];

	snprintf(name, sizeof(name), "vcpu.%lu.time", i);
	(void)look_growth(l, name, BASE_NS, &ran);
	struct why_entry *e = look_add_lost(
		l, WHY_STEAL, smaller(100, 100 * waited / l->report->seconds), (long)i);

	e->figures[WHY_WAITED] = waited;
	e->figures[WHY_RAN] = ran;
}

static void look_at_steal(struct look *l)
{
	bool seen[SUBJECTS_MAX] = { 0 };
	double waited[SUBJECTS_MAX] = { 0 }, sum = 0;
	int errors[SUBJECTS_MAX];
	size_t first = l->report->n;
	char name[40];

	if (!look_mark_numbers(l, "vcpu.", ".delay", seen)) {
		look_at_all_steal(l);
		return;
	}
	for (unsigned long i = 0; i < SUBJECTS_MAX; i++) {
		snprintf(name, sizeof(name), "vcpu.%lu.delay", i);
		errors[i] = seen[i] ? vcpu_waited(l, name, &waited[i])
				    : VHOSTMD_ERR_NO_METRIC;
		sum += errors[i] == 0 ? waited[i] : 0;
	}
	double share = share_of_steal(l, sum);

	for (unsigned long i = 0; i < SUBJECTS_MAX; i++) {
		snprintf(name, sizeof(name), "vcpu.%lu.delay", i);
		if (errors[i] == 0)
			add_vcpu(l, i, share * waited[i]);
		else if (errors[i] != VHOSTMD_ERR_NO_METRIC) /* it was plugged in since */
			(void)look_add_unknown(l, WHY_STEAL, name, errors[i], (long)i);
	}
	if (l->report->n == first)
		(void)look_add_unknown(
			l, WHY_STEAL, "vcpu.*.delay", VHOSTMD_ERR_NO_METRIC, -1);
}

/* ---- memory ---- */

/* Share of the time in which something of the VM waited for memory, %. */
static int find_pressure(const struct look *l, const char **ret_metric, double *ret)
{
	double waited = 0;

	*ret_metric = "pressure.memory.some.total";
	int r = look_growth(l, *ret_metric, BASE_US, &waited);

	if (r == VHOSTMD_ERR_NO_METRIC) {
		*ret_metric = "usage.memory.pressure";
		return look_percent(l, *ret_metric, ret);
	}
	if (r == 0 && !look_is_possible(l, waited))
		r = VHOSTMD_ERR_RANGE;
	if (r == 0)
		*ret = smaller(100, 100 * waited / l->report->seconds);
	return r;
}

static double host_pressure(const struct look *l)
{
	double pressure = NAN;

	(void)look_host_gauge(
		l, "host.pressure.memory.some.avg10", BASE_PERCENT, &pressure);
	return pressure <= 100 ? pressure : NAN;
}

static void look_at_memory(struct look *l)
{
	const char *lacking = NULL;
	double pressure = 0, hosts = host_pressure(l);
	int r = find_pressure(l, &lacking, &pressure);

	/* who is a part of the host waits no longer than something on the host does */
	if (r == VHOSTMD_ERR_NO_METRIC && hosts < LOST_SOME) {
		pressure = hosts;
		r = 0;
	}
	struct why_entry *e = r == 0 ? look_add_lost(l, WHY_MEMORY, pressure, -1)
				     : look_add_unknown(l, WHY_MEMORY, lacking, r, -1);

	e->figures[WHY_RESIDENT] = look_gauge_or_nan(l, "balloon.rss", BASE_KIB);
	e->figures[WHY_HARD_LIMIT] = look_gauge_or_nan(l, "memtune.hard_limit", BASE_KIB);
}

static void look_at_balloon(struct look *l)
{
	static const char *const names[] = { "balloon.current", "balloon.maximum" };
	double bytes[ARRAY_LEN(names)] = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		int r = look_gauge(l, names[i], BASE_KIB, &bytes[i]);

		if (r == 0 && bytes[i] == 0)
			r = VHOSTMD_ERR_RANGE;
		if (r < 0) {
			(void)look_add_unknown(l, WHY_BALLOON, names[i], r, -1);
			return;
		}
	}
	double taken = bytes[0] < bytes[1] ? 100 * (1 - bytes[0] / bytes[1]) : 0;
	struct why_entry *e = look_add(
		l, WHY_BALLOON, look_degree(taken, BALLOON_SOME, BALLOON_MUCH), -1);

	e->figures[WHY_LOST] = taken;
	e->figures[WHY_CURRENT] = bytes[0];
	e->figures[WHY_MAXIMUM] = bytes[1];
	e->figures[WHY_USABLE] = look_gauge_or_nan(l, "balloon.usable", BASE_KIB);
}

/* ---- the host ---- */

/* One of the host's figures under the name of its source or that of the shipped configuration. */
static int host_either(const struct look *l,
	int (*look)(const struct look *, const char *, enum base, double *),
	const char *source, const char *usual, enum base base, double *ret)
{
	int r = look(l, source, base, ret);

	return r == VHOSTMD_ERR_NO_METRIC ? look(l, usual, base, ret) : r;
}

/* All seconds that the host's CPUs had. */
static double host_seconds(const struct look *l)
{
	double cpus = 0;

	return host_either(l, look_host_gauge, "host.cpu.count", "TotalPhyCPUs",
		       BASE_NUMBER, &cpus) == 0 &&
			cpus >= 1
		? cpus * l->report->seconds
		: NAN;
}

/* How busy the host's CPUs were, %; NAN: not known. */
static double host_busy(const struct look *l)
{
	double worked = 0, seconds = host_seconds(l);

	if (host_either(l, look_host_growth, "host.cpu.time", "TotalCPUTime", BASE_NS,
		    &worked) < 0 ||
		isnan(seconds))
		return NAN;
	return smaller(100, 100 * worked / seconds);
}

/* More is promised than there is, and all that there is is in use. */
static void look_at_host_cpus(struct look *l)
{
	enum why_degree steal = why_degree_of(l->report, WHY_STEAL);
	double overcommit = NAN, busy = host_busy(l);
	int r = look_host_gauge(l, "host.overcommit.cpu", BASE_NUMBER, &overcommit);

	if (steal >= WHY_SOME && (r < 0 || (isnan(busy) && overcommit > 1))) {
		(void)look_add_unknown(l, WHY_HOST_CPU,
			r < 0 ? "host.overcommit.cpu" : "host.cpu.time",
			r < 0 ? r : VHOSTMD_ERR_NO_METRIC, -1);
		return;
	}
	bool is_cause = steal >= WHY_SOME && overcommit > 1 && busy >= HOST_IS_BUSY;
	struct why_entry *e = look_add(l, WHY_HOST_CPU, is_cause ? steal : WHY_NONE, -1);

	e->figures[WHY_OVERCOMMIT] = overcommit;
	e->figures[WHY_HOST_BUSY] = busy;
}

static void look_at_host_steal(struct look *l)
{
	double stolen = 0, seconds = host_seconds(l);
	int r = look_host_growth(l, "host.cpu.steal", BASE_NS, &stolen);

	if (r == 0 && isnan(seconds)) {
		(void)look_add_unknown(
			l, WHY_HOST_STEAL, "host.cpu.count", VHOSTMD_ERR_NO_METRIC, -1);
		return;
	}
	if (r == 0 && !look_is_possible(l, stolen / seconds * l->report->seconds))
		r = VHOSTMD_ERR_RANGE;
	if (r < 0)
		(void)look_add_unknown(l, WHY_HOST_STEAL, "host.cpu.steal", r, -1);
	else
		(void)look_add_lost(
			l, WHY_HOST_STEAL, smaller(100, 100 * stolen / seconds), -1);
}

/* Why the VM waits for memory; and where it is not known that it does, that it may. */
static void look_at_host_memory(struct look *l)
{
	enum why_degree memory = why_degree_of(l->report, WHY_MEMORY), degree = WHY_NONE;
	double overcommit = NAN, pressure = host_pressure(l);
	int r = look_host_gauge(l, "host.overcommit.memory", BASE_NUMBER, &overcommit);

	if (memory != WHY_NONE && isnan(pressure) && (r < 0 || memory == WHY_UNKNOWN)) {
		(void)look_add_unknown(l, WHY_HOST_MEMORY,
			"host.pressure.memory.some.avg10", VHOSTMD_ERR_NO_METRIC, -1);
		return;
	}
	if (memory == WHY_UNKNOWN)
		degree = look_degree(pressure, LOST_SOME, LOST_MUCH);
	else if (overcommit > 1 || pressure >= LOST_SOME)
		degree = memory;
	struct why_entry *e = look_add(l, WHY_HOST_MEMORY, degree, -1);

	e->figures[WHY_OVERCOMMIT] = overcommit;
	e->figures[WHY_HOST_PRESSURE] = pressure;
}

/* ---- the report ---- */

/* What is bad is bad, whatever else is not known. */
static enum why_degree worse(enum why_degree a, enum why_degree b)
{
	if (a >= WHY_SOME || b >= WHY_SOME)
		return a > b ? a : b;
	return a < b ? a : b;
}

enum why_degree why_degree_of(const struct why_report *r, enum why_cause cause)
{
	enum why_degree degree = WHY_NONE;
	bool any = false;

	for (size_t i = 0; i < r->n; i++) {
		if (r->entries[i].cause != cause)
			continue;
		degree = worse(degree, r->entries[i].degree);
		any = true;
	}
	return any ? degree : WHY_UNKNOWN;
}

enum why_degree why_verdict(const struct why_report *r)
{
	enum why_degree degree = WHY_NONE;

	for (int cause = 0; cause < WHY_CAUSE_COUNT; cause++)
		degree = worse(degree, why_degree_of(r, (enum why_cause)cause));
	return degree;
}

void why_look(const struct vhostmd_snapshot *before, const struct vhostmd_snapshot *now,
	struct why_report *ret)
{
	struct why_report report = { .error = vhostmd_deltas_valid(before, now) };
	struct look look = { .before = before, .now = now, .report = &report };
	uint64_t session = 0;

	if (report.error == 0)
		report.error = vhostmd_snapshot_session(now, &session);
	if (report.error == 0) {
		report.seconds = vhostmd_elapsed(before, now);
		if (!(report.seconds > 0 && report.seconds < 1e9))
			report.error = VHOSTMD_ERR_RANGE;
	}
	if (report.error == 0) {
		look_at_quota(&look);
		look_at_steal(&look);
		look_at_memory(&look);
		look_at_balloon(&look);
		look_at_disks(&look);
		look_at_host_cpus(&look);
		look_at_host_steal(&look);
		look_at_host_memory(&look);
	}
	*ret = report;
}

void why_done(struct why_report *r)
{
	free(r->entries);
	*r = (struct why_report){ 0 };
}

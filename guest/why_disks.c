/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Disks: latency, and limits (libvirt's iotune).  The host has their figures from the VM's
 * monitor, seldomer than the rest, so they are of a time of their own: sample.slow.age says of
 * both snapshots how long before them that was.
 *
 * Requests that wait because of a limit are outstanding meanwhile, so they seem to take long; a
 * disk whose limit is reached has no other fault as far as can be seen.
 */
#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"
#include "why_private.h"

#define LATENCY_SOME_S 0.020
#define LATENCY_MUCH_S 0.050
#define AT_LIMIT 90.0   /* % of it */
#define NEAR_LIMIT 50.0 /* where requests take long: in bursts it is reached */
/* Of the time between the snapshots, at least: else the host has not looked again. */
#define SEEN_MIN 0.25

enum kind { KIND_READS, KIND_WRITES, KIND_FLUSHES, KIND_COUNT };

static const struct {
	const char *name, *prefix;
} kinds[] = {
	[KIND_READS] = { "reads", "rd" },
	[KIND_WRITES] = { "writes", "wr" },
	[KIND_FLUSHES] = { "flushes", "fl" },
};

/* What a limit is of. */
static const struct {
	const char *name;
	bool bytes, reads, writes;
} limits[] = {
	{ "total_bytes_sec", true, true, true },
	{ "read_bytes_sec", true, true, false },
	{ "write_bytes_sec", true, false, true },
	{ "total_iops_sec", false, true, true },
	{ "read_iops_sec", false, true, false },
	{ "write_iops_sec", false, false, true },
};

struct disk {
	unsigned long number;
	double seconds; /* that its figures are of */
	double requests[KIND_COUNT], bytes[KIND_COUNT], times[KIND_COUNT];
	int worst;   /* of kinds: that which takes longest, and often enough to matter */
	double busy; /* s with requests outstanding, several at once added up */
	bool is_slow;
};

/* ---- reading ---- */

static const char *name_of(char buf[static 64], unsigned long number, const char *what)
{
	snprintf(buf, 64, "block.%lu.%s", number, what);
	return buf;
}

static int read_kind(const struct look *l, struct disk *d, enum kind kind,
	const char *what, enum base base, double *ret, char lacking[static 64])
{
	char suffix[32];

	snprintf(suffix, sizeof(suffix), "%s.%s", kinds[kind].prefix, what);
	return look_growth(l, name_of(lacking, d->number, suffix), base, ret);
}

/* Return: 0 or an error; @metric: which one it is then. */
static int read_disk(const struct look *l, struct disk *d, char lacking[static 64])
{
	for (int k = 0; k < KIND_COUNT; k++) {
		enum kind kind = (enum kind)k;
		int r = read_kind(
			l, d, kind, "reqs", BASE_NUMBER, &d->requests[k], lacking);

		if (r == 0)
			r = read_kind(
				l, d, kind, "times", BASE_NS, &d->times[k], lacking);
		/* not every host tells of flushes */
		if (r == VHOSTMD_ERR_NO_METRIC && kind == KIND_FLUSHES)
			d->requests[k] = d->times[k] = r = 0;
		if (r < 0)
			return r;
		/* only for limits */
		if (kind != KIND_FLUSHES &&
			read_kind(l, d, kind, "bytes", BASE_BYTES, &d->bytes[k],
				(char[64]){ 0 }) < 0)
			d->bytes[k] = NAN;
		d->busy += d->times[k];
	}
	return 0;
}

/* How much time the figures are of.  Return: 0, or SAME_SAMPLE: the host did not look again. */
static int find_seconds(const struct look *l, double *ret)
{
	struct look then = { .now = l->before };
	double age = 0, was = 0;
	double seconds = l->report->seconds;

	if (look_gauge(l, "sample.slow.age", BASE_NS, &age) == 0 &&
		look_gauge(&then, "sample.slow.age", BASE_NS, &was) == 0)
		seconds -= age - was;
	if (seconds < SEEN_MIN * l->report->seconds)
		return VHOSTMD_ERR_SAME_SAMPLE;
	*ret = seconds;
	return 0;
}

/* ---- judging ---- */

static double latency(const struct disk *d, int kind)
{
	return d->requests[kind] > 0 ? d->times[kind] / d->requests[kind] : 0;
}

/* Share of the time with so much outstanding, %. */
static double lost(const struct disk *d, double time_s)
{
	return smaller(100, 100 * time_s / d->seconds);
}

/* The kind that takes longest among those that matter, or among all. */
static void find_worst(struct disk *d)
{
	bool matters = false;

	d->worst = KIND_READS;
	for (int k = 0; k < KIND_COUNT; k++) {
		bool often = lost(d, d->times[k]) >= LOST_SOME;

		if (often < matters ||
			(often == matters && latency(d, k) <= latency(d, d->worst)))
			continue;
		matters = often;
		d->worst = k;
	}
	d->is_slow = matters && latency(d, d->worst) >= LATENCY_SOME_S;
}

static double amount(const struct disk *d, size_t i)
{
	const double *figures = limits[i].bytes ? d->bytes : d->requests;

	return (limits[i].reads ? figures[KIND_READS] : 0) +
		(limits[i].writes ? figures[KIND_WRITES] : 0);
}

static void set_device(const struct look *l, const struct disk *d, struct why_entry *e)
{
	const char *device = "";
	char name[64];

	(void)vhostmd_get_text(
		l->now, METRIC_CONTEXT_VM, name_of(name, d->number, "name"), &device);
	snprintf(e->device, sizeof(e->device), "%s", device);
}

static void set_latency(const struct disk *d, struct why_entry *e)
{
	e->kind = kinds[d->worst].name;
	e->figures[WHY_LATENCY] = latency(d, d->worst);
	e->figures[WHY_REQUESTS] = d->requests[d->worst];
}

/* Looks at its limits.  Return: true if one of them is why requests wait. */
static bool look_at_limits(struct look *l, const struct disk *d)
{
	double used = -1, rate = NAN, limit = NAN;
	size_t which = 0, known = 0;
	char name[64], suffix[40];

	for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
		double value = 0, part = 0;

		snprintf(suffix, sizeof(suffix), "iotune.%s", limits[i].name);
		int r = look_gauge(l, name_of(name, d->number, suffix),
			limits[i].bytes ? BASE_BYTES : BASE_NUMBER, &value);

		known += r == 0 || r == VHOSTMD_ERR_UNLIMITED;
		if (r == 0 && (value == 0 || isnan(amount(d, i))))
			r = VHOSTMD_ERR_RANGE;
		if (r < 0 && r != VHOSTMD_ERR_UNLIMITED && r != VHOSTMD_ERR_NO_METRIC) {
			(void)look_add_unknown(
				l, WHY_DISK_LIMIT, name, r, (long)d->number);
			return false;
		}
		part = r == 0 ? 100 * amount(d, i) / d->seconds / value : -1;
		if (part <= used)
			continue;
		used = part;
		which = i;
		limit = value;
		rate = amount(d, i) / d->seconds;
	}
	if (!known) {
		(void)look_add_unknown(l, WHY_DISK_LIMIT,
			name_of(name, d->number, "iotune.*"), VHOSTMD_ERR_NO_METRIC,
			(long)d->number);
		return false;
	}
	bool reached = used >= (d->is_slow ? NEAR_LIMIT : AT_LIMIT);
	struct why_entry *e = look_add_lost(
		l, WHY_DISK_LIMIT, reached ? lost(d, d->busy) : 0, (long)d->number);

	set_device(l, d, e);
	set_latency(d, e);
	if (used >= 0) {
		e->limit = limits[which].name;
		e->figures[WHY_RATE] = rate;
		e->figures[WHY_LIMIT] = limit;
	}
	return e->degree >= WHY_SOME;
}

static void add_latency(struct look *l, const struct disk *d, bool is_limited)
{
	enum why_degree degree = is_limited || !d->is_slow
		? WHY_NONE
		: look_degree(latency(d, d->worst), LATENCY_SOME_S, LATENCY_MUCH_S);
	struct why_entry *e = look_add(l, WHY_DISK_LATENCY, degree, (long)d->number);

	set_device(l, d, e);
	set_latency(d, e);
	e->figures[WHY_LOST] = lost(d, d->times[d->worst]);
}

/* The same for both causes. */
static void add_both_unknown(
	struct look *l, const char *lacking, int error, bool is_stale, long number)
{
	static const enum why_cause causes[] = { WHY_DISK_LATENCY, WHY_DISK_LIMIT };

	for (size_t i = 0; i < ARRAY_LEN(causes); i++)
		look_add_unknown(l, causes[i], lacking, error, number)->is_stale =
			is_stale;
}

static void look_at_disk(struct look *l, unsigned long number, double seconds)
{
	struct disk d = { .number = number, .seconds = seconds };
	char lacking[64];
	int r = read_disk(l, &d, lacking);

	if (r < 0) {
		add_both_unknown(l, lacking, r, false, (long)number);
		return;
	}
	find_worst(&d);
	bool is_limited = look_at_limits(l, &d);

	add_latency(l, &d, is_limited);
}

void look_at_disks(struct look *l)
{
	static const char *const told[] = { ".rd.reqs", ".rd.times", ".rd.bytes",
		".wr.bytes" };
	bool seen[SUBJECTS_MAX] = { 0 };
	double seconds = 0, stale = 0, count = -1;
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(told); i++)
		n += look_mark_numbers(l, "block.", told[i], seen);
	if (!n) {
		if (look_gauge(l, "block.count", BASE_NUMBER, &count) == 0 &&
			count == 0) {
			(void)look_add(l, WHY_DISK_LATENCY, WHY_NONE, -1);
			(void)look_add(l, WHY_DISK_LIMIT, WHY_NONE, -1);
		} else {
			add_both_unknown(
				l, "block.*.rd.times", VHOSTMD_ERR_NO_METRIC, false, -1);
		}
		return;
	}
	int r = find_seconds(l, &seconds);

	(void)look_gauge(l, "sample.stale", BASE_NUMBER, &stale);
	if (r < 0 || stale > 0) {
		add_both_unknown(
			l, "block.*.rd.times", VHOSTMD_ERR_SAME_SAMPLE, stale > 0, -1);
		return;
	}
	for (unsigned long i = 0; i < SUBJECTS_MAX; i++)
		if (seen[i])
			look_at_disk(l, i, seconds);
}

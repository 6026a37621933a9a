/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What why_look() found, for people and for programs. */
#include <assert.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "dump.h"
#include "util/cleanup.h"
#include "util/strbuf.h"
#include "util/text.h"
#include "vhostmd/metrics.h"
#include "why.h"

#define MIB (1024.0 * 1024)

static const char *const cause_names[] = {
	[WHY_STEAL] = "cpu steal",
	[WHY_QUOTA] = "cpu quota",
	[WHY_MEMORY] = "memory pressure",
	[WHY_BALLOON] = "balloon",
	[WHY_DISK_LATENCY] = "disk latency",
	[WHY_DISK_LIMIT] = "disk limit",
	[WHY_HOST_CPU] = "host cpu",
	[WHY_HOST_STEAL] = "host steal",
	[WHY_HOST_MEMORY] = "host memory",
};
static_assert(ARRAY_LEN(cause_names) == WHY_CAUSE_COUNT, "a name for each cause");

static const char *const degree_names[] = {
	[WHY_UNKNOWN] = "unknown",
	[WHY_NONE] = "none",
	[WHY_SOME] = "some",
	[WHY_MUCH] = "much",
};

/* ---- sentences ---- */

/* Three digits or more of it, and never an exponent. */
static void add_number(double number, struct strbuf *out)
{
	strbuf_addf(out, "%.*f", number < 10 ? 2 : number < 100 ? 1 : 0, number);
}

/* "vCPU 3 ", "disk vdb (block.1): "; nothing for the whole VM. */
static void add_subject(const struct why_entry *e, struct strbuf *out)
{
	if (e->number < 0)
		return;
	if (e->cause == WHY_STEAL) {
		strbuf_addf(out, "vCPU %ld ", e->number);
		return;
	}
	strbuf_adds(out, "disk ");
	if (*e->device) {
		dump_printable(e->device, out);
		strbuf_addf(out, " (block.%ld): ", e->number);
	} else {
		strbuf_addf(out, "block.%ld: ", e->number);
	}
}

static void say_steal(const struct why_entry *e, struct strbuf *out)
{
	const double *f = e->figures;

	if (e->number < 0)
		strbuf_adds(out, "vCPUs ");
	strbuf_addf(out, "waited %.1f %% of the time for a processor of the host",
		f[WHY_LOST]);
	if (!isnan(f[WHY_WAITED]))
		strbuf_addf(out, ": %.2f s", f[WHY_WAITED]);
	if (!isnan(f[WHY_RAN]))
		strbuf_addf(out, "; it ran %.2f s", f[WHY_RAN]);
}

static void say_quota(const struct why_entry *e, struct strbuf *out)
{
	const double *f = e->figures;

	if (f[WHY_STOPPED] > 0)
		strbuf_addf(out, "its CPU quota stopped it for %.2f s", f[WHY_STOPPED]);
	else
		strbuf_adds(out, "no quota stopped it");
	if (e->degree >= WHY_SOME)
		strbuf_addf(out, ", %.0f %% of what it would have run", f[WHY_LOST]);
	if (!isnan(f[WHY_LIMIT_CPUS]))
		strbuf_addf(out, "; it may keep %.6g of the host's CPUs busy",
			f[WHY_LIMIT_CPUS]);
}

static void say_memory(const struct why_entry *e, struct strbuf *out)
{
	const double *f = e->figures;

	strbuf_addf(out, "waited for memory of the host at most %.1f %% of the time",
		f[WHY_LOST]);
	if (!isnan(f[WHY_RESIDENT]))
		strbuf_addf(out, "; it has %.0f MiB there", f[WHY_RESIDENT] / MIB);
	if (!isnan(f[WHY_HARD_LIMIT]))
		strbuf_addf(out, ", and may have %.0f", f[WHY_HARD_LIMIT] / MIB);
}

static void say_balloon(const struct why_entry *e, struct strbuf *out)
{
	const double *f = e->figures;
	double taken = f[WHY_MAXIMUM] - f[WHY_CURRENT];

	strbuf_addf(out, "the balloon has taken %.0f of %.0f MiB",
		taken > 0 ? taken / MIB : 0, f[WHY_MAXIMUM] / MIB);
	if (e->degree >= WHY_SOME)
		strbuf_addf(out, " (%.0f %%)", f[WHY_LOST]);
	if (!isnan(f[WHY_USABLE]))
		strbuf_addf(out, "; %.0f of the others are free", f[WHY_USABLE] / MIB);
}

/* "310 reads took 0.52 ms on average" */
static void add_mean(const struct why_entry *e, struct strbuf *out)
{
	strbuf_addf(out, "%.0f %s took ", e->figures[WHY_REQUESTS], e->kind);
	add_number(1e3 * e->figures[WHY_LATENCY], out);
	strbuf_adds(out, " ms on average");
}

static void say_latency(const struct why_entry *e, struct strbuf *out)
{
	const double *f = e->figures;

	if (e->number < 0)
		strbuf_adds(out, "there is no disk");
	else if (!(f[WHY_REQUESTS] > 0))
		strbuf_adds(out, "no requests");
	else
		add_mean(e, out);
}

static void say_limit(const struct why_entry *e, struct strbuf *out)
{
	const double *f = e->figures;

	if (!e->limit) {
		strbuf_adds(out, e->number < 0 ? "there is no disk" : "no limit is set");
		return;
	}
	add_number(f[WHY_RATE], out);
	strbuf_adds(out, " of ");
	add_number(f[WHY_LIMIT], out);
	strbuf_addf(out, " permitted (%s)", e->limit);
	if (e->degree < WHY_SOME)
		return;
	strbuf_adds(out, "; ");
	add_mean(e, out);
}

static void say_host_cpu(const struct why_entry *e, struct strbuf *out)
{
	const double *f = e->figures;

	if (!isnan(f[WHY_OVERCOMMIT]))
		strbuf_addf(out, "%.3g virtual CPUs are promised for each of the host's",
			f[WHY_OVERCOMMIT]);
	else
		strbuf_adds(out, "nothing waits for the host's CPUs");
	if (!isnan(f[WHY_HOST_BUSY]))
		strbuf_addf(out, "; those are %.0f %% busy", f[WHY_HOST_BUSY]);
}

static void say_host_steal(const struct why_entry *e, struct strbuf *out)
{
	strbuf_addf(out, "what the host itself runs on took %.1f %% of its CPUs away",
		e->figures[WHY_LOST]);
}

static void say_host_memory(const struct why_entry *e, struct strbuf *out)
{
	const double *f = e->figures;
	const char *joint = "";

	if (!isnan(f[WHY_HOST_PRESSURE])) {
		strbuf_addf(out, "something there waited for memory %.1f %% of the time",
			f[WHY_HOST_PRESSURE]);
		joint = "; ";
	}
	if (!isnan(f[WHY_OVERCOMMIT]))
		strbuf_addf(out, "%s%.3g times the memory that it has is promised", joint,
			f[WHY_OVERCOMMIT]);
	else if (!*joint)
		strbuf_adds(out, "nothing waits for the host's memory");
}

static void say_unknown(const struct why_entry *e, struct strbuf *out)
{
	if (e->is_stale) {
		strbuf_adds(out, "the host gets no answer from this VM's monitor");
		return;
	}
	switch (e->error) {
	case VHOSTMD_ERR_NO_METRIC:
		strbuf_addf(out, "the host does not tell %s", e->metric);
		break;
	case VHOSTMD_ERR_UNAVAILABLE:
		strbuf_addf(out, "the host cannot tell %s now", e->metric);
		break;
	case VHOSTMD_ERR_RESET:
		strbuf_addf(out, "%s was set back", e->metric);
		break;
	case VHOSTMD_ERR_SAME_SAMPLE:
		strbuf_adds(out,
			"the host did not look at it meanwhile: try a longer --interval");
		break;
	default:
		strbuf_addf(out, "%s cannot be true", e->metric);
	}
}

static void add_sentence(const struct why_entry *e, struct strbuf *out)
{
	static void (*const say[])(const struct why_entry *, struct strbuf *) = {
		[WHY_STEAL] = say_steal,
		[WHY_QUOTA] = say_quota,
		[WHY_MEMORY] = say_memory,
		[WHY_BALLOON] = say_balloon,
		[WHY_DISK_LATENCY] = say_latency,
		[WHY_DISK_LIMIT] = say_limit,
		[WHY_HOST_CPU] = say_host_cpu,
		[WHY_HOST_STEAL] = say_host_steal,
		[WHY_HOST_MEMORY] = say_host_memory,
	};
	static_assert(ARRAY_LEN(say) == WHY_CAUSE_COUNT, "words for each cause");

	if (e->degree == WHY_UNKNOWN) {
		say_unknown(e, out);
		return;
	}
	add_subject(e, out);
	say[e->cause](e, out);
}

/* ---- words ---- */

static void add_line(const struct why_entry *e, bool with_degree, struct strbuf *out)
{
	strbuf_addf(out, "  %-15s  ", cause_names[e->cause]);
	if (with_degree)
		strbuf_addf(out, "%s  ", degree_names[e->degree]);
	add_sentence(e, out);
	strbuf_addc(out, '\n');
}

/* Is there an entry of that cause before that says the same more clearly: only the worst is shown. */
static bool is_told(const struct why_report *r, size_t i)
{
	const struct why_entry *e = &r->entries[i];

	for (size_t k = 0; k < r->n; k++) {
		const struct why_entry *other = &r->entries[k];
		double a = e->figures[WHY_LOST], b = other->figures[WHY_LOST];

		if (k == i || other->cause != e->cause)
			continue;
		if (other->degree >= WHY_SOME ||
			(other->degree == e->degree && (b > a || (!(a > b) && k < i))))
			return true;
	}
	return false;
}

/* The entries of that degree; of those that say that all is well one for each cause. */
static void add_lines(const struct why_report *r, enum why_degree degree,
	const char *title, struct strbuf *out)
{
	size_t start = out->len;

	for (size_t i = 0; i < r->n; i++) {
		const struct why_entry *e = &r->entries[i];

		if (e->degree != degree || (degree == WHY_NONE && is_told(r, i)))
			continue;
		if (title && out->len == start)
			strbuf_addf(out, "%s\n", title);
		add_line(e, degree >= WHY_SOME, out);
	}
}

static void add_error(const struct why_report *r, struct strbuf *out)
{
	if (r->error == VHOSTMD_ERR_MOVED)
		strbuf_adds(out,
			"It is not known whether anything holds this VM back: it was "
			"started, restored or\nmigrated while it was looked at, and what "
			"was counted before is of no use.\n");
	else
		strbuf_addf(out,
			"It is not known whether anything holds this VM back: %s.\n",
			vhostmd_strerror(r->error));
}

void dump_why(const struct why_report *r, struct strbuf *out)
{
	if (r->error != 0) {
		add_error(r, out);
		return;
	}
	switch (why_verdict(r)) {
	case WHY_NONE:
		strbuf_adds(out, "Nothing holds this VM back");
		break;
	case WHY_UNKNOWN:
		strbuf_adds(out, "Nothing that is known holds this VM back");
		break;
	case WHY_SOME:
		strbuf_adds(out, "This VM is held back somewhat");
		break;
	case WHY_MUCH:
		strbuf_adds(out, "This VM is held back much");
		break;
	}
	strbuf_addf(out, ", as seen in %.1f s.\n", r->seconds);
	add_lines(r, WHY_MUCH, NULL, out);
	add_lines(r, WHY_SOME, NULL, out);
	add_lines(r, WHY_NONE, "No cause:", out);
	add_lines(r, WHY_UNKNOWN, "Not known:", out);
}

/* ---- JSON ---- */

static const char *const figure_names[] = {
	[WHY_LOST] = "lost_percent",
	[WHY_WAITED] = "waited_seconds",
	[WHY_RAN] = "ran_seconds",
	[WHY_STOPPED] = "stopped_seconds",
	[WHY_LIMIT_CPUS] = "limit_cpus",
	[WHY_RESIDENT] = "resident_bytes",
	[WHY_HARD_LIMIT] = "hard_limit_bytes",
	[WHY_CURRENT] = "current_bytes",
	[WHY_MAXIMUM] = "maximum_bytes",
	[WHY_USABLE] = "usable_bytes",
	[WHY_LATENCY] = "latency_seconds",
	[WHY_REQUESTS] = "requests",
	[WHY_RATE] = "rate",
	[WHY_LIMIT] = "limit",
	[WHY_OVERCOMMIT] = "overcommit",
	[WHY_HOST_BUSY] = "host_busy_percent",
	[WHY_HOST_PRESSURE] = "host_pressure_percent",
};
static_assert(ARRAY_LEN(figure_names) == WHY_FIGURE_COUNT, "a name for each figure");

static void add_json_subject(const struct why_entry *e, struct strbuf *out)
{
	if (e->number >= 0)
		strbuf_addf(out, ", \"subject\": \"%s.%ld\"",
			e->cause == WHY_STEAL ? "vcpu" : "block", e->number);
	if (*e->device) {
		strbuf_adds(out, ", \"device\": ");
		text_add_json(e->device, out);
	}
	if (e->kind)
		strbuf_addf(out, ", \"kind\": \"%s\"", e->kind);
	if (e->limit)
		strbuf_addf(out, ", \"limited\": \"%s\"", e->limit);
	if (*e->metric) {
		strbuf_adds(out, ", \"metric\": ");
		text_add_json(e->metric, out);
	}
}

static void add_json_entry(const struct why_entry *e, struct strbuf *out)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	strbuf_addf(out, "    {\"cause\": \"%s\", \"degree\": \"%s\"",
		cause_names[e->cause], degree_names[e->degree]);
	add_json_subject(e, out);
	for (size_t i = 0; i < WHY_FIGURE_COUNT; i++) {
		if (isnan(e->figures[i]))
			continue;
		strbuf_addf(out, ", \"%s\": ", figure_names[i]);
		dump_json_real(e->figures[i], out);
	}
	add_sentence(e, &text);
	strbuf_adds(out, ", \"text\": ");
	text_add_json(strbuf_str(&text), out);
	strbuf_addc(out, '}');
}

void dump_why_json(const struct why_report *r, struct strbuf *out)
{
	strbuf_addf(out, "{\n  \"held_back\": \"%s\"",
		r->error ? degree_names[WHY_UNKNOWN] : degree_names[why_verdict(r)]);
	if (r->error) {
		strbuf_adds(out, ",\n  \"error\": ");
		text_add_json(vhostmd_strerror(r->error), out);
	} else {
		strbuf_addf(out, ",\n  \"seconds\": %.3f", r->seconds);
	}
	strbuf_adds(out, ",\n  \"causes\": [");
	for (size_t i = 0; i < r->n; i++) {
		strbuf_adds(out, i ? ",\n" : "\n");
		add_json_entry(&r->entries[i], out);
	}
	strbuf_adds(out, "\n  ]\n}\n");
}

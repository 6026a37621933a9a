/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "doctor_private.h"
#include "util/cleanup.h"
#include "util/mem.h"
#include "util/text.h"

/* In the order in which they are looked at: what others follow from comes first. */
static const struct doctor_check checks[] = {
	{ "kernel", check_kernel },
	{ "fuse", check_fuse },
	{ "daemon", check_daemon },
	{ "mount", check_mount },
	{ "visible", check_visible },
	{ "worker", check_worker },
	{ "user", check_user },
	{ "other-daemons", check_other_daemons },
	{ "leftovers", check_leftovers },
	{ "configuration", check_configuration },
	{ "reload", check_reload },
	{ "rights", check_rights },
	{ "figures", check_figures },
	{ "slow", check_slow },
	{ "overruns", check_overruns },
	{ "libvirt-socket", check_libvirt_socket },
	{ "libvirt", check_libvirt },
	{ "disk-readers", check_disk_readers },
	{ "selinux", check_selinux },
	{ "apparmor", check_apparmor },
	{ "shared-disk", check_shared_disk },
	{ "schedstat", check_schedstat },
	{ "pressure", check_pressure },
	{ "cgroup", check_cgroup },
};

static const struct {
	const char *word, *colour;
} severities[] = {
	[SEVERITY_OK] = { "ok", "\033[32m" },
	[SEVERITY_NOTE] = { "note", "\033[36m" },
	[SEVERITY_WARNING] = { "warning", "\033[33m" },
	[SEVERITY_FAULT] = { "fault", "\033[31m" },
};
static_assert(ARRAY_LEN(severities) == SEVERITY_COUNT, "a word for each severity");

/* ---- what checks say ---- */

void doctor_say(struct doctor *d, enum severity severity, const char *fmt, ...)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	strbuf_vaddf(&text, fmt, ap);
	va_end(ap);
	d->findings =
		xgrow(d->findings, d->n_findings, &d->cap_findings, sizeof(*d->findings));
	d->findings[d->n_findings++] =
		(struct finding){ .severity = severity, .found = strbuf_steal(&text) };
}

void doctor_mend(struct doctor *d, const char *fmt, ...)
{
	struct strbuf *remedy = &d->findings[d->n_findings - 1].remedy;
	va_list ap;

	if (remedy->len)
		strbuf_addc(remedy, '\n');
	va_start(ap, fmt);
	strbuf_vaddf(remedy, fmt, ap);
	va_end(ap);
}

/* ---- printing ---- */

/* The lines of @remedy, each after @before and followed by @after. */
static void add_lines(struct strbuf *out, const struct strbuf *remedy, const char *before,
	const char *after)
{
	_cleanup_free_ char *copy = xstrdup(strbuf_str(remedy));
	char *save = NULL;

	for (char *line = strtok_r(copy, "\n", &save); line;
		line = strtok_r(NULL, "\n", &save)) {
		strbuf_adds(out, before);
		text_add_printable(line, out);
		strbuf_adds(out, after);
	}
}

static void print_text(const struct doctor_options *o, const struct finding *f, FILE *out)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	const char *word = severities[f->severity].word;

	strbuf_addf(&text, "%s%s%s%*s", o->colour ? severities[f->severity].colour : "",
		word, o->colour ? "\033[0m" : "", (int)(9 - strlen(word)), "");
	text_add_printable(f->found, &text);
	strbuf_addc(&text, '\n');
	add_lines(&text, &f->remedy, "         ", "\n");
	fwrite(text.data, 1, text.len, out);
}

static void print_json(const char *check, const struct finding *f, bool first, FILE *out)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	_cleanup_strbuf_ struct strbuf found = STRBUF_INIT;
	_cleanup_strbuf_ struct strbuf remedy = STRBUF_INIT;

	text_add_printable(f->found, &found);
	add_lines(&remedy, &f->remedy, "", "\n");
	if (remedy.len)
		remedy.data[--remedy.len] = '\0';
	strbuf_addf(&text, "%s{\"check\": \"%s\", \"severity\": \"%s\", \"found\": ",
		first ? "\n" : ",\n", check, severities[f->severity].word);
	text_add_json(strbuf_str(&found), &text);
	strbuf_adds(&text, ", \"remedy\": ");
	text_add_json(strbuf_str(&remedy), &text);
	strbuf_addc(&text, '}');
	fwrite(text.data, 1, text.len, out);
}

/* ---- the run ---- */

/* What a run has come to so far. */
struct sum {
	enum severity worst;
	unsigned printed;
};

/* Prints and forgets what @check has found. */
static void print_findings(
	struct doctor *d, const char *check, struct sum *sum, FILE *out)
{
	for (size_t i = 0; i < d->n_findings; i++) {
		struct finding *f = &d->findings[i];

		if (f->severity > sum->worst)
			sum->worst = f->severity;
		if (f->severity > SEVERITY_OK || d->options->verbose) {
			if (d->options->json)
				print_json(check, f, sum->printed == 0, out);
			else
				print_text(d->options, f, out);
			sum->printed++;
		}
		free(f->found);
		strbuf_done(&f->remedy);
	}
	d->n_findings = 0;
}

int doctor_run(const struct doctor_options *options, FILE *out)
{
	struct doctor d = { .options = options };
	struct sum sum = { 0 };

	fflush(out); /* children have none of it */
	doctor_gather(&d);
	if (options->json)
		fputc('[', out);
	for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
		checks[i].look(&d);
		print_findings(&d, checks[i].name, &sum, out);
		fflush(out);
	}
	if (options->json)
		fputs(sum.printed ? "\n]\n" : "]\n", out);
	else if (!sum.printed)
		fputs("ok       nothing is wrong\n", out);
	free(d.findings);
	doctor_done(&d);
	return sum.worst == SEVERITY_FAULT ? 2 : sum.worst == SEVERITY_WARNING ? 1 : 0;
}

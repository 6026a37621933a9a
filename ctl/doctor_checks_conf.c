/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The configuration, which the daemon itself is asked about. */
#include "doctor_private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "conf/conf.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/mem.h"

/* More mistakes than that are read better with --check-config. */
#define SHOWN_LINES 8

static void check_again(struct doctor *d)
{
	doctor_mend(d, "%s --check-config %s", d->options->daemon, d->options->conf_file);
}

/*
 * Says each line of what the daemon said that has @part in it, without the file's name before
 * it.  Return: how many there are, more perhaps than were shown.
 */
static unsigned say_lines(
	struct doctor *d, enum severity severity, const char *part, const char *before)
{
	_cleanup_free_ char *copy = xstrdup(strbuf_str(&d->conf_text));
	size_t file = strlen(d->options->conf_file);
	char *save = NULL;
	unsigned n = 0;

	for (char *line = strtok_r(copy, "\n", &save); line;
		line = strtok_r(NULL, "\n", &save)) {
		if (!strstr(line, part))
			continue;
		if (!strncmp(line, d->options->conf_file, file) && line[file] == ':')
			line += file + 1;
		if (++n <= SHOWN_LINES)
			doctor_say(d, severity, "%s%s", before, line);
	}
	return n;
}

/* Of @n lines the rest was not shown. */
static void say_more(
	struct doctor *d, enum severity severity, unsigned n, const char *what)
{
	if (n > SHOWN_LINES)
		doctor_say(d, severity, "and %u more %s", n - SHOWN_LINES, what);
	if (n)
		check_again(d);
}

static void say_not_asked(struct doctor *d)
{
	int r = d->conf_said;

	doctor_say(d, SEVERITY_WARNING, "%s could not be asked about %s: %s",
		d->options->daemon, d->options->conf_file,
		r == -ETIMEDOUT    ? "it does not answer"
			: r < 0    ? strerror(-r)
			: r == 127 ? "it is not installed"
				   : "it cannot be run");
	check_again(d);
}

void check_configuration(struct doctor *d)
{
	const char *file = d->options->conf_file;
	_cleanup_free_ char *before = xasprintf("%s:", file);
	/* mistakes cost what they stand in, and the daemon goes on; unless nothing is left */
	enum severity mistake = d->conf ? SEVERITY_WARNING : SEVERITY_FAULT;
	bool asked = d->conf_said == 0 || d->conf_said == 1;

	if (!asked)
		say_not_asked(d);
	unsigned n = say_lines(d, mistake, ": error: ", before);

	say_more(d, mistake, n, "mistakes");
	unsigned warnings = say_lines(d, SEVERITY_WARNING, ": warning: ", before);

	say_more(d, SEVERITY_WARNING, warnings, "warnings");
	if (!d->conf && !n) {
		doctor_say(d, SEVERITY_FAULT, "%s is of no use as a configuration", file);
		check_again(d);
	} else if (!d->n_findings) {
		doctor_say(d, SEVERITY_OK, "%s has no mistakes", file);
	}
}

void check_reload(struct doctor *d)
{
	int64_t up_s = doctor_status_number(d, "uptime_s", -1);
	struct stat st;

	if (up_s < 0 || stat(d->options->conf_file, &st) < 0) {
		doctor_say(d, SEVERITY_OK, "no configuration is in force");
		return;
	}
	int64_t start_s = clock_real_ns() / NS_PER_S - up_s;

	if (st.st_mtim.tv_sec <= start_s) {
		doctor_say(d, SEVERITY_OK,
			"the configuration was not changed since vhostmd started");
		return;
	}
	doctor_say(d, SEVERITY_NOTE,
		"%s was changed after vhostmd's worker started: it is in force if vhostmd was told since",
		d->options->conf_file);
	doctor_mend(d, "systemctl reload vhostmd, or: kill -HUP %d", (int)d->keeper);
}

/*
 * What the running daemon has met: "actions.lacking.NAME: WHAT; REMEDY".
 * Return: how many actions.
 */
static unsigned say_met(struct doctor *d)
{
	static const char key[] = "actions.lacking.";
	unsigned n = 0;

	for (size_t i = 0; i < d->n_status; i++) {
		const struct status_line *line = &d->status[i];
		const char *remedy = strstr(line->value, "; ");

		if (strncmp(line->key, key, sizeof(key) - 1) != 0 || !remedy)
			continue;
		if (++n > SHOWN_LINES)
			continue;
		doctor_say(d, SEVERITY_WARNING, "the action of %s fails: %.*s",
			line->key + sizeof(key) - 1, (int)(remedy - line->value),
			line->value);
		doctor_mend(d, "%s", remedy + 2);
	}
	if (n > SHOWN_LINES)
		doctor_say(d, SEVERITY_WARNING, "and %u more actions", n - SHOWN_LINES);
	return n;
}

void check_rights(struct doctor *d)
{
	unsigned met = say_met(d);
	unsigned n = say_lines(d, SEVERITY_WARNING, "it lacks a right: ", "");

	say_more(d, SEVERITY_WARNING, n, "actions");
	if (n)
		doctor_mend(d,
			"<globals><actions><user>USER</user></actions></globals> in %s, of a user who may",
			d->options->conf_file);
	unsigned names = say_lines(d, SEVERITY_NOTE, ": for a VM named ", "");

	say_more(d, SEVERITY_NOTE, names, "actions");
	if (met || n || names)
		return;
	if (geteuid() != 0) {
		doctor_say(d, SEVERITY_NOTE,
			"whether actions lack a right only root can find out");
		doctor_mend(d, "run this as root");
	} else {
		doctor_say(d, SEVERITY_OK, "no action is known to lack a right");
	}
}

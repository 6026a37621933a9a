/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vhostmdctl(1): for administrators of hosts that run vhostmd.  One table of verbs. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attach.h"
#include "blame.h"
#include "ctl.h"
#include "daemon.h"
#include "doctor.h"
#include "options.h"
#include "status.h"
#include "top.h"
#include "tree.h"
#include "util/cleanup.h"
#include "util/glob.h"
#include "util/hypervisor.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"

/* What is given behind a verb, whichever takes it. */
struct arguments {
	struct attach_options attach;
	bool all;            /* status: each line; attach, detach: each VM */
	const char *match;   /* with it: names alone */
	unsigned long count; /* watch, top */
	struct top_options top;
	struct blame_options blame;
	/* doctor */
	bool verbose;
	const char *file, *pid_file, *color;
	char **words;
	size_t n;
};

#define TOP_DELAY_S_MIN 0.1
#define TOP_DELAY_S_MAX 3600

enum option_id {
	OPTION_HELP = 1,
	OPTION_VERSION,
	OPTION_MOUNT,
	OPTION_CONNECT,
	OPTION_PROGRAM,
	OPTION_CONTROL,
	OPTION_JSON,
	OPTION_ALL,
	OPTION_COUNT_CHANGES,
	OPTION_DISK,
	OPTION_CHANNEL,
	OPTION_LIVE,
	OPTION_CONFIG,
	OPTION_BUS,
	OPTION_MATCH,
	OPTION_DRY_RUN,
	OPTION_FOLLOW,
	OPTION_VERBOSE,
	OPTION_FILE,
	OPTION_PID_FILE,
	OPTION_COLOR,
	OPTION_BATCH,
	OPTION_DELAY,
	OPTION_SORT,
	OPTION_FILTER,
	OPTION_FOR,
};

#define BIT(option) (1u << (option))
#define ATTACH_OPTIONS                                                                   \
	(BIT(OPTION_CONNECT) | BIT(OPTION_DISK) | BIT(OPTION_CHANNEL) |                  \
		BIT(OPTION_LIVE) | BIT(OPTION_CONFIG) | BIT(OPTION_ALL) |                \
		BIT(OPTION_MATCH) | BIT(OPTION_DRY_RUN))
#define EVERYWHERE (BIT(OPTION_HELP) | BIT(OPTION_VERSION) | BIT(OPTION_MOUNT))

static const struct {
	enum option_id id;
	const char *name;
	const char *arg; /* NULL: none */
	const char *help;
} options[] = {
	{ OPTION_MOUNT, "mount", "DIR",
		"where vhostmd's file system is (" OPTIONS_DEFAULT_MOUNT ")" },
	{ OPTION_CONNECT, "connect", "URI",
		"libvirt's URI (the hypervisor of this host)" },
	{ OPTION_PROGRAM, "program", "FILE", "the daemon (" VHOSTMD_PROGRAM ")" },
	{ OPTION_CONTROL, "control", "PATH",
		"the daemon's control socket (as its status says)" },
	{ OPTION_JSON, "json", NULL, "print JSON" },
	{ OPTION_ALL, "all", NULL, "status: each line; attach, detach, blame: each VM" },
	{ OPTION_MATCH, "match", "PATTERN",
		"with --all: those of such a name, '*' and '?'" },
	{ OPTION_COUNT_CHANGES, "count", "N", "end after so many changes, or refreshes" },
	{ OPTION_DELAY, "delay", "S", "top: seconds between refreshes (3)" },
	{ OPTION_SORT, "sort", "COLUMN",
		"top: by name, cpu, steal, memory, block, net... (cpu)" },
	{ OPTION_FILTER, "filter", "TEXT", "top: VMs of such a name, or pattern of it" },
	{ OPTION_FOR, "for", "S",
		"blame: so many seconds from now on (the last minute)" },
	{ OPTION_BATCH, "batch", NULL,
		"top: print CSV, or JSON, one refresh after another" },
	{ OPTION_DISK, "disk", NULL, "the disk (disk and channel)" },
	{ OPTION_CHANNEL, "channel", NULL, "the channel (disk and channel)" },
	{ OPTION_LIVE, "live", NULL, "while it runs (both)" },
	{ OPTION_CONFIG, "config", NULL, "from its next start on (both)" },
	{ OPTION_BUS, "bus", "BUS", "of the disk: virtio, scsi, sata or usb (virtio)" },
	{ OPTION_DRY_RUN, "dry-run", NULL, "print the XML, and change nothing" },
	{ OPTION_FOLLOW, "follow", NULL, "attach, with --all: and each VM that starts" },
	{ OPTION_VERBOSE, "verbose", NULL, "doctor: also what is well" },
	{ OPTION_FILE, "file", "FILE",
		"doctor: the configuration (" VHOSTMD_CONF_FILE ")" },
	{ OPTION_PID_FILE, "pid-file", "FILE",
		"doctor: the daemon's (" OPTIONS_DEFAULT_PIDFILE ")" },
	{ OPTION_COLOR, "color", "WHEN",
		"doctor, top: always, never or auto (auto: on a terminal)" },
	{ OPTION_VERSION, "version", NULL, "print the version" },
	{ OPTION_HELP, "help", NULL, "print this" },
};

static int run_status(const struct ctl *ctl, const struct arguments *a)
{
	_cleanup_status_ struct status status = { 0 };

	if (daemon_status(ctl, &status) != CTL_OK)
		return CTL_FAILED;
	status_print(&status, a->all, ctl->json);
	return CTL_OK;
}

static int run_list(const struct ctl *ctl, const struct arguments *a)
{
	(void)a;
	return tree_list(ctl);
}

static int run_get(const struct ctl *ctl, const struct arguments *a)
{
	return tree_get(ctl, a->words[0], a->words + 1, a->n - 1);
}

static int run_watch(const struct ctl *ctl, const struct arguments *a)
{
	return tree_watch(ctl, a->words[0], a->words + 1, a->n - 1, a->count);
}

/* Whom `attach` and `detach` are for has to be said. */
static bool is_said_whom(const struct arguments *a)
{
	if ((a->n > 0) != a->all && (a->all || (!a->match && !a->attach.follow)))
		return true;
	ctl_error("name VMs, or all of them with --all");
	return false;
}

static int run_attach(const struct ctl *ctl, const struct arguments *a)
{
	if (!is_said_whom(a))
		return CTL_USAGE;
	return attach(ctl, &a->attach, a->words, a->n, a->match ? a->match : "*");
}

static int run_detach(const struct ctl *ctl, const struct arguments *a)
{
	if (!is_said_whom(a))
		return CTL_USAGE;
	return detach(ctl, &a->attach, a->words, a->n, a->match ? a->match : "*");
}

static int run_check_config(const struct ctl *ctl, const struct arguments *a)
{
	return daemon_check_config(ctl, a->n ? a->words[0] : NULL);
}

static int run_reload(const struct ctl *ctl, const struct arguments *a)
{
	(void)a;
	return daemon_reload(ctl);
}

static int run_upgrade(const struct ctl *ctl, const struct arguments *a)
{
	(void)a;
	return daemon_upgrade(ctl);
}

static int run_log(const struct ctl *ctl, const struct arguments *a)
{
	enum log_level level;

	if (a->n && !log_level_find(a->words[0], strlen(a->words[0]), &level)) {
		ctl_error("'%s' is none of error, warning, info, debug", a->words[0]);
		return CTL_USAGE;
	}
	return daemon_log(ctl, a->n ? &level : NULL);
}

/* https://no-color.org */
static bool is_coloured(const char *when)
{
	const char *no_color = getenv("NO_COLOR");

	if (strcmp(when, "auto") != 0)
		return !strcmp(when, "always");
	return isatty(STDOUT_FILENO) && !(no_color && *no_color);
}

static int run_doctor(const struct ctl *ctl, const struct arguments *a)
{
	const char *uri = ctl->uri ? ctl->uri : hypervisor_uri();
	const struct doctor_options asked = { .root = "/",
		.mount = ctl->mount,
		.conf_file = a->file,
		.pid_file = a->pid_file,
		.uri = uri ? uri : getenv("LIBVIRT_DEFAULT_URI"),
		.daemon = ctl->program,
		.json = ctl->json,
		.colour = is_coloured(a->color),
		.verbose = a->verbose };

	return doctor_run(&asked, stdout);
}

static int run_top(const struct ctl *ctl, const struct arguments *a)
{
	struct top_options asked = a->top;

	if (ctl->json && !asked.batch) {
		ctl_error("top --json is for --batch");
		return CTL_USAGE;
	}
	asked.count = a->count;
	asked.colour = is_coloured(a->color);
	return top_run(ctl, &asked);
}

static int run_blame(const struct ctl *ctl, const struct arguments *a)
{
	struct blame_options asked = a->blame;

	if (a->n && a->all) {
		ctl_error("name a VM, or all of them with --all");
		return CTL_USAGE;
	}
	asked.vm = a->n ? a->words[0] : NULL;
	asked.all = a->all;
	return blame_run(ctl, &asked);
}

static const struct verb {
	const char *name, *words, *help;
	unsigned options; /* bits, besides those that all take */
	size_t min, max;  /* words */
	int (*run)(const struct ctl *ctl, const struct arguments *arguments);
} verbs[] = {
	{ "status", "", "how the daemon does",
		BIT(OPTION_JSON) | BIT(OPTION_ALL) | BIT(OPTION_CONTROL), 0, 0,
		run_status },
	{ "list", "", "the VMs that run here", BIT(OPTION_JSON), 0, 0, run_list },
	{ "get", "host|VM [METRIC]...", "print metrics; of one, the value alone",
		BIT(OPTION_JSON), 1, SIZE_MAX, run_get },
	{ "watch", "host|VM [METRIC]...", "print metrics, and each change as it comes",
		BIT(OPTION_JSON) | BIT(OPTION_COUNT_CHANGES), 1, SIZE_MAX, run_watch },
	{ "top", "", "all VMs as they do, live",
		BIT(OPTION_JSON) | BIT(OPTION_COUNT_CHANGES) | BIT(OPTION_DELAY) |
			BIT(OPTION_SORT) | BIT(OPTION_FILTER) | BIT(OPTION_BATCH) |
			BIT(OPTION_COLOR),
		0, 0, run_top },
	{ "blame", "[VM]", "whom VMs wait for when they want a processor",
		BIT(OPTION_JSON) | BIT(OPTION_ALL) | BIT(OPTION_FOR) |
			BIT(OPTION_CONTROL),
		0, 1, run_blame },
	{ "attach", "VM...|--all", "give VMs the devices that they read metrics by",
		ATTACH_OPTIONS | BIT(OPTION_BUS) | BIT(OPTION_FOLLOW), 0, SIZE_MAX,
		run_attach },
	{ "detach", "VM...|--all", "take them away", ATTACH_OPTIONS, 0, SIZE_MAX,
		run_detach },
	{ "check-config", "[FILE]", "what a configuration does, or what is wrong with it",
		BIT(OPTION_PROGRAM), 0, 1, run_check_config },
	{ "reload", "", "have the daemon read its configuration again",
		BIT(OPTION_CONTROL), 0, 0, run_reload },
	{ "upgrade", "", "replace the daemon by the program that is installed, unseen",
		BIT(OPTION_PROGRAM) | BIT(OPTION_CONTROL), 0, 0, run_upgrade },
	{ "log", "[LEVEL]", "how much the daemon logs: error, warning, info or debug",
		BIT(OPTION_CONTROL), 0, 1, run_log },
	{ "doctor", "", "what is wrong on this host, and how to mend it",
		BIT(OPTION_CONNECT) | BIT(OPTION_PROGRAM) | BIT(OPTION_JSON) |
			BIT(OPTION_VERBOSE) | BIT(OPTION_FILE) | BIT(OPTION_PID_FILE) |
			BIT(OPTION_COLOR),
		0, 0, run_doctor },
};

static void help(void)
{
	printf("Usage: vhostmdctl VERB [OPTION]... [WORD]...\n"
	       "Looks after vhostmd, which shows virtual machines the metrics of their host.\n\n");
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
		printf("  %-13s %-20s %s\n", verbs[i].name, verbs[i].words,
			verbs[i].help);
	printf("\nA VM is its name, uuid or id.\n\n");
	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		_cleanup_free_ char *word = xasprintf(
			"--%s %s", options[i].name, options[i].arg ? options[i].arg : "");

		printf("  %-18s %s\n", word, options[i].help);
	}
	printf("\nExit status: 0 success, 1 failure, 2 wrong usage, 3 no such VM or metric,\n"
	       "4 a metric that cannot be had now; of doctor 1 warnings, 2 faults.\n");
}

static const struct verb *find_verb(const char *word)
{
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
		if (!strcmp(verbs[i].name, word))
			return &verbs[i];
	return NULL;
}

static bool set_count(const char *text, struct arguments *a)
{
	uint64_t n;

	if (parse_u64(text, &n) < 0 || n < 1 || n > UINT32_MAX) {
		ctl_error("--count '%s' is no number of changes", text);
		return false;
	}
	a->count = (unsigned long)n;
	return true;
}

static bool set_bus(const char *text, struct arguments *a)
{
	a->attach.bus = text;
	if (devices_prefix(text))
		return true;
	ctl_error("--bus '%s' is none of virtio, scsi, sata, usb", text);
	return false;
}

static bool set_match(const char *text, struct arguments *a)
{
	a->match = text;
	if (glob_valid(text))
		return true;
	ctl_error("--match '%s' is no pattern: '*' is any text, '?' one character", text);
	return false;
}

static bool set_color(const char *text, struct arguments *a)
{
	a->color = text;
	if (!strcmp(text, "always") || !strcmp(text, "never") || !strcmp(text, "auto"))
		return true;
	ctl_error("--color '%s' is none of always, never, auto", text);
	return false;
}

static bool set_delay(const char *text, struct arguments *a)
{
	double s;

	if (parse_real(text, &s) < 0 || s < TOP_DELAY_S_MIN || s > TOP_DELAY_S_MAX) {
		ctl_error("--delay '%s' is no number of seconds from 0.1 to 3600", text);
		return false;
	}
	a->top.delay_ms = (int)(s * 1000);
	return true;
}

static bool set_for(const char *text, struct arguments *a)
{
	uint64_t s;

	if (parse_u64(text, &s) < 0 || s < 1 || s > BLAME_SECONDS_MAX) {
		ctl_error("--for '%s' is no number of seconds from 1 to %u", text,
			BLAME_SECONDS_MAX);
		return false;
	}
	a->blame.seconds = (unsigned)s;
	return true;
}

static bool set_sort(const char *text, struct arguments *a)
{
	a->top.query.sort = top_column_find(text);
	if (a->top.query.sort != TOP_COLUMNS)
		return true;
	_cleanup_strbuf_ struct strbuf names = STRBUF_INIT;

	for (size_t i = 0; i < TOP_COLUMNS; i++)
		strbuf_addf(&names, "%s%s", i ? ", " : "", top_columns[i].sort);
	ctl_error("--sort '%s' is none of %s", text, strbuf_str(&names));
	return false;
}

static bool set_mount(const char *text, struct ctl *ctl)
{
	ctl->mount = text;
	if (*text == '/')
		return true;
	ctl_error("--mount '%s' is not an absolute path", text);
	return false;
}

/* Return: false after saying what is wrong. */
static bool set_option(
	enum option_id id, const char *value, struct ctl *ctl, struct arguments *a)
{
	switch (id) {
	case OPTION_HELP:
		help();
		exit(CTL_OK);
	case OPTION_VERSION:
		printf("vhostmdctl %s\n", VHOSTMD_VERSION);
		exit(CTL_OK);
	case OPTION_MOUNT:
		return set_mount(value, ctl);
	case OPTION_CONNECT:
		ctl->uri = value;
		return true;
	case OPTION_PROGRAM:
		ctl->program = value;
		return true;
	case OPTION_CONTROL:
		ctl->control = value;
		return true;
	case OPTION_JSON:
		ctl->json = true;
		return true;
	case OPTION_ALL:
		a->all = true;
		return true;
	case OPTION_COUNT_CHANGES:
		return set_count(value, a);
	case OPTION_DISK:
		a->attach.device[DEVICE_DISK] = true;
		return true;
	case OPTION_CHANNEL:
		a->attach.device[DEVICE_CHANNEL] = true;
		return true;
	case OPTION_LIVE:
		a->attach.live = true;
		return true;
	case OPTION_CONFIG:
		a->attach.config = true;
		return true;
	case OPTION_BUS:
		return set_bus(value, a);
	case OPTION_MATCH:
		return set_match(value, a);
	case OPTION_DRY_RUN:
		a->attach.dry_run = true;
		return true;
	case OPTION_FOLLOW:
		a->attach.follow = true;
		return true;
	case OPTION_VERBOSE:
		a->verbose = true;
		return true;
	case OPTION_FILE:
		a->file = value;
		return true;
	case OPTION_PID_FILE:
		a->pid_file = value;
		return true;
	case OPTION_COLOR:
		return set_color(value, a);
	case OPTION_BATCH:
		a->top.batch = true;
		return true;
	case OPTION_DELAY:
		return set_delay(value, a);
	case OPTION_SORT:
		return set_sort(value, a);
	case OPTION_FOR:
		return set_for(value, a);
	case OPTION_FILTER:
		a->top.query.filter = value;
		return true;
	}
	return false;
}

/* Options may stand before, between and behind words.  Return: false after saying what is wrong. */
static bool read_command(int argc, char **argv, struct ctl *ctl, struct arguments *a,
	const struct verb **ret)
{
	struct option longs[ARRAY_LEN(options) + 1] = { 0 };
	unsigned given = 0;
	int id;

	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		longs[i] = (struct option){ options[i].name,
			options[i].arg ? required_argument : no_argument, NULL,
			(int)options[i].id };
	while ((id = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (id == '?' || !set_option((enum option_id)id, optarg, ctl, a))
			return false;
		given |= BIT(id);
	}
	if (optind == argc) {
		ctl_error("say what to do");
		return false;
	}
	const struct verb *verb = find_verb(argv[optind]);

	if (!verb) {
		ctl_error("there is no verb '%s'", argv[optind]);
		return false;
	}
	a->words = argv + optind + 1;
	a->n = (size_t)(argc - optind - 1);
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		if (given & BIT(options[i].id) & ~(verb->options | EVERYWHERE)) {
			ctl_error("'%s' takes no --%s", verb->name, options[i].name);
			return false;
		}
	if (a->n < verb->min || a->n > verb->max) {
		ctl_error("usage: vhostmdctl %s %s", verb->name, verb->words);
		return false;
	}
	*ret = verb;
	return true;
}

int main(int argc, char **argv)
{
	struct ctl ctl = { .mount = OPTIONS_DEFAULT_MOUNT, .program = VHOSTMD_PROGRAM };
	struct arguments arguments = { .attach = { .bus = "virtio" },
		.file = VHOSTMD_CONF_FILE,
		.pid_file = OPTIONS_DEFAULT_PIDFILE,
		.color = "auto",
		.top = { .delay_ms = 3000,
			.query = { .filter = "", .sort = COLUMN_CPU } } };
	const struct verb *verb = NULL;

	if (!read_command(argc, argv, &ctl, &arguments, &verb)) {
		ctl_hint("vhostmdctl --help");
		return CTL_USAGE;
	}
	int r = verb->run(&ctl, &arguments);

	if (fflush(stdout) != 0 || ferror(stdout)) {
		ctl_error("standard output: %s", strerror(errno));
		return r == CTL_OK ? CTL_FAILED : r;
	}
	return r;
}

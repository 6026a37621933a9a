/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "options.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/mem.h"
#include "util/parse.h"

enum option_id {
	OPTION_VERBOSE,
	OPTION_FOREGROUND,
	OPTION_CONFIG,
	OPTION_PIDFILE,
	OPTION_USER,
	OPTION_CONNECT,
	OPTION_MOUNT,
	OPTION_MOUNT_ONLY,
	OPTION_HTTP,
	OPTION_HTTP_GROUP,
	OPTION_HTTP_ANY,
	OPTION_CONTROL,
	OPTION_CONTROL_GROUP,
	OPTION_CHECK,
	OPTION_LIST,
	OPTION_VERSION,
	OPTION_HELP,
	OPTION_CAN_TAKE_OVER,
	OPTION_TAKE_OVER,
	OPTION_COUNT,
};

static const struct {
	char letter; /* 0: none */
	const char *name;
	const char *arg;  /* NULL: none; "[=WORD]": optional */
	const char *help; /* NULL: nobody is to use it but vhostmd itself */
} table[] = {
	[OPTION_VERBOSE] = { 'v', "verbose", NULL, "log more" },
	[OPTION_FOREGROUND] = { 'd', "no-daemonize", NULL,
		"stay in the foreground, log to standard error" },
	[OPTION_CONFIG] = { 'f', "config", "FILE",
		"configuration (" VHOSTMD_CONF_FILE ")" },
	[OPTION_PIDFILE] = { 'p', "pid-file", "FILE",
		"pid file (" OPTIONS_DEFAULT_PIDFILE ")" },
	[OPTION_USER] = { 'u', "user", "USER",
		"run as USER after the file system is mounted" },
	[OPTION_CONNECT] = { 'c', "connect", "URI",
		"libvirt's URI (the hypervisor of this host)" },
	[OPTION_MOUNT] = { 'm', "mount", "DIR",
		"where the file system appears (" OPTIONS_DEFAULT_MOUNT ")" },
	[OPTION_MOUNT_ONLY] = { 0, "mount-only", NULL,
		"mount, leave the rest to a service that systemd starts, and exit" },
	[OPTION_HTTP] = { 0, "http", "ADDRESS",
		"serve figures by HTTP at unix:PATH or LOOPBACK:PORT" },
	[OPTION_HTTP_GROUP] = { 0, "http-group", "GROUP",
		"who may connect to that UNIX socket" },
	[OPTION_HTTP_ANY] = { 0, "http-any", NULL,
		"serve HTTP where other hosts can connect, too" },
	[OPTION_CONTROL] = { 0, "control", "PATH",
		"the control socket, or none (beside the pid file)" },
	[OPTION_CONTROL_GROUP] = { 0, "control-group", "GROUP",
		"who may have things changed there, beside root" },
	[OPTION_CHECK] = { 0, "check-config", "FILE",
		"say what FILE would do, or what is wrong with it" },
	[OPTION_LIST] = { 0, "list-sources", "[=markdown]",
		"list the native sources of metrics" },
	[OPTION_VERSION] = { 0, "version", NULL, "print the version" },
	[OPTION_HELP] = { 'h', "help", NULL, "print this" },
	[OPTION_CAN_TAKE_OVER] = { 0, "can-take-over", "VERSIONS", NULL },
	[OPTION_TAKE_OVER] = { 0, "take-over", "FD", NULL },
};
static_assert(ARRAY_LEN(table) == OPTION_COUNT, "a line for each option");

/* What getopt_long() tells of a long option: this, and its id. */
#define LONG_KEY 256

void options_help(void)
{
	printf("Usage: vhostmd [OPTION]...\n"
	       "Gives virtual machines a read-only window on the metrics of their host.\n\n");
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		char left[64];

		if (!table[i].help)
			continue;
		snprintf(left, sizeof(left), "%s%c%s --%s%s%s",
			table[i].letter ? "-" : " ",
			table[i].letter ? table[i].letter : ' ',
			table[i].letter ? "," : " ", table[i].name,
			table[i].arg && *table[i].arg != '[' ? " " : "",
			table[i].arg ? table[i].arg : "");
		printf("  %-32s %s\n", left, table[i].help);
	}
	printf("\nExit status: 0 success, 1 failure, 2 wrong usage.\n");
}

static void build_tables(struct option *longs, char *shorts)
{
	*shorts++ = ':';
	for (int i = 0; i < OPTION_COUNT; i++) {
		int arg = !table[i].arg          ? no_argument
			: table[i].arg[0] == '[' ? optional_argument
						 : required_argument;

		longs[i] = (struct option){ table[i].name, arg, NULL, LONG_KEY + i };
		if (!table[i].letter)
			continue;
		*shorts++ = table[i].letter;
		if (arg == required_argument)
			*shorts++ = ':';
	}
	longs[OPTION_COUNT] = (struct option){ 0 };
	*shorts = '\0';
}

static void set_list_sources(struct options *o, const char *form, int *r)
{
	o->action = ACTION_LIST_SOURCES;
	o->markdown = form && !strcmp(form, "markdown");
	if (!form || o->markdown)
		return;
	fprintf(stderr, "vhostmd: --list-sources takes nothing or =markdown, not '%s'\n",
		form);
	*r = -EINVAL;
}

static void set_state_fd(struct options *o, int *r)
{
	uint64_t fd = 0;

	if (parse_u64(optarg, &fd) == 0 && fd <= INT_MAX) {
		o->state_fd = (int)fd;
		return;
	}
	fprintf(stderr, "vhostmd: --take-over: '%s' is no descriptor\n", optarg);
	*r = -EINVAL;
}

static void complain(int key, char **argv)
{
	const char *word = argv[optind - 1];

	if (key == ':')
		fprintf(stderr, "vhostmd: option '%s' needs an argument\n", word);
	else
		fprintf(stderr, "vhostmd: unknown option '%s'\n", word);
}

/* What getopt_long() returned; OPTION_COUNT if that is none. */
static enum option_id option_of(int key)
{
	int id = 0;

	if (key >= LONG_KEY)
		return (enum option_id)(key - LONG_KEY);
	while (id < OPTION_COUNT && table[id].letter != key)
		id++;
	return (enum option_id)id;
}

/* One with an argument has it in optarg. */
static void set_option(struct options *o, enum option_id id, int *r)
{
	switch (id) {
	case OPTION_VERBOSE:
		o->verbose = true;
		break;
	case OPTION_FOREGROUND:
		o->foreground = true;
		break;
	case OPTION_CONFIG:
		o->config_file = optarg;
		break;
	case OPTION_PIDFILE:
		o->pid_file = optarg;
		break;
	case OPTION_USER:
		o->user = optarg;
		break;
	case OPTION_CONNECT:
		o->uri = optarg;
		break;
	case OPTION_MOUNT:
		o->mount = optarg;
		break;
	case OPTION_MOUNT_ONLY:
		o->action = ACTION_MOUNT_ONLY;
		break;
	case OPTION_HTTP:
		o->http = optarg;
		break;
	case OPTION_HTTP_GROUP:
		o->http_group = optarg;
		break;
	case OPTION_HTTP_ANY:
		o->http_any = true;
		break;
	case OPTION_CONTROL:
		o->control = optarg;
		break;
	case OPTION_CONTROL_GROUP:
		o->control_group = optarg;
		break;
	case OPTION_CHECK:
		o->action = ACTION_CHECK_CONFIG;
		o->config_file = optarg;
		break;
	case OPTION_LIST:
		set_list_sources(o, optarg, r);
		break;
	case OPTION_VERSION:
		o->action = ACTION_VERSION;
		break;
	case OPTION_HELP:
		o->action = ACTION_HELP;
		break;
	case OPTION_CAN_TAKE_OVER:
		o->action = ACTION_CAN_TAKE_OVER;
		o->versions = optarg;
		break;
	case OPTION_TAKE_OVER:
		set_state_fd(o, r);
		break;
	case OPTION_COUNT:
		break;
	}
}

int options_parse(int argc, char **argv, struct options *ret)
{
	struct options o = { .config_file = VHOSTMD_CONF_FILE,
		.pid_file = OPTIONS_DEFAULT_PIDFILE,
		.mount = OPTIONS_DEFAULT_MOUNT,
		.state_fd = -1 };
	struct option longs[OPTION_COUNT + 1];
	char shorts[2 * OPTION_COUNT + 2];
	int key = 0, r = 0;

	build_tables(longs, shorts);
	opterr = 0;
	while ((key = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		enum option_id id = option_of(key);

		if (id == OPTION_COUNT) {
			complain(key, argv);
			r = -EINVAL;
		} else {
			set_option(&o, id, &r);
		}
	}
	for (; optind < argc; optind++) {
		fprintf(stderr, "vhostmd: '%s' is not expected\n", argv[optind]);
		r = -EINVAL;
	}
	if (o.mount[0] != '/') {
		fprintf(stderr, "vhostmd: --mount needs an absolute path, not '%s'\n",
			o.mount);
		r = -EINVAL;
	}
	if (r < 0)
		fprintf(stderr, "Try 'vhostmd --help'.\n");
	else
		*ret = o;
	return r;
}

static void add_word(char **words, const char *word)
{
	while (*words)
		words++;
	*words = (char *)(uintptr_t)word;
}

/* @value: NULL: the option is not there. */
static void add_option(char **words, const char *option, const char *value)
{
	if (!value)
		return;
	add_word(words, option);
	add_word(words, value);
}

char **options_words(const struct options *o)
{
	char **words = xcalloc(2 * (size_t)OPTION_COUNT + 1, sizeof(*words));

	if (o->verbose)
		add_word(words, "--verbose");
	if (o->foreground)
		add_word(words, "--no-daemonize");
	add_option(words, "--config", o->config_file);
	add_option(words, "--pid-file", o->pid_file);
	add_option(words, "--user", o->user);
	add_option(words, "--connect", o->uri);
	add_option(words, "--mount", o->mount);
	add_option(words, "--http", o->http);
	add_option(words, "--http-group", o->http_group);
	if (o->http_any)
		add_word(words, "--http-any");
	add_option(words, "--control", o->control);
	add_option(words, "--control-group", o->control_group);
	return words;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "conf/conf.h"
#include "util/cleanup.h"

enum { OPT_CHECK = 256, OPT_LIST, OPT_VERSION };

static const struct {
	int key; /* the short option, or one of the above */
	const char *name;
	const char *arg; /* NULL: none; in [] if optional */
	const char *help;
} table[] = {
	{ 'v', "verbose", NULL, "log more" },
	{ 'd', "no-daemonize", NULL, "stay in the foreground, log to standard error" },
	{ 'f', "config", "FILE", "configuration (" CONF_DEFAULT_FILE ")" },
	{ 'p', "pid-file", "FILE", "pid file (" OPTIONS_DEFAULT_PIDFILE ")" },
	{ 'u', "user", "USER", "run as USER after the file system is mounted" },
	{ 'c', "connect", "URI", "libvirt's URI (the hypervisor of this host)" },
	{ 'm', "mount", "DIR",
		"where the file system appears (" OPTIONS_DEFAULT_MOUNT ")" },
	{ OPT_CHECK, "check-config", "FILE",
		"say what FILE would do, or what is wrong with it" },
	{ OPT_LIST, "list-sources", "[markdown]", "list the native sources of metrics" },
	{ OPT_VERSION, "version", NULL, "print the version" },
	{ 'h', "help", NULL, "print this" },
};

#define N_OPTIONS ARRAY_LEN(table)

void options_help(void)
{
	printf("Usage: vhostmd [OPTION]...\n"
	       "Gives virtual machines a read-only window on the metrics of their host.\n\n");
	for (size_t i = 0; i < N_OPTIONS; i++) {
		char left[64];

		snprintf(left, sizeof(left), "%s%c%s --%s%s%s",
			table[i].key < 256 ? "-" : " ",
			table[i].key < 256 ? table[i].key : ' ',
			table[i].key < 256 ? "," : " ", table[i].name,
			table[i].arg ? " " : "", table[i].arg ? table[i].arg : "");
		printf("  %-28s %s\n", left, table[i].help);
	}
	printf("\nExit status: 0 success, 1 failure, 2 wrong usage.\n");
}

static void build_tables(struct option *longs, char *shorts)
{
	*shorts++ = ':';
	for (size_t i = 0; i < N_OPTIONS; i++) {
		int arg = !table[i].arg          ? no_argument
			: table[i].arg[0] == '[' ? optional_argument
						 : required_argument;

		longs[i] = (struct option){ table[i].name, arg, NULL, table[i].key };
		if (table[i].key >= 256)
			continue;
		*shorts++ = (char)table[i].key;
		if (arg == required_argument)
			*shorts++ = ':';
	}
	longs[N_OPTIONS] = (struct option){ 0 };
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

static void complain(int key, char **argv)
{
	const char *word = argv[optind - 1];

	if (key == ':')
		fprintf(stderr, "vhostmd: option '%s' needs an argument\n", word);
	else
		fprintf(stderr, "vhostmd: unknown option '%s'\n", word);
}

int options_parse(int argc, char **argv, struct options *ret)
{
	struct options o = { .config_file = CONF_DEFAULT_FILE,
		.pid_file = OPTIONS_DEFAULT_PIDFILE,
		.mount = OPTIONS_DEFAULT_MOUNT };
	struct option longs[N_OPTIONS + 1];
	char shorts[2 * N_OPTIONS + 2];
	int key = 0, r = 0;

	build_tables(longs, shorts);
	opterr = 0;
	while ((key = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		switch (key) {
		case 'v':
			o.verbose = true;
			break;
		case 'd':
			o.foreground = true;
			break;
		case 'f':
			o.config_file = optarg;
			break;
		case 'p':
			o.pid_file = optarg;
			break;
		case 'u':
			o.user = optarg;
			break;
		case 'c':
			o.uri = optarg;
			break;
		case 'm':
			o.mount = optarg;
			break;
		case OPT_CHECK:
			o.action = ACTION_CHECK_CONFIG;
			o.config_file = optarg;
			break;
		case OPT_LIST:
			set_list_sources(&o, optarg, &r);
			break;
		case OPT_VERSION:
			o.action = ACTION_VERSION;
			break;
		case 'h':
			o.action = ACTION_HELP;
			break;
		default:
			complain(key, argv);
			r = -EINVAL;
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

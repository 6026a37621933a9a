/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The command line.  One table makes the parser and --help.  The build says where the
 * configuration is installed and looked for: VHOSTMD_CONF_FILE.
 */
#pragma once

#include <stdbool.h>

#define OPTIONS_DEFAULT_MOUNT "/run/vhostmd"
#define OPTIONS_DEFAULT_PIDFILE "/var/run/vhostmd.pid"
#define OPTIONS_NO_CONTROL "none"

enum options_action {
	ACTION_RUN,
	ACTION_HELP,
	ACTION_VERSION,
	ACTION_LIST_SOURCES,
	ACTION_CHECK_CONFIG,
	ACTION_MOUNT_ONLY,
	ACTION_CAN_TAKE_OVER,
};

struct options {
	enum options_action action;
	bool verbose;
	bool foreground;
	bool markdown; /* --list-sources=markdown */
	const char *config_file;
	const char *pid_file;
	const char *user; /* NULL: stay */
	const char *uri;  /* NULL: the hypervisor of this host */
	const char *mount;
	const char *http;       /* where that is served; NULL: nowhere */
	const char *http_group; /* who may connect; NULL: that of the process */
	bool http_any;          /* and if other hosts can */
	/* the control socket; NULL: beside the pid file; OPTIONS_NO_CONTROL: nowhere */
	const char *control;
	const char
		*control_group; /* who may have things changed there; NULL: root alone */

	/* What a keeper says to its successor (keeper/upgrade.h); in no help. */
	const char *versions; /* of what it would hand on; NULL: not said */
	int state_fd;         /* with what it hands on; -1: there is none */
};

/* Return: 0, or -EINVAL after saying on standard error what is wrong. */
int options_parse(int argc, char **argv, struct options *ret);

/*
 * The command line of who was started with @options, with absolute paths in them, and is to
 * run as it does now.  Return: words, ended by NULL, without the program's name: the
 * caller's to free, while @options own what they consist of.
 */
char **options_words(const struct options *options);

/* Prints the usage to standard output. */
void options_help(void);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The command line.  One table makes the parser and --help.  The build says where the
 * configuration is installed and looked for: VHOSTMD_CONF_FILE.
 */
#pragma once

#include <stdbool.h>

#define OPTIONS_DEFAULT_MOUNT "/run/vhostmd"
#define OPTIONS_DEFAULT_PIDFILE "/var/run/vhostmd.pid"

enum options_action {
	ACTION_RUN,
	ACTION_HELP,
	ACTION_VERSION,
	ACTION_LIST_SOURCES,
	ACTION_CHECK_CONFIG,
	ACTION_MOUNT_ONLY,
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
};

/* Return: 0, or -EINVAL after saying on standard error what is wrong. */
int options_parse(int argc, char **argv, struct options *ret);

/* Prints the usage to standard output. */
void options_help(void);

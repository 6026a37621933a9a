/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is wrong on a host that runs vhostmd, or is to run it, and how to mend it.  Changes
 * nothing, and needs no daemon.  Whatever may hang is asked in a child, which is left behind if
 * it does.  As root it sees all; what another user may not look at is a note.  One thread.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

struct doctor_options {
	const char *root;  /* "/" on a real host; a fixture's directory in tests */
	const char *mount; /* where vhostmd's file system appears; below root */
	const char *
		conf_file; /* the configuration; this and the next are taken as they are */
	const char *pid_file;
	const char *uri;            /* libvirt's; NULL: libvirt is not asked */
	const char *daemon;         /* path of the program vhostmd, for --check-config */
	bool json, colour, verbose; /* verbose: also what is well */
};

/*
 * Looks, and prints a line each to @out: "ok", "note", "warning" or "fault", what was found,
 * and, indented below it, how to mend it; with @options->json an array of objects instead.
 * What came from outside is printed without control characters.
 * Return: the worst: 0 all well or notes only, 1 warnings, 2 faults.
 */
int doctor_run(const struct doctor_options *options, FILE *out);

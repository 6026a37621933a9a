/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vhostmdctl(1): what its verbs share.  One thread.  Verbs say on standard error what is wrong
 * and how to mend it, and return an exit status.
 */
#pragma once

#include <stdbool.h>

/* vhostmdctl(1), EXIT STATUS; doctor has its own */
enum ctl_status {
	CTL_OK,
	CTL_FAILED,
	CTL_USAGE,
	CTL_NOT_FOUND, /* no such VM or metric */
	CTL_NO_VALUE,  /* a metric that cannot be had now */
};

/* What the options before the verb say. */
struct ctl {
	const char *mount;   /* where vhostmd's file system is */
	const char *program; /* vhostmd */
	const char *control; /* its control socket; NULL: where its file status says */
	const char *uri;     /* libvirt's; NULL: as for the daemon */
	bool json;
};

/* "vhostmdctl: " and a line; control characters do not reach the terminal. */
void ctl_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* How to mend it: a line behind that one. */
void ctl_hint(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

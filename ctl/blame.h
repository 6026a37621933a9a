/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * `vhostmdctl blame`: whom VMs waited for when they wanted a processor, in words.  One thread.
 * Return: an exit status, after saying what is wrong.
 */
#pragma once

#include <stdbool.h>

#include "ctl.h"

#define BLAME_SECONDS_MAX 86400u

struct blame_options {
	const char *vm;   /* its name, uuid or id; NULL: all that waited noticeably */
	bool all;         /* those that did not, too */
	unsigned seconds; /* from now on; 0: the last minute */
};

int blame_run(const struct ctl *ctl, const struct blame_options *asked);

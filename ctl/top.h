/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `vhostmdctl top`: the VMs of this host as they do, on a screen or as CSV or JSON.  One thread. */
#pragma once

#include <stdbool.h>

#include "ctl.h"
#include "top_columns.h"

struct top_options {
	int delay_ms;        /* between refreshes, at least */
	unsigned long count; /* of refreshes; 0: for ever */
	struct top_query query;
	bool batch; /* print; JSON if the whole of vhostmdctl does */
	bool colour;
};

/* Return: an exit status. */
int top_run(const struct ctl *ctl, const struct top_options *options);

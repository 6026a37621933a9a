/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * `attach` and `detach`: gives VMs the devices by which they read their metrics, or takes them
 * away, by libvirt, which must allow it: unlike the daemon's, this connection may change things.  One
 * thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "ctl.h"
#include "devices.h"

struct attach_options {
	bool device[DEVICE_COUNT]; /* which; none: all */
	bool live, config; /* the VM that runs, what it starts with; neither: both */
	const char *bus;   /* of disks */
	bool dry_run;      /* print what would be handed to libvirt, and change nothing */
	bool follow;       /* and each VM that starts, until a signal ends it */
};

/*
 * Each of @vms, by name, uuid or id; none: all of the host's that @match is a pattern of
 * (util/glob.h), and with options->follow each that starts from now on, also through restarts of
 * libvirt.  What is there already is well.  Return: an exit status.
 */
int attach(const struct ctl *ctl, const struct attach_options *options, char *const *vms,
	size_t n, const char *match);
int detach(const struct ctl *ctl, const struct attach_options *options, char *const *vms,
	size_t n, const char *match);

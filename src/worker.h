/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The worker: the process that does the work, after it has given up what rights and system
 * calls it does not need (confine.h).  Starts the collectors and the exports, wires them together, reloads on SIGHUP, ends
 * on SIGTERM.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct conf;
struct disk_access;
struct keeper_parcel;

struct worker_params {
	const char *config_file; /* for reloads */
	const char *user;        /* NULL: stay who we are */
	bool user_is_for_all;    /* for actions, too */
	const char *uri;         /* libvirt's; NULL: libvirt chooses */
	const char *connect;     /* for CONNECT in actions; NULL: nothing */
	const char *mount;
	bool has_control_group; /* members of control_gid may have things changed */
	gid_t control_gid;
	const struct disk_access *disk_access; /* found while we were root; borrowed */
	struct conf *conf;                     /* the first; borrowed */
};

/* Runs until told to stop.  Return: the exit status. */
int worker_run(const struct worker_params *params, const struct keeper_parcel *parcel);

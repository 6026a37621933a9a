/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What stat(2) says of a node, and what tells the kernel's knowledge of it from ours.  Pure
 * functions of a view; any thread.
 */
#pragma once

#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

struct blob;
struct node;
struct view;

struct attr_params {
	mode_t mode; /* of files; directories can be searched by whom they can be read */
	gid_t gid;
	mode_t disk_mode; /* of disks, to which anybody may find the way */
	gid_t disk_gid;
	struct timespec
		since; /* the configuration is in force: what else would change? */
	uint64_t disk_bytes;
	int64_t disk_ns; /* the time of the disk that is asked for */
};

/* @blob: the bytes of a metric or document; NULL: a metric that cannot be had. */
void attr_stat(const struct attr_params *params, const struct view *view,
	const struct node *node, const struct blob *blob, struct stat *ret);

/* Whose change can change the node: a VM's key, 0 for the host's, ARMED_TREE for any. */
uint64_t attr_group(const struct node *node);

/* Differs after the node has changed; not of disks. */
int64_t attr_version(const struct view *view, const struct node *node);

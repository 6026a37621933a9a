/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who may read the disks where the configuration does not say it.  A disk is of use to a QEMU
 * alone, so a group that all of libvirt's QEMUs are in may, if it is known for certain;
 * otherwise anybody, as a VM whose disk cannot be read does not start.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct conf;
struct strbuf;

struct disk_access {
	bool known; /* QEMU's group is */
	gid_t gid;
	char why[160]; /* for people: how it is known, or why it is not */
};

/*
 * Asks libvirt's own configuration of QEMU, which root alone may read, and the host's users.
 * @root_fd: the root directory; not owned.
 */
void disk_access_find(int root_fd, struct disk_access *ret);

/* What the disks have; the configuration's own word comes first. */
mode_t disk_access_mode(const struct disk_access *access, const struct conf *conf);
gid_t disk_access_gid(const struct disk_access *access, const struct conf *conf);

/* Appends a line for people. */
void disk_access_describe(
	const struct disk_access *access, const struct conf *conf, struct strbuf *out);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The disks as files: whose latch a read goes by (mdisk/disks.h).  The kernel keeps nothing
 * of a disk that must be taken back: it asks for the attributes before each read, and drops the
 * pages by itself when the disk's time has moved on.  Only where there are no pages, because
 * nobody reads through them, it is told the attributes for a moment.
 * Nothing of FUSE.  Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct blob;
struct disks;
struct node;
struct view;

/*
 * The image that a read gets, referenced.
 * @direct: it is for the reader alone (O_DIRECT), not for the page cache; @reader: the
 * thread that asks, as FUSE tells.
 */
struct blob *disk_read(struct disks *disks, struct view *view, const struct node *node,
	bool direct, pid_t reader, uint64_t offset);

/*
 * The time of the image that reads through the page cache get, in nanoseconds; *@ret_keep_ns:
 * for how long the kernel may keep it.  @opening: it is asked for by its name.
 */
int64_t disk_time(struct disks *disks, struct view *view, const struct node *node,
	pid_t reader, bool opening, int64_t *ret_keep_ns);

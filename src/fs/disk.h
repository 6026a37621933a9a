/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The disks as files: whose latch a read goes by (mdisk/disks.h), what of a disk the kernel
 * was told (fs/armed.h), and how its page cache moves on.  Nothing of FUSE.  Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct armed;
struct blob;
struct disks;
struct node;
struct view;

/*
 * The image that a read gets, referenced.
 * @direct: it is for the reader alone (O_DIRECT), not for the page cache; @reader: the
 * thread that asks, as FUSE tells.
 */
struct blob *disk_read(struct disks *disks, struct armed *armed, struct view *view,
	const struct node *node, bool direct, pid_t reader, uint64_t offset);

/*
 * All pages of a disk are about to be forgotten: it moves on.
 * Return: false if it may not yet, and stays as it is for a while.
 */
bool disk_move(struct disks *disks, struct armed *armed, struct view *view,
	const struct node *node);

/* They are forgotten; now the first must be forgotten again. */
void disk_settle(struct disks *disks, struct view *view, const struct node *node);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which disks are too small for what they are to show, as they were read last.  Logs when
 * that begins and when it has been over for a while, once for each disk, however often and
 * by whom it is read.  Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct disks_place;
struct lack;
struct strbuf;
struct view;

struct lack *lack_new(void);
void lack_free(struct lack *lack); /* NULL is accepted */

/* What an image had. */
struct room {
	size_t left_out; /* metrics */
	uint64_t bytes;
	bool old; /* the disk is larger, but there are VMs that do not know it yet */
};

/* An image was made.  @now_ns: monotonic. */
void lack_note(struct lack *lack, const struct disks_place *place, struct room room,
	int64_t now_ns);

/* Disks have another size: whatever was known is of the old one. */
void lack_forget(struct lack *lack);

/* Appends lines for status.  @view: the VMs that run. */
void lack_status(struct lack *lack, const struct view *view, struct strbuf *out);

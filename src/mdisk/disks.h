/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The disks as they are read: each one's image is latched, so that a guest that reads
 * header, content and header again finds one generation.  A read that covers offset 0 may
 * move a disk on to the newest snapshot; a disk that is being read is left alone for a
 * while.  Images are made only when read, and forgotten some time after.  Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct blob;
struct disks;
struct snapshot;
struct view;

/* @size_bytes: of every disk; a multiple of DISK_BLOCK_BYTES. */
struct disks *disks_new(uint64_t size_bytes);
void disks_free(struct disks *disks); /* NULL is accepted */

uint64_t disks_size(struct disks *disks);

/* After a reload.  Disks that no longer fit keep their image. */
void disks_set_size(struct disks *disks, uint64_t size_bytes);

/*
 * Which image to serve a read from.
 * @key: of the disk, stable; @view: the current one; @vm: whose private disk it is, NULL
 * while that VM does not run here; @shared: everything instead.
 * @from_start: the read covers offset 0.  @now_ns: monotonic.
 * Return: the image, with a reference for the caller.
 */
struct blob *disks_read(struct disks *disks, uint64_t key, struct view *view,
	struct snapshot *vm, bool shared, bool from_start, int64_t now_ns);

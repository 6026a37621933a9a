/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The disks as they are read: each one's image is latched, so that a guest that reads
 * header, content and header again finds one generation.  A read that covers offset 0 may
 * move a disk on to the newest snapshot; a disk that is being read is left alone for a
 * while.  Images are made only when read, and forgotten some time after.  Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
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
 * Forgets images that nobody reads any more; to be called now and then.
 * Return: how many.
 */
size_t disks_sweep(struct disks *disks, int64_t now_ns);

/* Which disk, and what it shows. */
struct disks_place {
	uint64_t key; /* stable; direct and cached readers have different ones */
	struct view *view;
	struct snapshot
		*vm; /* whose private disk it is; NULL while it does not run here */
	bool shared; /* everything instead */
};

/*
 * Which image to serve a read from that goes past the page cache.
 * @from_start: the read covers offset 0.  @now_ns: monotonic.
 * Return: the image, with a reference for the caller.
 */
struct blob *disks_read(struct disks *disks, const struct disks_place *place,
	bool from_start, int64_t now_ns);

/*
 * The same for reads that fill the page cache, which is emptied page by page: there the
 * disk moves on only with disks_move_cached(), or when nothing of it is cached.
 */
struct blob *disks_read_cached(
	struct disks *disks, const struct disks_place *place, int64_t now_ns);

/*
 * Moves a cached disk on, if it was not moved just before.  From now on its header says
 * busy, so that nobody takes new pages beside old ones for whole; when the caches are
 * empty, disks_settle() ends that, and the page of the header must be forgotten once more.
 * Return: false if it may not move yet.
 */
bool disks_move_cached(
	struct disks *disks, const struct disks_place *place, int64_t now_ns);
void disks_settle(struct disks *disks, uint64_t key);

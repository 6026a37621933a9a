/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The disks as they are read: each one's image is latched, so that a guest that reads
 * header, content and header again finds one generation.  A read that covers offset 0 may
 * move a disk on to the newest snapshot; a disk that is being read is left alone for a
 * while.  Images are made only when read, and forgotten some time after.  Any thread.
 *
 * However many disks are read, and by whom: a VM that runs has a latch for its private disk
 * and one for what the page cache has of it; the disks of all VMs that do not run, of which
 * there are as many as uuids, have one of each together.  A VM that starts or
 * stops goes from one to the other with the next read; who is in the middle finds another
 * header at the end.  So does who reads the disk of a VM that runs again: of its last run, which
 * may have been another's VM with that uuid, nobody gets a byte any more.  Of the shared disk each
 * process has a latch that reads it past the page cache, up to a number, and who comes then
 * shares one with others who do.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/sizes.h"

struct arena;
struct blob;
struct disks;
struct handover;
struct snapshot;
struct strbuf;
struct view;

/* @size_bytes: of every disk; a multiple of DISK_BLOCK_BYTES. */
struct disks *disks_new(uint64_t size_bytes);
void disks_free(struct disks *disks); /* NULL is accepted */

/*
 * Takes over the latches that are in @handover, with their images in @arena, and keeps them
 * there from now on, for who comes after us; both outlive @disks.  Who is in the middle of a
 * disk reads on in the same image; who reads through the page cache finds the header busy until
 * he asks for the disk's time.  Before anything is read.  @now_ns: monotonic.
 */
void disks_inherit(struct disks *disks, struct handover *handover, struct arena *arena,
	int64_t now_ns);

/* Of all disks: what it is, and what it was before. */
struct sizes *disks_sizes(struct disks *disks);

static inline uint64_t disks_size(struct disks *disks)
{
	return sizes_now(disks_sizes(disks));
}

/*
 * After a reload.  Images that are being read stay as they are.  A VM whose disk was smaller
 * at any time since it started finds a whole document within that size until it ends; so
 * does the shared disk, as long as such a VM runs.  @now_ns: monotonic.
 */
void disks_set_size(struct disks *disks, uint64_t size_bytes, int64_t now_ns);

/* Appends lines for status.  @view: the newest. */
void disks_status(struct disks *disks, const struct view *view, struct strbuf *out);

/*
 * Forgets images that nobody reads any more; to be called now and then.
 * Return: how many.
 */
size_t disks_sweep(struct disks *disks, int64_t now_ns);

/* Which disk, and what it shows. */
struct disks_place {
	uint64_t key; /* stable, not a small number; of the shared disk: one a reader */
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
 * Through the page cache.  The kernel asks for a disk's attributes before each read, and when
 * its time is another than before it drops all its pages first; so the time is the identity
 * of the image that reads get, and both move on together: when the time is asked for and
 * nobody has read for a while.  Only reads count as reading, and only they make a first
 * image: until then the time is that of the newest publication.
 *
 * Dropping takes time, and other readers may come before it has reached the last page: what
 * they read would be of two images, with a header that says nothing of it.  So as long as
 * one thread alone has asked since the image moved on, which goes on only when it has
 * dropped all pages, nothing is to be done; another that comes is told another time yet, so
 * that it drops the pages for itself, and if it comes soon all of them are for a moment, in
 * which the header says busy.  (The disks of VMs that do not run share all this, although each
 * has pages of its own; a crowd there does not read for a VM.)
 *
 * The kernel asks before each read, also past the page cache, where nobody needs it.  So
 * while a disk is read in that way only, and nobody has just opened it, the time may be kept for
 * a moment.  Should somebody read through the page cache in that moment, without having asked,
 * the header says busy until he does ask.
 *
 * @reader: the thread that asks, as FUSE tells; @opening: by its name, as one does to open it.  *@ret_keep_ns: for how long he need not ask
 * again.
 * Return: real time in nanoseconds, strictly growing from image to image; the last bit says
 * whether the image is of a VM that runs.
 */
int64_t disks_time(struct disks *disks, const struct disks_place *place, pid_t reader,
	bool opening, int64_t now_ns, int64_t *ret_keep_ns);

/* The image for a read that fills the page cache; as above. */
struct blob *disks_read_cached(struct disks *disks, const struct disks_place *place,
	pid_t reader, bool from_start, int64_t now_ns);

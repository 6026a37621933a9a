/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A metrics disk as a guest sees it: a block device, or a file with an image.  It is written
 * while it is read, by hosts that say so in its header, and nothing in it is believed: lengths
 * are checked against the device, sums against the content, and tries end at a deadline.  A disk
 * belongs to one thread.  Errors are those of enum vhostmd_error.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>

#include "device.h"

struct buf;

struct disk {
	struct device device;
	int64_t bytes;   /* that it has, at least: it was asked when more was needed */
	size_t expected; /* header and content, as they were; 0: not known yet */
	/* what was compared to its end and found to be the same, by its header; NULL: nothing */
	const char *same;
	uint32_t checksum, length;
	int64_t compared_ns;
};

#define DISK_CLOSED ((struct disk){ .device = DEVICE_CLOSED })

/* device_open().  Return: 0 or an error; @ret is untouched then, and @tried has a line. */
int disk_open(const char *path, struct disk *ret, struct buf *tried);

/* Closes what is still there; a closed one is accepted. */
void disk_close(struct disk *d);

static inline bool disk_is_closed(const struct disk *d)
{
	return d->device.handle == -1;
}

/* False as well if somebody else closed it, or there is another device or file at @path by now. */
bool disk_is_at(const struct disk *d, const char *path);

/* One small read.  Return: 0 if there is the signature, VHOSTMD_ERR_NOT_A_DISK, or an error. */
int disk_probe(struct disk *d);

/*
 * Whether a content says that it is for one VM alone, by a carriage return in the white space behind
 * the document, where it says nothing to anybody else.  Hosts that know of that give no two of a
 * disk's contents the same sum within minutes (mdisk/image.h).
 */
bool disk_is_marked_own(const struct buf *content);

/*
 * Reads the content, whole and of one moment, or until @deadline_ns.
 * @known: what was read here before; NULL: nothing.  Changes are seen by comparing all bytes,
 * since hosts may give two contents in a row the same sum; of one that is marked, and was the same
 * less than a second ago, by comparing the header and what is read with it.
 * Return: 0 with the content in @out, which was empty; 1: it is @known still; or an error.
 */
int disk_read(
	struct disk *d, const struct buf *known, int64_t deadline_ns, struct buf *out);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the host's block devices have done, all of them from one read of /proc/diskstats (kernel:
 * Documentation/admin-guide/iostats.rst, proc_diskstats(5)).  One thread at a time.
 *
 * The kernel tells times as 32 bits of milliseconds, which end after 50 days of one request at a
 * time, or after one and a half with 32: here they go on.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/vm_sample.h"

/* A device's number, as it is compared here. */
#define DISK_DEVICE(major, minor) ((uint64_t)(major) << 32 | (minor))

struct disk_stats;

struct disk_counters {
	uint64_t device; /* DISK_DEVICE() */
	char node[64];   /* "sda", "dm-3": the kernel's name */
	/* in the order of the file and of VM_HOSTDISK_RD_REQS: bytes, ns, requests */
	uint64_t figures[HOSTDISK_FIGURES];
	uint32_t known; /* bits of those that have a value */
};

/* Opens nothing yet.  @root_fd: the directory that holds proc; borrowed. */
struct disk_stats *disk_stats_new(int root_fd);
void disk_stats_free(struct disk_stats *ds); /* NULL is accepted */

/*
 * Replaces what is known with what the file says now; it is read once more if devices came or
 * went.  Return: 0, or -errno; then no device is known.
 */
int disk_stats_read(struct disk_stats *ds);

/*
 * The same from text.  A line that is not as the kernel writes it is left out, as is one that does
 * not end.  Return: true if it tells of other devices than before, or in another order.
 */
bool disk_stats_parse(struct disk_stats *ds, const char *text);

/* A device as of the last read, valid until the next; NULL: it did not exist then. */
const struct disk_counters *disk_stats_find(const struct disk_stats *ds, uint64_t device);

/* All of them, in the file's order. */
const struct disk_counters *disk_stats_all(const struct disk_stats *ds, size_t *ret_n);

/*
 * Bits of the figures that this kernel tells of, as it does of all devices; 0: not known.  As of
 * the last read that went well.
 */
uint32_t disk_stats_told(const struct disk_stats *ds);

/*
 * Reads "253:3" at *@pos and moves behind it.  Return: 0; -EINVAL if there is no number that
 * a device can have.
 */
int disk_device_parse(const char **pos, uint64_t *ret);

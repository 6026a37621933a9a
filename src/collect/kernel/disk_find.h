/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which block device of the host a path names that a VM's description has, whether or not this
 * process sees the host's /dev: systemd's PrivateDevices= shows another one.  What is there
 * counts; else the kernel's own names (sysfs), and the links that udev made (/run/udev/data).
 * No path leads out of the directory that stands for the root.  One thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct disk_finder;

struct host_disk {
	uint64_t device;     /* DISK_DEVICE() */
	bool counts_flushes; /* as requests of their own */
};

/* @root_fd: the directory that holds dev, proc, run and sys; borrowed. */
struct disk_finder *disk_finder_new(int root_fd);
void disk_finder_free(struct disk_finder *finder); /* NULL is accepted */

/* From here on things may be otherwise: udev's links are read again when they are needed. */
void disk_finder_forget(struct disk_finder *finder);

/*
 * @path: from a description; any bytes.
 * Return: 0; -EINVAL: it is no path below /dev, or one where users make links; -ENOTBLK: what is
 * there is no block device; -ENODEV: nobody knows it; -ENODATA: the kernel is told not to count
 * what that device does.
 */
int disk_find(struct disk_finder *finder, const char *path, struct host_disk *ret);

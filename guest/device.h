/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A block device, or a file with an image of one, that is read and never written: device.c or, on
 * Windows, windows/device.c.  Knows nothing of what is on it.  Belongs to one thread.  Errors are
 * those of enum vhostmd_error.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct buf;

struct device {
	intptr_t handle; /* a descriptor, or what Windows calls a handle; -1: closed */
	bool direct;     /* is read past the cache: by DEVICE_ALIGNMENT, or to the end */
	bool is_block;
	uint64_t id[3]; /* what was opened: a program may close what it does not know */
};

#define DEVICE_CLOSED ((struct device){ .handle = -1 })

/* The least that is taken everywhere by what is read past the cache. */
#define DEVICE_ALIGNMENT 4096u

/*
 * Opens a device or file, which never waits for a medium or for a writer.  Nothing but regular
 * files and block devices is opened.  Return: 0 or an error; @ret is untouched then, and @tried
 * has a line.
 */
int device_open(const char *path, struct device *ret, struct buf *tried);

/* Closes what is still there; a closed one is accepted. */
void device_close(struct device *d);

/* False if it is closed, by whomever, or if there is another device or file at @path by now. */
bool device_is_at(const struct device *d, const char *path);

/* Its bytes now; negative: unknown. */
int64_t device_size(const struct device *d);

/* Sees to it that what is read next is what is there then. */
void device_forget(const struct device *d);

/*
 * Reads once.  @at, @n and @offset: multiples of DEVICE_ALIGNMENT, @at from device_memory().
 * Return: the bytes read, which may be fewer; 0 at the end; or an error.
 */
ssize_t device_read(const struct device *d, void *at, size_t n, int64_t offset);

/* Memory to read into, for free().  @bytes: a multiple of DEVICE_ALIGNMENT.  Return: or NULL. */
void *device_memory(size_t bytes);

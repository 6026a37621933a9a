/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where metrics may be in this guest, and who it is: what udev linked, else what sysfs tells
 * (finder.c), or what Windows has drives and ports for (windows/finder.c).  Nothing here reads a
 * device.  Any thread; no state.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct identity;

/* Called with the path of a device.  Return: true to end the search. */
typedef bool finder_fn(const char *path, void *data);

/*
 * Walks over disks that may hold metrics: the link of the udev rules first, then disks that
 * cannot be written, then the others.  Left out are disks that are large, removable, have
 * partitions or are made of others.
 * @root: "" or a folder to look in instead of /, which Windows has none for.
 * Return: 1; 0: there was none at all; VHOSTMD_ERR_MEMORY: there may be more.
 */
int finder_disks(const char *root, finder_fn *fn, void *data);

/* Writes the path of the channel's device.  Return: 0, VHOSTMD_ERR_NO_SOURCE or _MEMORY. */
int finder_channel(const char *root, char *ret, size_t size);

/* The uuids that this VM may have, as its firmware tells them; none if it tells none. */
void finder_identity(const char *root, struct identity *ret);

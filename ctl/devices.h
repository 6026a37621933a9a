/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The devices by which a VM reads its metrics, in its domain's XML (libvirt: formatdomain.html):
 * which it has, and what is to be added.  Pure functions; texts are the caller's to free.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Which of a VM's devices. */
enum device {
	DEVICE_DISK,
	DEVICE_CHANNEL,
	DEVICE_COUNT,
};

extern const char *const device_names[DEVICE_COUNT];

/* Of one description of a VM: what runs, or what it starts with. */
struct devices {
	char *xml[DEVICE_COUNT]; /* the element that is there, whole; NULL: none */
	char *target
		[DEVICE_COUNT]; /* what it is called there: "vdz", or the channel's name */
	char *image;    /* the metrics disk of another VM that it has; NULL: none */
	unsigned taken; /* letters of targets that are in use: bit 0 is the 'a' of @bus */
};

/* Whose devices are looked for. */
struct devices_of {
	const char *mount; /* of vhostmd's file system */
	const char *
		shared; /* the path of the shared disk, NULL: none, or it does not matter */
	const char *uuid; /* the VM's, as text */
	const char *bus;  /* of a disk to come: one that devices_prefix() knows */
};

/*
 * Looks at a description.  @xml, @len: libvirt's.
 * Return: 0, and *@ret, for devices_done(); -EINVAL if it is no description of a domain.
 */
int devices_find(
	const char *xml, size_t len, const struct devices_of *of, struct devices *ret);
void devices_done(struct devices *devices);
#define _cleanup_devices_ _cleanup_(devices_done)

/* "vd" for virtio, "sd" for what looks like SCSI; NULL if disks cannot be on that @bus. */
const char *devices_prefix(const char *bus);

/*
 * The element of a metrics disk, its target the last letter that neither has taken.  @b may be NULL.
 * Return: NULL if all are.
 */
char *devices_disk_xml(const char *mount, const char *uuid, const char *bus,
	const struct devices *a, const struct devices *b);

/* The element of a channel. */
char *devices_channel_xml(void);

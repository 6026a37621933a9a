/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the shared disk is expected, outside the mount: a symbolic link to it, or a regular
 * file that an older vhostmd left there and QEMUs may have open.  What is not ours is never
 * touched.  Paths are absolute.  Errors come with text for people, because each has its own
 * remedy.  One thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct strbuf;

/*
 * Makes the link, and the directories on its way.
 * Return: 0, also if it is there already; -EEXIST if something else is there, or another
 * -errno, with @why.  @ret_kept: for place_remove().
 */
int place_link(
	const char *path, const char *target, size_t *ret_kept, struct strbuf *why);

/*
 * Removes the link if it leads to @target and is root's or @uid's, and the directories that
 * were made for it, unless somebody put something there.
 * @kept: how many bytes of @path name directories that were there before; SIZE_MAX: all.
 */
void place_remove(const char *path, const char *target, uid_t uid, size_t kept);

/*
 * Opens what an older vhostmd writes, for reading and writing: a regular file of one name
 * with the signature of a metrics disk that belongs to root, or to the user of QEMU, whom
 * libvirt gives a VM's disks to.
 * Return: 0 and a descriptor, the caller's to close; -ENOENT if there is nothing, or a link;
 * -EEXIST if there is something else, with @why.
 */
int place_open_old(const char *path, int *ret_fd, struct strbuf *why);

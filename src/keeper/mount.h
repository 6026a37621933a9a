/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The mount point: checked, mounted, unmounted.  Needs root.  Reports errors as text for
 * people, because each has its own remedy.
 */
#pragma once

#include <stdbool.h>

struct strbuf;

/*
 * Makes @path ready to be mounted on: creates the directory, detaches what a vhostmd left
 * that died.
 * Return: 0; -errno with what is wrong and what to do in @why: -EBUSY (a living vhostmd),
 * -ENOTDIR, -ENOTEMPTY, ...  @ret_created: the directory did not exist.
 */
int mount_prepare(const char *path, bool *ret_created, struct strbuf *why);

/*
 * Mounts there, read-only, type fuse.vhostmd, and looks whether others see it: a mount
 * namespace of our own that passes nothing on is refused with -EXDEV.
 * Return: 0 and the /dev/fuse descriptor (close-on-exec), owned by the caller; -errno with
 * @why.
 */
int mount_attach(const char *path, int *ret_fd, struct strbuf *why);

/*
 * Whether a vhostmd is mounted there that answers, or whose readers wait for one that does: it
 * is no dead one.  Takes a moment.
 */
bool mount_is_held(const char *path);

/* Whether a vhostmd is what is mounted there, alive or dead.  @path: as the kernel lists it. */
bool mount_is_listed(const char *path);

/* All requests end with an error, those to come as well, and it is unmounted if nobody uses it. */
void mount_abort(const char *path);

/* Unmounts; what is still open stays readable as long as somebody serves. */
int mount_detach(const char *path);

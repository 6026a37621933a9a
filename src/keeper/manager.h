/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The service manager, systemd, that keeps a descriptor for a service: one process of the unit
 * stores the mounted /dev/fuse, another one is started with it (data/vhostmd.service.in).
 * Without systemd's library there is none.  One thread.
 */
#pragma once

/*
 * Stores @fd, borrowed, in place of what was stored before.
 * Return: 0; -ENOTCONN if no manager waits for it; -errno.
 */
int manager_store_fuse(int fd);

/* What is stored is of no use to anybody any more: the service ends in good order. */
void manager_drop_fuse(void);

/* What we were started with: a descriptor, the caller's; -1 for none. */
int manager_stored_fuse(void);

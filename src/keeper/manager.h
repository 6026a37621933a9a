/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The service manager, systemd, that keeps descriptors for a service, also from one of its
 * processes to the next: one process of the unit stores the mounted /dev/fuse, the keeper the
 * handover, and each keeper is started with both (data/vhostmd.service.in).  Without systemd's
 * library there is none.  One thread.
 */
#pragma once

/*
 * Stores @fd, borrowed, as that of a file system that was mounted just now: of what was stored
 * before nothing stays.
 * Return: 0; -ENOTCONN if no manager waits for it; -errno.
 */
int manager_store_fuse(int fd);

/* Stores the handover, borrowed, of the session that is stored.  Return: as above. */
int manager_store_handover(int fd);

/* What we were started with: descriptors, the caller's; -1 for none.  Once. */
void manager_stored(int *ret_fuse, int *ret_handover);

/* Nothing is stored any more. */
void manager_forget(void);

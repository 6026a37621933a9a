/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The service manager, systemd, that keeps descriptors for a service, also from one of its
 * processes to the next: one process of the unit stores the mounted /dev/fuse, the keeper the
 * handover and the channels' connections, and each keeper is started with all of them
 * (data/vhostmd.service.in).  Without systemd's library there is none.  One thread.
 */
#pragma once

#include <stdint.h>

struct strbuf;

/*
 * Stores @fd, borrowed, as that of a file system that was mounted just now: of what was stored
 * before nothing stays.
 * Return: 0; -ENOTCONN if no manager waits for it; -errno.
 */
int manager_store_fuse(int fd);

/* Stores the handover, borrowed, of the session that is stored.  Return: as above. */
int manager_store_handover(int fd);

/*
 * Stores a channel's connection, borrowed.  The manager lets it go by itself when it is over.  Where
 * it has no room for it, it is connected anew.
 */
void manager_store_channel(uint64_t id, int fd);

/* Stores the old file (keeper/old_file.h), borrowed; or lets it go. */
void manager_store_old_file(int fd);
void manager_forget_old_file(void);

/*
 * Stores a socket that clients connect to and that the keeper opened (keeper/listeners.h),
 * borrowed; or lets it go.  @name: listener_name().
 */
void manager_store_listener(const char *name, int fd);
void manager_forget_listener(const char *name);

/*
 * What we were started with: descriptors, the caller's; -1 for none.  Once.
 * @ret_channels: connections, sockets that clients connect to, which may be those of a socket
 * unit, and the old file, as baggage (keeper/baggage.h); empty: there are none.
 */
void manager_stored(int *ret_fuse, int *ret_handover, struct strbuf *ret_channels);

/* Nothing is stored any more. */
void manager_forget(void);

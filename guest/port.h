/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A virtio-serial port as a stream of bytes: port.c or, on Windows, windows/port.c.  Knows nothing
 * of what is said.  Nothing waits longer than until its deadline; one that has passed means what
 * can be done at once.  Belongs to one thread.  Errors are those of enum vhostmd_error.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct buf;

struct port {
	intptr_t handle; /* a descriptor, or what Windows calls a handle; -1: closed */
	intptr_t event;  /* on Windows: something was read or written */
};

#define PORT_CLOSED ((struct port){ .handle = -1 })

/* True if @path is that of a port, and not of a disk.  It is not opened. */
bool port_is_at(const char *path);

/*
 * Opens a port; who has it may be done soon.  Return: 0, or an error with a line in @tried; @ret
 * is untouched then.
 */
int port_open(const char *path, int64_t deadline_ns, struct port *ret, struct buf *tried);

/* A closed one is accepted. */
void port_close(struct port *p);

/* Return: how many bytes of @n were sent, at least 1; VHOSTMD_ERR_TIMEOUT or another error. */
ssize_t port_send(struct port *p, const void *bytes, size_t n, int64_t deadline_ns);

/*
 * Receives what there is, which may be less than @n.  While the host's end is closed there is
 * nothing.  Return: at least 1; VHOSTMD_ERR_TIMEOUT or another error.
 */
ssize_t port_receive(struct port *p, void *ret, size_t n, int64_t deadline_ns);

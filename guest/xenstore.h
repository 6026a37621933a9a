/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The document that a host with Xen has written into xenstore for this domain: xenstore.c or, on
 * Windows, windows/xenstore.c.  Any thread; no state.  Errors are those of enum vhostmd_error.
 */
#pragma once

#include <stdint.h>

#include "util/clock.h"

struct buf;

/* As long as guests' programs wait for a channel. */
#define XENSTORE_WAIT_NS (5 * NS_PER_S)

/*
 * Asks for it at $XENSTORED_PATH, a socket or a device, or by the device that Linux has for that.
 * Return: 0 with the document in @out, which was empty; or an error, and @tried has a line.
 */
int xenstore_read(int64_t deadline_ns, struct buf *out, struct buf *tried);

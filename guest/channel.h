/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The virtio-serial channel as a guest sees it: one request, one document.  The port can be
 * opened by one program at a time and is closed after each answer.  What somebody else asked for
 * and did not fetch, which may be hours old, is told from the answer.  Any thread; no state.
 * Errors are those of enum vhostmd_error.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct buf;

/*
 * Asks for the document.
 * @settle: nobody knows what was left in the port: wait a moment for a second document.
 * Return: 0 with the document in @out, which was empty; or an error, and @tried has a line.
 */
int channel_read(const char *path, bool settle, int64_t deadline_ns, struct buf *out,
	struct buf *tried);

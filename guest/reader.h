/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading metrics inside a guest, from the metrics disk or the virtio-serial channel.
 * Everything that the host sends is checked: lengths against the device, the sum against
 * the content; waits and retries are bounded.  Any thread; no state.
 */
#pragma once

#include <stddef.h>

struct strbuf;

/*
 * Both: Return 0 and the document appended to @out, or -errno.  @tried: gets, whatever the
 * outcome, a line for each thing that was tried and failed.
 */

/* Looks for a metrics disk among all block devices. */
int reader_disk(struct strbuf *out, struct strbuf *tried);
int reader_channel(struct strbuf *out, struct strbuf *tried);

/*
 * Reads one disk or image file.
 * Return: as above; -ENODATA if it is no metrics disk; -EBUSY if its content never became
 * stable; -EBADMSG if its header or sum is wrong.
 */
int reader_disk_at(const char *path, struct strbuf *out, struct strbuf *tried);

/* Talks to one channel device. */
int reader_channel_at(const char *path, struct strbuf *out, struct strbuf *tried);

/* The errno of a function above as people know it from here. */
const char *reader_strerror(int r);

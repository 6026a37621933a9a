/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests to xenstored and its replies, as they go over a stream that takes and brings them in pieces.
 * One at a time.  Logs nothing; one thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "util/xs_wire.h"

struct xs_message {
	uint32_t number; /* of the last request */
	/* the request: header and payload */
	unsigned char out[sizeof(struct xs_header) + XS_PAYLOAD_MAX];
	size_t out_len, sent;
	/* the reply, as far as it is there; a byte behind the payload ends a text */
	unsigned char in[sizeof(struct xs_header) + XS_PAYLOAD_MAX + 1];
	size_t in_len;
	bool open; /* the reply is missing */
};

/* So much of @value fits into a request of that path. */
size_t xs_message_room(const char *path);

/*
 * A request of @path and its zero byte, and @value behind it.  None may be open.
 * Return: 0, -EMSGSIZE for what is longer than XS_PAYLOAD_MAX; then there is none.
 */
int xs_message_set(struct xs_message *m, enum xs_type type, const char *path,
	const void *value, size_t size);

/* Sends once, as much as @fd takes.  Return: 0, or -errno when it is lost. */
int xs_message_send(struct xs_message *m, int fd);
bool xs_message_is_sent(const struct xs_message *m);

/*
 * Reads once.  What was not asked for is passed over.
 * Return: 1 when the reply is whole, with its text, the message's; 0 when it is not yet; -errno: the
 * connection is lost, -ECONNRESET where the other side has ended it; -EPROTO: that is no reply to what
 * was asked.
 */
int xs_message_receive(
	struct xs_message *m, int fd, bool *ret_error, const char **ret_text);

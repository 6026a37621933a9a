/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a guest says (formats: virtio-serial): bytes of which nothing is trusted, cut into
 * requests.  Never more than LIMIT_REQUEST_BYTES are kept.  Of one thread; logs nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/limits.h"

struct channel_row;

enum request {
	REQUEST_UNFINISHED,
	REQUEST_DOCUMENT,
	REQUEST_NONSENSE, /* a request of something else, or one that is too long */
};

struct requests {
	char bytes[LIMIT_REQUEST_BYTES]; /* without carriage returns */
	size_t len;
	size_t n_taken;   /* bytes that stand for those, carriage returns and all */
	int64_t since_ns; /* monotonic; when the last of them came */
};

/*
 * The beginning of a request that had no end for so long that whoever wrote it has given up is
 * dropped.
 */
void requests_forget(struct requests *in, int64_t now_ns);

/*
 * Receives once, when there is no complete request.
 * @row: where that is counted, with all that was received before; NULL: nowhere.
 * Return: 0, -EAGAIN when there is nothing, -errno when the socket is lost.
 */
int requests_receive(
	struct requests *in, struct channel_row *row, int fd, int64_t now_ns);

/* So many bytes are there behind those that were: they were received otherwise. */
void requests_received(struct requests *in, size_t n, int64_t now_ns);

/* The first one. */
enum request requests_first(const struct requests *in);

/* Drops the first one, if it is complete; after nonsense all that was received. */
void requests_drop(struct requests *in);

void requests_clear(struct requests *in);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The virtio-serial channels (formats: virtio-serial): one thread that serves all VMs' with
 * a loop.  Connects when a VM's socket is known, tries again with growing pauses, and keeps
 * each channel's troubles to itself.  Guest bytes are never trusted: a bounded request, a
 * reply of a bounded size, nothing read while a reply is not taken or more was
 * asked than a channel may.  Whatever a guest does costs a bounded time and memory, is named
 * in the log now and then, and is counted.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/uuid.h"

struct arena;
struct channels;
struct handover;
struct strbuf;
struct tree;

struct channels_config {
	bool enabled;
	unsigned max_channels; /* connected at once */
	unsigned
		max_requests; /* answered a second, of each channel in the long run; not 0 */
	int64_t expiration_ns; /* a VM without update for so long is detached */
};

/* What a channel is connected by. */
struct channel_socket {
	int fd; /* non-blocking; the channels' */
	/* for who serves it after us (channels_hand_on()): */
	uint64_t id;  /* of the connection; 0: it ends with us */
	bool resumed; /* somebody served it before */
};

/*
 * @connect: connects to a unix socket without blocking, on the channels' thread.  Return: 0 or
 * -errno; @ret is empty before.
 * Return: NULL with a logged error.  @tree outlives it.
 */
struct channels *channels_start(struct tree *tree, const struct channels_config *config,
	int (*connect)(void *ctx, const char *path, struct channel_socket *ret),
	void *ctx);
void channels_stop(struct channels *channels); /* NULL is accepted */

/*
 * Connections outlive this process, and where they stand is written down (virtio/stand.h): who
 * comes next goes on with them, as we do with those that are there, of VMs that are published,
 * until channels_set() says otherwise.  Before the first of that.  Both outlive @channels.
 */
void channels_hand_on(
	struct channels *channels, struct handover *handover, struct arena *arena);

/* After a reload. */
void channels_set_config(struct channels *channels, const struct channels_config *config);

/* A VM's socket is known; @path NULL: it has none (any more).  Any thread. */
void channels_set(struct channels *channels, const struct uuid *uuid, const char *path);

/* Appends the lines of the status file. */
void channels_status(struct channels *channels, struct strbuf *out);

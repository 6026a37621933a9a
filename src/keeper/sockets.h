/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The channels' sockets, which outlive workers: the keeper connects them, keeps each, and gives
 * it to one worker after another, so that neither QEMU nor its guest sees any of their ends.
 * Reads and writes none.  A connection is over when either side has shut it, which the worker
 * does in place of closing it; then it is closed here, too.  They outlive the keeper's program, as
 * well.  One thread, that of the loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct baggage_socket;
struct loop;
struct sockets;
struct strbuf;

/* @loop outlives it.  @store: the manager has them, too (keeper/manager.h). */
struct sockets *sockets_new(struct loop *loop, bool store);

/* Adds each to what is handed on (keeper/baggage.h). */
void sockets_pack(const struct sockets *sockets, struct strbuf *out);

/* Whether programs that are executed inherit them. */
void sockets_inherit(const struct sockets *sockets, bool inherit);

/*
 * Those that were handed on: taken over where the descriptor is a socket that was inherited.
 * Return: 0, or -errno of baggage_open().
 */
int sockets_adopt_all(struct sockets *sockets, const struct strbuf *baggage);

/* Ends what was inherited of these, and nobody knows any more. */
void sockets_end_left(void);

/* In a child, too: leaves the loop alone.  NULL is accepted. */
void sockets_free(struct sockets *sockets);

/*
 * A worker gone bad must not reach other sockets, a hypervisor's monitor for instance, so
 * there is only one name that it may have connected.
 */
bool sockets_is_channel(const char *path);

struct socket_given {
	int fd;
	bool kept;    /* it will outlive the worker */
	bool resumed; /* a worker had it before */
	uint64_t id;  /* of the connection; not 0, and none is given twice */
};

/* A worker begins: what it does not ask for within a minute is closed. */
void sockets_expect_all(struct sockets *sockets);

/*
 * The connection to a unix socket, the one that there is or a new one.
 * @may_resume: whoever had it before is surely gone; else -EAGAIN for one that there is.
 * Return: 0 or -errno.  @ret: the descriptor stays ours if it is kept, and else is the caller's.
 */
int sockets_get(struct sockets *sockets, const char *path, bool may_resume,
	struct socket_given *ret);

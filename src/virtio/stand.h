/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where each channel's connection stands, in the handover, so that the process that serves it
 * next goes on with exactly the next byte: what was received of requests that are not answered
 * yet, and which reply was sent how far.
 *
 * Theory of operation.  A row has two halves, of which one is in force.  What we change we write
 * into the other, which then is in force by one store (stand_note()).  What the kernel changes,
 * the number of bytes that it took from the socket or put there, it writes itself into the half
 * in force: recvmmsg(2) and sendmmsg(2) take a header that lies in it, and count in that before
 * they return.  So a process may be killed at any moment, inside such a call, too.  A reply is
 * in the arena before its first byte is sent, and the request that it answers is gone by the
 * same store by which it is there.
 *
 * Of the channels' thread.  A row NULL is accepted everywhere: nobody comes after us.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "handover/handover.h"
#include "util/uuid.h"

struct arena;
struct iovec;
struct reply;
struct requests;
struct stands;

/* Drops replies there that belong to no row, and all rows of a VM but its last.  Both outlive it. */
struct stands *stands_new(struct handover *handover, struct arena *arena);
void stands_free(struct stands *stands); /* leaves the rows; NULL is accepted */

/* Whose rows are there, and their sockets' paths, or "".  *@at begins with 0.  Return: false: no more. */
bool stands_next(const struct stands *stands, uint32_t *at, struct uuid *ret_vm,
	char ret_path[static HANDOVER_CHANNEL_PATH]);

/*
 * A new connection.  Return: NULL if there is no room, though rows that nobody has gone on with
 * were dropped for it.
 */
struct channel_row *stands_begin(
	struct stands *stands, uint64_t id, const struct uuid *vm, const char *path);

/*
 * One that another process served.  @in, @reply: empty.
 * Return: 0, or -EBADMSG: nobody knows where it stands.  What is there is not believed, but
 * for the bytes themselves.
 */
int stands_resume(struct stands *stands, uint64_t id, struct requests *in,
	struct reply *reply, int64_t now_ns, struct channel_row **ret);

/* It is over. */
void stands_end(struct stands *stands, struct channel_row *row);

/* Puts a reply into the arena, if there is room; before it is noted. */
void stands_keep_reply(
	struct stands *stands, const struct channel_row *row, struct reply *reply);

/* That one is sent, or will not be: after that was noted.  0 is accepted. */
void stands_drop_reply(struct stands *stands, uint64_t kept);

/* All that was received and sent is in @in and @reply. */
void stand_note(
	struct channel_row *row, const struct requests *in, const struct reply *reply);

/*
 * As recv(2) and sendmsg(2), once and without waiting; @to: behind what was noted.  To be
 * noted then.
 */
ssize_t stand_receive(struct channel_row *row, int fd, void *to, size_t size);
ssize_t stand_send(struct channel_row *row, int fd, struct iovec *iov, size_t n);

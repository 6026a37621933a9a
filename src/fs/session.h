/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The FUSE session that outlives the process that serves it: begun by one worker, gone on with
 * by the next, which the kernel knows nothing of.  What was agreed on at the beginning is
 * agreed on with libfuse again, requests that were read and not answered are answered, and
 * what nobody can take back any more is dropped (handover/handover.h).
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "util/lock.h"

struct fuse_buf;
struct fuse_lowlevel_ops;
struct fuse_session;
struct handover;

#define SESSION_BEGIN_MAX 256u

struct session {
	struct fuse_session *fuse;
	struct handover *handover;
	int fd;
	_Atomic uint64_t beginning;    /* the unique of FUSE_INIT, until it is answered */
	uint64_t repeated;             /* of one that was answered long ago; 0: none */
	char begin[SESSION_BEGIN_MAX]; /* that request */
	size_t begin_bytes;
	unsigned number;        /* of processes before this one */
	_Atomic bool begun;     /* libfuse knows what was agreed on */
	struct lock begin_lock; /* held while it is told so for want of anything left */
};

/*
 * @owner: what the operations get; begins with a struct session, which is filled in here.
 * @number: of processes that had the session before.  @fuse_fd: taken over.  Return: 0, or -errno with a logged error.
 */
int session_open(void *owner, int fuse_fd, struct handover *handover, unsigned number,
	const struct fuse_lowlevel_ops *ops, size_t ops_size);
void session_close(struct session *session);

/*
 * Goes on where the process before us ended, if there was one: before any thread reads
 * requests.  @process: answers one request.
 */
void session_resume(struct session *session,
	void (*process)(struct session *session, const struct fuse_buf *buf));

/*
 * Has libfuse answer a request.  One that is not the first of a session tells that there was one: where
 * what is left of that is of no use, what any kernel agrees on is agreed on with libfuse.  Any thread.
 */
void session_process(struct session *session, const struct fuse_buf *buf);

/* Whether the kernel has no request that was not received. */
bool session_is_idle(const struct session *session);

/*
 * Receives a request into the slot of a @thread, below HANDOVER_THREADS.
 * Return: its size; 0 when the session is over; -errno.
 */
int session_receive(struct session *session, unsigned thread, struct fuse_buf *buf);

/* It is answered, as far as it wants an answer. */
void session_answered(struct session *session, unsigned thread);

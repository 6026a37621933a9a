/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The FUSE session: requests in, answers of fs/content out.  No state of its own for open
 * files.  Threads: a handful that read requests; see serve.c for how many and why.
 */
#pragma once

#include <stdbool.h>

struct content;
struct handover;
struct serve;

/*
 * Starts serving a mounted file system, or goes on with it where the process before us ended
 * (fs/session.h).
 * @number: of processes that served it before.
 * @fuse_fd: /dev/fuse, mounted; taken over.  @content and @handover outlive the session.
 * @on_lost: the kernel has ended the session, it was unmounted or aborted; from any of our
 * threads, once, must not block.
 * Return: NULL with a logged error.
 */
struct serve *serve_start(int fuse_fd, struct handover *handover, unsigned number,
	struct content *content, void (*on_lost)(void *ctx), void *ctx);

/*
 * Ends the session and frees.  Readers that still wait get an error.
 * Return: false if somebody keeps a directory locked: then a thread and memory are left to
 * process exit.
 */
bool serve_stop(struct serve *serve);

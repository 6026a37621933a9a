/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a keeper hands on besides its state (state.h), of no fixed size: the channels' connections
 * and the old file, whose descriptors it leaves open, and the last good configuration.  Another
 * build may have written it, so no byte is believed; one of which nothing is understood goes on
 * without.  Pure; one thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct strbuf;

/* Changes with each change of what is written. */
#define BAGGAGE_VERSION 1u

/*
 * The old file (keeper/old_file.h) has the least id, so it is the last, and a path that no
 * channel has.  A program that does not know of it finds no socket there.
 */
#define BAGGAGE_OLD_FILE 1u
#define BAGGAGE_OLD_FILE_PATH "/"

/*
 * Sockets that clients connect to (keeper/listeners.h) are before that, with ids up to here and
 * paths that no channel has: a program that does not know of them keeps them as channels that
 * nobody asks for, and ends them.
 */
#define BAGGAGE_LISTENERS 15u

/*
 * Then what counts vCPUs' waits (keeper/delays.h), likewise.  Their paths say of which program of the
 * kernel's they are.
 */
#define BAGGAGE_DELAYS 23u

struct baggage_socket {
	uint64_t id;
	int fd;
	const char *path;
};

/* Begins with the configuration's text. */
void baggage_begin(struct strbuf *out, const void *conf, size_t conf_bytes);

/* Behind that; of one after the other the ids fall.  Path: shorter than PATH_MAX. */
void baggage_add(struct strbuf *out, const struct baggage_socket *socket);

struct baggage {
	const char *conf;
	size_t conf_bytes;
	const char *at, *end; /* where the next socket is */
};

/*
 * @bytes: from whomever; they stay as long as @ret is used.
 * Return: 0: paths, ids up to @now_ns, and numbers of descriptors can be used (whether those are
 * open, and each there once, is not known); -EPROTO if another version wrote it, or -EINVAL.
 */
int baggage_open(const void *bytes, size_t size, int64_t now_ns, struct baggage *ret);

/* The next socket.  Return: false: there are no more. */
bool baggage_next(struct baggage *baggage, struct baggage_socket *ret);

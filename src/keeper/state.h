/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a keeper hands on to the program that it executes in its place (upgrade.h): a sealed
 * memory with the numbers of the descriptors that it leaves open, and what it knows.  Another
 * build may have written it, so no byte is believed.  Pure but for state_send(),
 * state_receive(); one thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "handover/handover.h"

struct strbuf;

/* Changes with each change of struct keeper_state. */
#define STATE_VERSION 2u

#define STATE_WORKERS 32u    /* more are not reaped only where the kernel is stuck */
#define STATE_PATH_MAX 4096u /* PATH_MAX, wherever this was built */
#define STATE_PROGRAM_MAX 64u

/* Of descriptors: they keep their numbers; -1: there is none. */
enum state_fd {
	STATE_FD_FUSE,
	STATE_FD_HANDOVER,
	STATE_FD_PID_FILE,
	STATE_FD_SOCKET, /* to the worker that serves */
	STATE_FD_BEFORE, /* the program to go back to; -1: do not */
	STATE_FD_MORE,   /* of what has no fixed size: keeper/baggage.h */
	STATE_FDS,
};

struct keeper_state {
	char magic[8];
	uint32_t version;
	uint32_t bytes;                 /* sizeof(struct keeper_state) */
	char writer[STATE_PROGRAM_MAX]; /* its version, for people */
	int32_t pid;                    /* of the keeper, which it stays */
	int32_t fds[STATE_FDS];

	uint32_t back; /* 0 or 1: the writer was on trial, and failed */

	/* workers that are children still; if @serves is 1 the first one does */
	uint32_t serves, n_workers;
	int32_t workers[STATE_WORKERS];
	uint32_t n_started;        /* of all workers so far */
	int64_t ready_ns, down_ns; /* struct restart; monotonic */

	uint32_t created_dir, mounted; /* 0 or 1 */
	uint32_t init_bytes;
	char init[HANDOVER_INIT_MAX];
	int64_t link_kept;            /* -1: SIZE_MAX */
	char link[STATE_PATH_MAX];    /* "": there is none */
	char program[STATE_PATH_MAX]; /* that is executed in place of the writer's */
};

/* What is the same in all of them: magic, version, the writer, no descriptors. */
void state_begin(struct keeper_state *state);

/*
 * Looks at bytes from whomever.
 * Return: 0; -EPROTO if another version wrote them, or -EINVAL, with @why.
 */
int state_check(const void *bytes, size_t size, int64_t now_ns, struct keeper_state *ret,
	struct strbuf *why);

/* Return: a descriptor, which programs that are executed inherit, or -errno. */
int state_send(const struct keeper_state *state);

/* Sealed memory with those bytes, for STATE_FD_MORE.  Return: the same. */
int state_send_more(const struct strbuf *bytes);

/*
 * The state of this very process, from before it executed this program.  @fd is closed.
 * Return: 0; all its descriptors are of the kind that they should be, and close-on-exec
 * again.  -errno with @why.
 */
int state_receive(int fd, struct keeper_state *ret, struct strbuf *why);

/* Its bytes, if they are sealed and no more than @max.  Return: 0 or -errno. */
int state_receive_more(int fd, size_t max, struct strbuf *out);

/* Whether programs that are executed inherit its descriptors. */
void state_inherit(const struct keeper_state *state, bool inherit);

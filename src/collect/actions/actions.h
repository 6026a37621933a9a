/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The actions collector: runs the configuration's commands each period, some at a time, and
 * puts what they print on the board.  One thread of its own; a slow command delays nothing
 * but itself and, when all places are taken, its fellow commands.  One that cannot be killed
 * is not waited for: it costs its own metric only, which is not tried again before it ends.
 */
#pragma once

#include <stdint.h>

struct actions;
struct board;
struct registry;
struct runner;
struct strbuf;

struct actions_params {
	struct board *board;
	struct registry *registry;
	struct runner *runner; /* starts the commands */
	const char *connect;   /* for CONNECT; NULL: nothing */
	const char *uri;       /* LIBVIRT_DEFAULT_URI of commands; NULL: none */
	uint64_t max_files;    /* a command's soft limit of open files; 0: ours */
};

/*
 * All that @params names outlives it.  When another plan is on the board everything runs at
 * once.  Return: NULL with a logged error if the thread cannot be had.
 */
struct actions *actions_start(const struct actions_params *params);

/* A VM is new: runs its commands without waiting for the next period.  Any thread. */
void actions_kick(struct actions *actions);

/*
 * We are about to end: nothing that ends from now on is stored, since who ends us may have ended it,
 * too, as systemd does.  Does not wait.  NULL is accepted.
 */
void actions_end(struct actions *actions);

/* Kills what runs, waits for that no longer than a second, and frees. */
void actions_stop(struct actions *actions);

/* Appends the lines of the status file. */
void actions_status(struct actions *actions, struct strbuf *out);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The actions collector: runs the configuration's commands each period, some at a time, and
 * puts what they print on the board.  One thread of its own; a slow command delays nothing
 * but itself and, when all places are taken, its fellow commands.  One that cannot be killed
 * is not waited for: it costs its own metric only, which is not tried again before it ends.
 */
#pragma once

#include <stdint.h>

#include "util/user.h"

struct actions;
struct board;
struct registry;
struct strbuf;

struct action_settings {
	const char *path;    /* PATH; copied */
	const char *connect; /* for CONNECT; NULL: nothing; copied */
	const char *uri;     /* LIBVIRT_DEFAULT_URI of commands; NULL: none; copied */
	struct user user;
	int64_t period_ns;
	int64_t timeout_ns;
	unsigned max_parallel;
	uint64_t max_files; /* a command's soft limit of open files; 0: ours */
};

/* Both outlive it.  Return: NULL with a logged error if the thread cannot be had. */
struct actions *actions_start(struct board *board, struct registry *registry,
	const struct action_settings *settings);

/* Puts other settings in force and runs everything now; also after board_set_specs(). */
void actions_reload(struct actions *actions, const struct action_settings *settings);

/* A VM is new: runs its commands without waiting for the next period.  Any thread. */
void actions_kick(struct actions *actions);

/* Kills what runs, waits for that no longer than a second, and frees. */
void actions_stop(struct actions *actions);

/* Appends the lines of the status file. */
void actions_status(struct actions *actions, struct strbuf *out);

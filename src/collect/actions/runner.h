/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The runner: a small process that starts commands for the one that started it, which then
 * gives up the right to start any.  It runs them as the user that the configuration names,
 * whom it finds itself, and none at all where the configuration has no commands; so whoever
 * takes over its master gets no more than the commands' user may do.  Commands are children
 * of its master, who waits for them, but only the runner has the right to kill them.
 *
 * One thread; its master may call from any, and waits for as long as a fork takes.  When its
 * master ends it kills what is left of the commands, and ends, too.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/user.h"

struct runner;

struct runner_grant {
	bool any;         /* there are commands to be run */
	struct user user; /* by whom */
};

struct runner_params {
	const struct user *become; /* for the runner itself; NULL: it stays who it is */
	struct runner_grant grant;
	/* In a child of the runner's: what the configuration grants by now; else nothing. */
	int (*find)(void *ctx, struct runner_grant *ret);
	void *ctx;
};

struct runner_command {
	const char *script; /* for /bin/sh -c */
	char *const *env;   /* exactly this */
	uint64_t max_files; /* its soft limit of open files; 0: ours */
};

/*
 * Call it while there is one thread, with all rights that commands need.
 * Return: 0, or -errno.
 */
int runner_start(const struct runner_params *params, struct runner **ret);

/* The configuration has changed. */
void runner_reload(struct runner *runner);

/* rights_virsh_dir() for its user. */
char *runner_virsh_dir(struct runner *runner);

/*
 * Starts a command, in a process group of its own.  @out, @err: its output; borrowed.
 * Return: its number, a child of ours; or -errno, -EPERM if the configuration has no commands,
 * -EPIPE if the runner is no more.
 */
pid_t runner_spawn(
	struct runner *runner, const struct runner_command *command, int out, int err);

/* Kills the group of a command of which its first process has not been waited for. */
void runner_kill(struct runner *runner, pid_t pid);

/* True when nothing is left of the group of a command that has been waited for. */
bool runner_is_gone(struct runner *runner, pid_t pid);

/* Ends it, and waits for that; frees.  NULL is accepted. */
void runner_stop(struct runner *runner);

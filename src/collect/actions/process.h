/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One command under way: a process group of its own, a time limit, an output limit.  Owned
 * by one thread, which polls its descriptors.  Knows nothing of metrics.
 */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/strbuf.h"
#include "util/user.h"

#define ACTION_N_POLLFDS 3

struct action_process {
	pid_t pid;
	int pidfd, out_fd, err_fd;
	int64_t deadline_mono_ns;
	struct strbuf out;
	char err[160]; /* the start of its standard error */
	size_t err_len;
	bool exited; /* the shell itself is gone; the rest is killed */
	bool timed_out;
	bool too_long; /* more output than LIMIT_ACTION_OUTPUT_BYTES */
	int status;    /* as of waitid: exit status, or 128 + signal */
};

/*
 * Starts /bin/sh -c @script with exactly the environment @env.
 * Return: 0, or -errno; the caller then owns nothing.
 */
int action_process_start(struct action_process *p, const char *script, char *const *env,
	const struct user *user, int64_t timeout_ns);

/* Fills ACTION_N_POLLFDS entries. */
void action_process_poll(const struct action_process *p, struct pollfd *fds);

/*
 * Handles what poll() found, and the deadline.
 * Return: true once the command has ended and @p->out, ->status etc. are final.
 */
bool action_process_step(struct action_process *p, const struct pollfd *fds);

/* Kills what may be left of the group, and frees. */
void action_process_done(struct action_process *p);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One command under way: a process group of its own, a time limit, an output limit.  Lives
 * on a loop, whose thread makes all calls; nothing here waits for a process.  Knows nothing
 * of metrics.
 *
 * A command ends when its shell exits, or when it breaks a limit and is killed: then the
 * results are final, and the owner is told.  It is gone when the kernel has let go of it:
 * usually a moment later, but what sleeps where no signal reaches it stays for as long as
 * it sleeps.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "collect/actions/runner.h"
#include "util/strbuf.h"

struct loop;

struct action_command {
	struct runner *runner; /* borrowed; outlives the command */
	struct runner_command run;
	int64_t timeout_ns;
};

struct action_process {
	/* results, once it has ended */
	struct strbuf out;
	char err[512]; /* the start of its standard error, and a NUL */
	size_t err_len;
	bool timed_out;
	bool too_long; /* more output than LIMIT_ACTION_OUTPUT_BYTES */
	int status;    /* exit status, or 128 + signal */

	pid_t pid;

	/* process.c only */
	struct loop *loop;
	struct runner *runner;
	void (*on_end)(void *ctx);
	void *ctx;
	int out_fd, err_fd;
	uint64_t out_watch, err_watch, child, deadline;
	bool ended;  /* the owner was told, or does not want to be */
	bool exited; /* the shell is gone, and its number not ours any more */
	bool gone;
};

/*
 * Starts the command.  @on_end: called once, from the loop, unless it is killed or freed
 * before; must not free it.
 * Return: 0, or -errno.
 */
int action_process_start(struct loop *loop, const struct action_command *command,
	void (*on_end)(void *ctx), void *ctx, struct action_process **ret);

/* Kills what may be left of it, without waiting; the output is freed. */
void action_process_kill(struct action_process *p);

/* True when nothing is left of the process group.  Asks the kernel, until that is so. */
bool action_process_gone(struct action_process *p);

/* Kills it, and lets go of it even if it is not gone.  NULL is accepted. */
void action_process_free(struct action_process *p);

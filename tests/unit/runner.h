/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who starts commands, and who reaps what these leave. */
#pragma once

#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "collect/actions/runner.h"

static struct runner *runner; /* once runner_begin() has returned */

/* Reaps the orphans of the tests' commands, as the keeper does.  Return: the tests' status. */
static inline int reap_orphans_of(pid_t tests)
{
	int status = 0, of_tests = EXIT_FAILURE;

	for (pid_t pid = 0; pid >= 0; pid = waitpid(-1, &status, 0))
		if (pid == tests && WIFEXITED(status))
			of_tests = WEXITSTATUS(status);
	return of_tests;
}

/* First of all.  Return: the status to end with; -1: the tests are to be run, and runner_stop() after. */
static inline int runner_begin(void)
{
	const struct runner_params params = { .grant = { .any = true } };

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	pid_t pid = fork();

	if (pid)
		return reap_orphans_of(pid);
	return runner_start(&params, &runner) < 0 ? EXIT_FAILURE : -1;
}

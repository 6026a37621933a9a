/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Mistakes that a program does not survive. */
#pragma once

#include "test.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* In a process of its own, of which nothing is heard. */
static inline void assert_aborts(void (*mistake)(void))
{
	pid_t pid = fork();
	int status = 0;

	if (!pid) {
		signal(SIGABRT, SIG_DFL);
		close(STDERR_FILENO);
		mistake();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

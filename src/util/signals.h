/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The signals that the daemon's processes wait for: SIGHUP reloads, SIGUSR2 has the
 * keeper give way to another program, each other one ends in good order.  All that would end a process and are no sign of a fault in it are among them.
 */
#pragma once

#include <signal.h>

static inline void signals_handled(sigset_t *set)
{
	static const int handled[] = { SIGHUP, SIGTERM, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2,
		SIGALRM };

	sigemptyset(set);
	for (size_t i = 0; i < sizeof(handled) / sizeof(handled[0]); i++)
		sigaddset(set, handled[i]);
}

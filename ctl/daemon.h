/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What vhostmdctl asks of the daemon that serves the mount: at its control socket, of one that has
 * none by its file status and by signals, for which one has to be root.  One thread.  Return: an
 * exit status, after saying what is wrong.
 */
#pragma once

#include "ctl.h"
#include "util/log.h"

struct control_answer;
struct status;

/*
 * Its state: what its file status has, or with ctl->control what it says at that socket.
 * *@ret is the caller's to end, in any case.
 */
int daemon_status(const struct ctl *ctl, struct status *ret);

/*
 * Has it read its configuration again, and says what came of it: a failure if it was refused
 * and the one before is in force still.
 */
int daemon_reload(const struct ctl *ctl);

/*
 * Has it give way to the program that is installed by now, without unmounting (vhostmd(8),
 * UPGRADE); a failure if it goes on with the one that it had.
 */
int daemon_upgrade(const struct ctl *ctl);

/*
 * What it says at its control socket to a @verb that may be said twice.
 * @otherwise: a hint for who has a daemon without one.
 * *@ret is the caller's to end, in any case.
 */
int daemon_ask(const struct ctl *ctl, const char *verb, const char *otherwise,
	struct control_answer *ret);

/* Prints the level of its log, after having set it to *@level, unless that is NULL: daemon_ask(). */
int daemon_log(const struct ctl *ctl, const enum log_level *level);

/* `vhostmd --check-config`; @file: NULL: the one in force.  Does not return if all is well. */
int daemon_check_config(const struct ctl *ctl, const char *file);

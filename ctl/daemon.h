/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What vhostmdctl asks of the daemon that serves the mount.  One thread.  Return: an exit status. */
#pragma once

#include "ctl.h"

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

/* `vhostmd --check-config`; @file: NULL: the one in force.  Does not return if all is well. */
int daemon_check_config(const struct ctl *ctl, const char *file);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What vhostmdctl reads of the daemon's file system (vhostmd(8), FILES).  One thread. */
#pragma once

#include <stddef.h>

#include "ctl.h"

/*
 * Which VM is called so, or has that uuid or id.
 * Return: its uuid, the caller's to free; NULL after saying that none runs here, or that nobody knows.
 */
char *tree_find_vm(const struct ctl *ctl, const char *vm);

/* `list`: the VMs that run, a line each.  Return: an exit status. */
int tree_list(const struct ctl *ctl);

/*
 * `get`: metrics of @scope: "host", or a VM's name, uuid or id.
 * @patterns: names of metrics, or patterns of them (util/glob.h); none: all.  Of one name alone
 * the value is printed and nothing else.  Return: an exit status.
 */
int tree_get(const struct ctl *ctl, const char *scope, char *const *patterns, size_t n);

/*
 * `watch`: prints the same, and then each change as it comes, until all are gone, or there
 * were @count changes (0: for ever).  Return: an exit status.
 */
int tree_watch(const struct ctl *ctl, const char *scope, char *const *patterns, size_t n,
	unsigned long count);

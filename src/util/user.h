/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Becoming another user.  Looked up beforehand, because a forked child may not do that. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#define USER_MAX_GROUPS 64

struct user {
	bool change; /* false: stay who we are */
	uid_t uid;
	gid_t gid;
	gid_t groups[USER_MAX_GROUPS];
	int n_groups;
};

/* Return: 0, -ENOENT if there is no such user, or another -errno. */
int user_resolve(const char *name, struct user *ret);

/* Becomes that user for good; async-signal-safe.  Return: 0, or -1 with errno. */
int user_become(const struct user *user);

/*
 * Whether that user may do with a file what @mode says (access(2)).  Asks in a child of ours.
 * Return: 0, -EACCES, -ENOENT, or another -errno.
 */
int user_may(const struct user *user, const char *path, int mode);

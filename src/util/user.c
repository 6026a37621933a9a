/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/user.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stddef.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/mem.h"

int user_resolve(const char *name, struct user *ret)
{
	_cleanup_free_ char *buf = xmalloc(16384);
	struct passwd pw, *found = NULL;
	int r = getpwnam_r(name, &pw, buf, 16384, &found);

	if (!found)
		return r ? -r : -ENOENT;
	ret->change = true;
	ret->uid = pw.pw_uid;
	ret->gid = pw.pw_gid;
	ret->n_groups = USER_MAX_GROUPS;
	if (getgrouplist(name, pw.pw_gid, ret->groups, &ret->n_groups) < 0)
		ret->n_groups = USER_MAX_GROUPS;
	return 0;
}

int user_become(const struct user *user)
{
	if (!user->change)
		return 0;
	if (setgroups((size_t)user->n_groups, user->groups) < 0 ||
		setresgid(user->gid, user->gid, user->gid) < 0)
		return -1;
	return setresuid(user->uid, user->uid, user->uid);
}

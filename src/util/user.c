/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/user.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stddef.h>
#include <sys/wait.h>
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

int user_may(const struct user *user, const char *path, int mode)
{
	int status = 0;
	pid_t pid = user->change ? fork() : 0;

	if (!user->change)
		return faccessat(AT_FDCWD, path, mode, AT_EACCESS) < 0 ? -errno : 0;
	if (pid == 0)
		_exit(user_become(user) < 0 || access(path, mode) < 0 ? errno : 0);
	while (pid > 0 && waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (pid < 0)
		return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
}

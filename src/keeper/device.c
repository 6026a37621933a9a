/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keeper/device.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "handover/slots.h"
#include "util/cleanup.h"
#include "util/log.h"

bool device_is_over(int fuse_fd)
{
	struct pollfd p = { .fd = fuse_fd };

	return poll(&p, 1, 0) > 0 && p.revents & POLLERR;
}

bool device_has_requests(int fuse_fd)
{
	struct pollfd p = { .fd = fuse_fd, .events = POLLIN };

	return poll(&p, 1, 0) > 0 && p.revents & POLLIN;
}

void device_send_again(int fuse_fd)
{
	int r = fuse_fd < 0 ? 0 : slots_send_again(fuse_fd);

	if (r < 0 && r != -EINVAL)
		log_warning("requests cannot be had again: %s", strerror(-r));
}

/* Fields of /proc/PID/stat behind the name. */
enum { STAT_STATE, STAT_EXIT_CODE = 49 };

static const char *stat_field(const char *text, int number)
{
	const char *p = strrchr(text, ')');

	for (int i = 0; p && i <= number; i++)
		p = strchr(p + 1, ' ');
	return p ? p + 1 : "";
}

bool device_user_is_dead(pid_t pid, int *ret_status)
{
	char path[64], text[1024];

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n < 0)
		return false;
	text[n] = '\0';
	if (*stat_field(text, STAT_STATE) != 'Z')
		return false;
	int code = (int)strtol(stat_field(text, STAT_EXIT_CODE), NULL, 10);

	*ret_status = WIFSIGNALED(code) ? 128 + WTERMSIG(code) : WEXITSTATUS(code);
	return true;
}

/* @id: as /proc names it.  Return: whether it is called so, and has not ended. */
static bool thread_is(pid_t pid, const char *id, const char *name)
{
	char path[64], is[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%.16s/comm", (int)pid, id);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, is, sizeof(is));

	return n == (ssize_t)strlen(name) + 1 && !memcmp(is, name, strlen(name));
}

bool device_user_has_thread(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	_cleanup_closedir_ DIR *dir = opendir(path);
	bool found = false;

	for (struct dirent *e = dir ? readdir(dir) : NULL; e && !found; e = readdir(dir))
		found = thread_is(pid, e->d_name, name);
	return found;
}

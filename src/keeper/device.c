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

/* Reads a file of one of its threads.  @id: as /proc names it.  Return: its length, or -1. */
static ssize_t read_of_thread(
	pid_t pid, const char *id, const char *file, char *buf, size_t size)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%.16s/%s", (int)pid, id, file);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -1 : read(fd, buf, size);
}

static DIR *open_threads(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	return opendir(path);
}

bool device_user_has_thread(pid_t pid, const char *name)
{
	_cleanup_closedir_ DIR *dir = open_threads(pid);
	bool found = false;

	for (struct dirent *e = dir ? readdir(dir) : NULL; e && !found;
		e = readdir(dir)) {
		char is[64];
		ssize_t n = read_of_thread(pid, e->d_name, "comm", is, sizeof(is));

		found = n == (ssize_t)strlen(name) + 1 && !memcmp(is, name, strlen(name));
	}
	return found;
}

/* Adds a thread's. */
static void add_times(pid_t pid, const char *id, struct worker_times *times)
{
	char text[1024];
	ssize_t n = read_of_thread(pid, id, "schedstat", text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	char *end = text;
	int64_t ran = strtoll(text, &end, 10), waited = strtoll(end, NULL, 10);

	if (!ran && !waited)
		return;
	times->ran_ns += ran;
	times->waited_ns += waited;
	n = read_of_thread(pid, id, "stat", text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	times->runnable |= *stat_field(text, STAT_STATE) == 'R';
}

struct worker_times device_user_times(pid_t pid)
{
	_cleanup_closedir_ DIR *dir = open_threads(pid);
	struct worker_times times = { 0 };

	for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir))
		if (e->d_name[0] != '.')
			add_times(pid, e->d_name, &times);
	return times;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keeper/device.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
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

bool device_user_is_dead(pid_t pid)
{
	char path[64], text[512];

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n < 0)
		return false;
	text[n] = '\0';
	const char *state = strrchr(text, ')');

	return state && !strncmp(state, ") Z", 3);
}

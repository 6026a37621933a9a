/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keeper/device.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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
	const struct {
		uint32_t bytes;
		int32_t code;
		uint64_t unique;
	} resend = { sizeof(resend), 7 /* FUSE_NOTIFY_RESEND, Linux 6.9 */, 0 };

	if (fuse_fd >= 0 && write(fuse_fd, &resend, sizeof(resend)) < 0 &&
		errno != EINVAL)
		log_warning("requests cannot be had again: %s", strerror(errno));
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

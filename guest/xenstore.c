/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "xenstore.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "buf.h"
#include "failure.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/xs_wire.h"
#include "vhostmd/metrics.h"

#define DEVICE "/dev/xen/xenbus"
#define OLD_DEVICE "/proc/xen/xenbus"

/* Return: a descriptor, or -1 with errno. */
static int open_socket(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = -1;

	if (strlen(path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		int error = errno;

		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

static int open_path(const char *path)
{
	struct stat st;

	if (stat(path, &st) == 0 && S_ISSOCK(st.st_mode))
		return open_socket(path);
	return open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
}

/* Sends or receives all of it.  Return: 0 or an error. */
static int transfer(int fd, void *bytes, size_t n, bool sends, int64_t deadline_ns)
{
	char *at = bytes;

	while (n) {
		struct pollfd pfd = { .fd = fd, .events = sends ? POLLOUT : POLLIN };
		int64_t left_ms = (deadline_ns - clock_mono_ns()) / NS_PER_MS;

		if (left_ms <= 0)
			return VHOSTMD_ERR_TIMEOUT;
		if (poll(&pfd, 1, left_ms < 60000 ? (int)left_ms : 60000) <= 0)
			continue;
		ssize_t r = sends ? write(fd, at, n) : read(fd, at, n);

		if (r == 0)
			return VHOSTMD_ERR_IO;
		if (r < 0 && errno != EAGAIN && errno != EINTR)
			return failure_from_errno(errno);
		if (r > 0) {
			at += r;
			n -= (size_t)r;
		}
	}
	return 0;
}

static int ask(int fd, struct buf *out, int64_t deadline_ns)
{
	struct {
		struct xs_header header;
		char path[sizeof(XS_METRICS)];
	} request = { { .type = XS_READ, .number = 1, .len = sizeof(XS_METRICS) },
		XS_METRICS };
	struct xs_header reply;
	size_t size = sizeof(reply) + sizeof(XS_METRICS);
	int r = transfer(fd, &request, size, true, deadline_ns);

	if (r == 0)
		r = transfer(fd, &reply, sizeof(reply), false, deadline_ns);
	if (r < 0)
		return r;
	if (reply.len > XS_PAYLOAD_MAX || reply.number != request.header.number)
		return VHOSTMD_ERR_CORRUPT;
	char *text = buf_reserve(out, reply.len);

	if (!text)
		return VHOSTMD_ERR_MEMORY;
	r = transfer(fd, text, reply.len, false, deadline_ns);
	if (r < 0)
		return r;
	if (reply.type == XS_ERROR)
		return reply.len == sizeof("EACCES") && !memcmp(text, "EACCES", reply.len)
			? VHOSTMD_ERR_PERMISSION
			: VHOSTMD_ERR_NO_SOURCE;
	if (reply.type != XS_READ)
		return VHOSTMD_ERR_CORRUPT;
	text[reply.len] = '\0';
	out->len += reply.len;
	return 0;
}

int xenstore_read(int64_t deadline_ns, struct buf *out, struct buf *tried)
{
	const char *path = secure_getenv("XENSTORED_PATH");

	if (!path)
		path = access(DEVICE, F_OK) == 0 || access(OLD_DEVICE, F_OK) != 0
			? DEVICE
			: OLD_DEVICE;
	_cleanup_close_ int fd = open_path(path);

	if (fd < 0)
		return failure_note_errno(tried, path, errno);
	int r = ask(fd, out, deadline_ns);

	return r < 0 ? failure_note(tried, path, r) : 0;
}

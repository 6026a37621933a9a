/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "port.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "failure.h"
#include "util/clock.h"
#include "vhostmd/metrics.h"

/* The host's end is closed, or another program has the port. */
#define PAUSE_MS 20

/* Waits until @events or the deadline.  Return: 0 or VHOSTMD_ERR_TIMEOUT. */
static int wait_for(int fd, short events, int64_t deadline_ns)
{
	for (;;) {
		struct pollfd pfd = { .fd = fd, .events = events };
		int64_t left = deadline_ns - clock_mono_ns();

		if (left <= 0)
			return VHOSTMD_ERR_TIMEOUT;
		int n = poll(&pfd, 1,
			(int)(left / NS_PER_MS < 60000 ? left / NS_PER_MS + 1 : 60000));

		if (n > 0 && pfd.revents & events)
			return 0;
		/* the host's end is not open (yet): poll() does not wait then */
		if (n > 0)
			poll(NULL, 0, PAUSE_MS);
	}
}

bool port_is_at(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISCHR(st.st_mode);
}

int port_open(const char *path, int64_t deadline_ns, struct port *ret, struct buf *tried)
{
	for (;;) {
		int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

		if (fd >= 0) {
			*ret = (struct port){ .handle = fd };
			return 0;
		}
		if (errno != EBUSY && errno != EINTR)
			return failure_note_errno(tried, path, errno);
		if (clock_mono_ns() >= deadline_ns)
			return failure_note(tried, path, VHOSTMD_ERR_IN_USE);
		poll(NULL, 0, PAUSE_MS);
	}
}

void port_close(struct port *p)
{
	if (p->handle >= 0)
		close((int)p->handle);
	*p = PORT_CLOSED;
}

ssize_t port_send(struct port *p, const void *bytes, size_t n, int64_t deadline_ns)
{
	for (;;) {
		ssize_t r = write((int)p->handle, bytes, n);

		if (r > 0)
			return r;
		if (r < 0 && errno != EAGAIN && errno != EINTR && errno != EPIPE)
			return failure_from_errno(errno);
		if (wait_for((int)p->handle, POLLOUT, deadline_ns) < 0)
			return VHOSTMD_ERR_TIMEOUT;
	}
}

ssize_t port_receive(struct port *p, void *ret, size_t n, int64_t deadline_ns)
{
	for (;;) {
		ssize_t r = read((int)p->handle, ret, n);

		if (r > 0)
			return r;
		if (r < 0 && errno != EAGAIN && errno != EINTR)
			return failure_from_errno(errno);
		if (wait_for((int)p->handle, POLLIN, deadline_ns) < 0)
			return VHOSTMD_ERR_TIMEOUT;
	}
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a guest says over its channel, in any pieces: a byte says how many bytes come next.
 * Whatever it said, it is answered when it asks as often as its reader does.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/sockios.h>

#include "core/snapshot.h"
#include "fuzz.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/strbuf.h"
#include "util/wire.h"
#include "virtio/channels.h"

static _Atomic int host_end = -1;

/* The channel's one connection is the socket that is there. */
static int connect_once(void *ctx, const char *path, struct channel_socket *ret)
{
	(void)ctx;
	(void)path;
	ret->fd = atomic_exchange(&host_end, -1);
	return ret->fd < 0 ? -ENOENT : 0;
}

static struct channels *start(void)
{
	static struct channels *channels;
	const struct channels_config config = { .enabled = true,
		.max_channels = 2,
		.max_requests = 1000000,
		.expiration_ns = 1000000 * NS_PER_S };

	if (!channels)
		channels = channels_start(tree_new(), &config, connect_once, NULL);
	return channels;
}

/* Reads what there is.  Return: false at the end. */
static bool receive(int fd, struct strbuf *in)
{
	for (;;) {
		ssize_t n = recv(fd, strbuf_reserve(in, 4096), 4096, MSG_DONTWAIT);

		if (n <= 0)
			return n < 0 && errno == EAGAIN;
		in->len += (size_t)n;
		in->data[in->len] = '\0';
	}
}

/* Waits until the host has taken all of it. */
static void say(int fd, const void *bytes, size_t n, struct strbuf *in)
{
	int unread = 1;

	if (send(fd, bytes, n, MSG_NOSIGNAL) != (ssize_t)n)
		abort();
	while (receive(fd, in) && ioctl(fd, SIOCOUTQ, &unread) == 0 && unread > 0)
		sched_yield();
}

static void say_in_pieces(int fd, const uint8_t *data, size_t size, struct strbuf *in)
{
	while (size) {
		size_t n = *data++;

		size--;
		n = n < size ? n : size;
		if (n)
			say(fd, data, n, in);
		data += n;
		size -= n;
	}
}

static void receive_to_end(int fd, struct strbuf *in)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	while (receive(fd, in))
		if (poll(&pfd, 1, 10000) != 1)
			abort();
}

/* They are documents and refusals, and the last one is a document. */
static void check_answers(const char *p)
{
	bool document = false;

	while (*p) {
		const char *end = strstr(p, WIRE_END);

		if (!end)
			abort();
		end += strlen(WIRE_END);
		document = !strncmp(p, "<metrics>", 9);
		if (!document && strncmp(p, WIRE_REFUSAL, (size_t)(end - p)) != 0)
			abort();
		p = end;
	}
	if (!document)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_strbuf_ struct strbuf in = STRBUF_INIT;
	const struct uuid uuid = { { 1 } };
	struct channels *channels = start();
	int fds[2];

	if (size > 4096)
		return 0;
	if (!channels || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		abort();
	atomic_store(&host_end, fds[1]);
	channels_set(channels, &uuid, "port");
	say_in_pieces(fds[0], data, size, &in);
	/* what was begun is refused, and once more if its end is where too much is cut off */
	for (int i = 0; i < 3; i++)
		say(fds[0], WIRE_REQUEST, strlen(WIRE_REQUEST), &in);
	shutdown(fds[0], SHUT_WR);
	receive_to_end(fds[0], &in);
	check_answers(strbuf_str(&in));
	channels_set(channels, &uuid, NULL);
	close(fds[0]);
	return 0;
}

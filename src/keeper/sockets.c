/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keeper/sockets.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "keeper/apart.h"
#include "keeper/baggage.h"
#include "keeper/manager.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/limits.h"
#include "util/loop.h"
#include "util/mem.h"
#include "util/strbuf.h"
#include "util/wire.h"

/* Of the descriptors that we may have, for all else. */
#define OTHERS 64u

/* What no worker has asked for since the last one began is over: its program may listen again. */
#define UNASKED_NS (60 * NS_PER_S)

struct kept {
	struct kept *next;
	struct sockets *sockets;
	char *path;
	int fd;
	uint64_t id, watch;
	bool asked; /* for by the worker that there is */
};

struct sockets {
	struct loop *loop;
	struct kept *list; /* the latest first */
	size_t n, max;
	uint64_t last_id;
	bool store;
	uint64_t unasked; /* the timer */
};

static void on_unasked(void *ctx);

bool sockets_is_channel(const char *path)
{
	const char *name = strrchr(path, '/');

	return path[0] == '/' && name && !strcmp(name + 1, WIRE_CHANNEL_NAME);
}

struct sockets *sockets_new(struct loop *loop, bool store)
{
	struct sockets *s = xcalloc(1, sizeof(*s));
	struct rlimit limit = { 0 };

	s->loop = loop;
	s->store = store;
	s->unasked = loop_add_timer(loop, LOOP_NEVER, on_unasked, s);
	/* those that went before us gave smaller ones */
	s->last_id = (uint64_t)clock_mono_ns();
	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur > OTHERS)
		s->max = limit.rlim_cur - OTHERS < LIMIT_VMS
			? (size_t)(limit.rlim_cur - OTHERS)
			: LIMIT_VMS;
	return s;
}

static void kept_free(struct kept *kept)
{
	close(kept->fd);
	free(kept->path);
	free(kept);
}

void sockets_free(struct sockets *s)
{
	if (!s)
		return;
	while (s->list) {
		struct kept *kept = s->list;

		s->list = kept->next;
		kept_free(kept);
	}
	free(s);
}

static void drop(struct kept *kept)
{
	struct sockets *s = kept->sockets;
	struct kept **at = &s->list;

	while (*at != kept)
		at = &(*at)->next;
	*at = kept->next;
	s->n--;
	loop_del(s->loop, &kept->watch);
	kept_free(kept);
}

/* Nothing else is waited for: it is over. */
static void on_over(void *ctx, uint32_t events)
{
	(void)events;
	drop(ctx);
}

static bool is_over(const struct kept *kept)
{
	struct pollfd p = { .fd = kept->fd };

	return poll(&p, 1, 0) != 0;
}

/* One that is not over. */
static struct kept *find(struct sockets *s, const char *path)
{
	struct kept *kept = s->list;

	while (kept && strcmp(kept->path, path) != 0)
		kept = kept->next;
	if (!kept || !is_over(kept))
		return kept;
	drop(kept);
	return NULL;
}

static void on_unasked(void *ctx)
{
	const struct sockets *s = ctx;

	for (struct kept *kept = s->list, *next = NULL; kept; kept = next) {
		next = kept->next;
		if (kept->asked)
			continue;
		/* a dead worker may have it still */
		shutdown(kept->fd, SHUT_RDWR);
		drop(kept);
	}
}

void sockets_expect_all(struct sockets *s)
{
	for (struct kept *kept = s->list; kept; kept = kept->next)
		kept->asked = false;
	loop_set_timer(
		s->loop, s->unasked, s->list ? clock_mono_ns() + UNASKED_NS : LOOP_NEVER);
}

/* Takes the descriptor over, if there is room for it.  Return: whether it did. */
static bool keep(struct sockets *s, struct kept **at, const struct baggage_socket *socket)
{
	if (s->n >= s->max)
		return false;
	struct kept *kept = xcalloc(1, sizeof(*kept));

	kept->sockets = s;
	if (loop_add_fd(s->loop, socket->fd, 0, on_over, kept, &kept->watch) < 0) {
		free(kept);
		return false;
	}
	kept->path = xstrdup(socket->path);
	kept->fd = socket->fd;
	kept->id = socket->id;
	kept->asked = true;
	kept->next = *at;
	*at = kept;
	s->n++;
	return true;
}

int sockets_get(
	struct sockets *s, const char *path, bool may_resume, struct socket_given *ret)
{
	struct kept *there = find(s, path);

	if (there && !may_resume)
		return -EAGAIN;
	if (there) {
		there->asked = true;
		*ret = (struct socket_given){ there->fd, true, true, there->id };
		return 0;
	}
	int fd = apart_connect(path);

	if (fd < 0)
		return fd;
	const struct baggage_socket socket = { ++s->last_id, fd, path };
	bool kept = keep(s, &s->list, &socket);

	if (kept && s->store)
		manager_store_channel(socket.id, fd);
	*ret = (struct socket_given){ fd, kept, false, socket.id };
	return 0;
}

/* ---- from one program to the next ---- */

void sockets_pack(const struct sockets *s, struct strbuf *out)
{
	for (const struct kept *kept = s->list; kept; kept = kept->next)
		baggage_add(
			out, &(struct baggage_socket){ kept->id, kept->fd, kept->path });
}

void sockets_inherit(const struct sockets *s, bool inherit)
{
	for (const struct kept *kept = s->list; kept; kept = kept->next)
		(void)fcntl(kept->fd, F_SETFD, inherit ? 0 : FD_CLOEXEC);
}

static bool is_inherited_socket(int fd)
{
	struct stat st;

	return fcntl(fd, F_GETFD) == 0 && fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

static bool is_connected_channel(int fd)
{
	struct sockaddr_un addr = { 0 };
	socklen_t len = sizeof(addr) - 1;

	return is_inherited_socket(fd) &&
		getpeername(fd, (struct sockaddr *)&addr, &len) == 0 &&
		addr.sun_family == AF_UNIX && sockets_is_channel(addr.sun_path);
}

void sockets_end_left(void)
{
	_cleanup_closedir_ DIR *dir = opendir("/proc/self/fd");

	for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir)) {
		int fd = (int)strtol(e->d_name, NULL, 10);

		if (fd < 3 || !is_connected_channel(fd))
			continue;
		shutdown(fd, SHUT_RDWR);
		close(fd);
	}
}

static void adopt(struct sockets *s, const struct baggage_socket *socket)
{
	struct kept **at = &s->list;

	/* one that was taken over is inherited no more */
	if (!is_inherited_socket(socket->fd))
		return;
	(void)fcntl(socket->fd, F_SETFD, FD_CLOEXEC);
	while (*at)
		at = &(*at)->next;
	if (!keep(s, at, socket))
		close(socket->fd);
}

int sockets_adopt_all(struct sockets *s, const struct strbuf *bytes)
{
	struct baggage_socket socket;
	struct baggage baggage;

	if (!bytes->len)
		return 0;
	int r = baggage_open(bytes->data, bytes->len, clock_mono_ns(), &baggage);

	while (r == 0 && baggage_next(&baggage, &socket))
		if (socket.id > BAGGAGE_DELAYS)
			adopt(s, &socket);
	return r;
}

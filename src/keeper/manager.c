/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keeper/manager.h"

#include "config.h"

#include <errno.h>
#ifdef HAVE_SYSTEMD
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "keeper/baggage.h"
#include "keeper/listeners.h"
#include "util/cleanup.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"

#define FUSE "fuse"
#define HANDOVER "handover"
#define CHANNEL "channel-" /* with its id */
#define OLD_FILE "old-file"
#define OWN                                                                              \
	"own-" /* with the name of a listener; one of a socket unit has the name alone */
#define BARRIER_US (5 * 1000 * 1000)

void manager_forget_old_file(void)
{
	(void)sd_notify(0, "FDSTOREREMOVE=1\nFDNAME=" OLD_FILE);
}

static void remove_all(void)
{
	manager_forget_old_file();
	(void)sd_notify(0, "FDSTOREREMOVE=1\nFDNAME=" HANDOVER);
	(void)sd_notify(0, "FDSTOREREMOVE=1\nFDNAME=" FUSE);
}

void manager_forget(void)
{
	remove_all();
	(void)sd_notify_barrier(0, BARRIER_US);
}

static int store(const char *message, int fd)
{
	int r = sd_pid_notify_with_fds(0, 0, message, &fd, 1);

	/* when we have ended nobody knows whose message it is */
	if (r > 0)
		r = sd_notify_barrier(0, BARRIER_US);
	return r == 0 ? -ENOTCONN : r < 0 ? r : 0;
}

int manager_store_fuse(int fd)
{
	/* of a service that failed, whose file system is gone */
	remove_all();
	return store("FDSTORE=1\nFDNAME=" FUSE, fd);
}

int manager_store_handover(int fd)
{
	(void)sd_notify(0, "FDSTOREREMOVE=1\nFDNAME=" HANDOVER);
	return store("FDSTORE=1\nFDNAME=" HANDOVER, fd);
}

void manager_store_channel(uint64_t id, int fd)
{
	char message[64];

	snprintf(message, sizeof(message), "FDSTORE=1\nFDNAME=" CHANNEL "%" PRIu64, id);
	(void)sd_pid_notify_with_fds(0, 0, message, &fd, 1);
}

void manager_store_old_file(int fd)
{
	(void)sd_pid_notify_with_fds(0, 0, "FDSTORE=1\nFDNAME=" OLD_FILE, &fd, 1);
}

void manager_store_listener(const char *name, int fd)
{
	_cleanup_free_ char *message = xasprintf("FDSTORE=1\nFDNAME=" OWN "%s", name);

	manager_forget_listener(name);
	(void)sd_pid_notify_with_fds(0, 0, message, &fd, 1);
}

void manager_forget_listener(const char *name)
{
	_cleanup_free_ char *message =
		xasprintf("FDSTOREREMOVE=1\nFDNAME=" OWN "%s", name);

	(void)sd_notify(0, message);
}

/* ---- what comes back ---- */

struct stored_channel {
	uint64_t id;
	int fd;
};

struct started_with {
	struct stored_channel *channels;
	size_t n_channels, cap;
	struct {
		enum listener_kind kind;
		int fd;
		bool own;
	} listeners[LISTENERS_MAX];
	size_t n_listeners;
	int old_file_fd; /* -1: none */
};

static int compare_channels(const void *a, const void *b)
{
	const struct stored_channel *x = a, *y = b;

	return x->id < y->id ? 1 : -(x->id > y->id);
}

/* Its path is where the other side listens. */
static void add_channel(const struct stored_channel *channel, struct strbuf *out)
{
	struct sockaddr_un addr = { 0 };
	socklen_t len = sizeof(addr) - 1;

	if (getpeername(channel->fd, (struct sockaddr *)&addr, &len) < 0 ||
		addr.sun_family != AF_UNIX || !addr.sun_path[0]) {
		close(channel->fd);
		return;
	}
	/* as from a program before us */
	(void)fcntl(channel->fd, F_SETFD, 0);
	baggage_add(
		out, &(struct baggage_socket){ channel->id, channel->fd, addr.sun_path });
}

static void add_all(struct started_with *s, struct strbuf *out)
{
	if (!s->n_channels && !s->n_listeners && s->old_file_fd < 0)
		return;
	if (s->n_channels)
		qsort(s->channels, s->n_channels, sizeof(*s->channels), compare_channels);
	baggage_begin(out, NULL, 0);
	for (size_t i = 0; i < s->n_channels; i++)
		add_channel(&s->channels[i], out);
	for (size_t i = 0; i < s->n_listeners; i++) {
		(void)fcntl(s->listeners[i].fd, F_SETFD, 0);
		listener_pack(s->listeners[i].kind, s->listeners[i].fd,
			s->listeners[i].own, (unsigned)(LISTENERS_MAX - i), out);
	}
	if (s->old_file_fd < 0)
		return;
	(void)fcntl(s->old_file_fd, F_SETFD, 0);
	baggage_add(out,
		&(struct baggage_socket){
			BAGGAGE_OLD_FILE, s->old_file_fd, BAGGAGE_OLD_FILE_PATH });
}

static bool is_channel(const char *name, uint64_t *ret_id)
{
	return !strncmp(name, CHANNEL, strlen(CHANNEL)) &&
		parse_u64(name + strlen(CHANNEL), ret_id) == 0;
}

static bool is_listener(const char *name, bool *ret_own, enum listener_kind *ret_kind)
{
	*ret_own = !strncmp(name, OWN, strlen(OWN));
	return listener_kind_of(*ret_own ? name + strlen(OWN) : name, ret_kind);
}

/* Return: false: it is nothing that we know, or there is no room for it. */
static bool take(struct started_with *s, const char *name, int fd)
{
	enum listener_kind kind;
	uint64_t id = 0;
	bool own;

	if (!strcmp(name, OLD_FILE) && s->old_file_fd < 0) {
		s->old_file_fd = fd;
	} else if (is_channel(name, &id)) {
		s->channels =
			xgrow(s->channels, s->n_channels, &s->cap, sizeof(*s->channels));
		s->channels[s->n_channels++] = (struct stored_channel){ id, fd };
	} else if (s->n_listeners < LISTENERS_MAX && is_listener(name, &own, &kind)) {
		s->listeners[s->n_listeners].kind = kind;
		s->listeners[s->n_listeners].fd = fd;
		s->listeners[s->n_listeners++].own = own;
	} else {
		return false;
	}
	return true;
}

void manager_stored(int *ret_fuse, int *ret_handover, struct strbuf *ret_channels)
{
	struct started_with s = { .old_file_fd = -1 };
	char **names = NULL;
	int n = sd_listen_fds_with_names(1, &names);

	*ret_fuse = *ret_handover = -1;
	for (int i = 0; i < n; i++) {
		int fd = SD_LISTEN_FDS_START + i;

		if (!strcmp(names[i], FUSE) && *ret_fuse < 0)
			*ret_fuse = fd;
		else if (!strcmp(names[i], HANDOVER) && *ret_handover < 0)
			*ret_handover = fd;
		else if (!take(&s, names[i], fd))
			close(fd);
		free(names[i]);
	}
	free(names);
	add_all(&s, ret_channels);
	free(s.channels);
}

#else

int manager_store_fuse(int fd)
{
	(void)fd;
	return -ENOTCONN;
}

int manager_store_handover(int fd)
{
	(void)fd;
	return -ENOTCONN;
}

void manager_store_channel(uint64_t id, int fd)
{
	(void)id;
	(void)fd;
}

void manager_store_old_file(int fd)
{
	(void)fd;
}

void manager_forget_old_file(void)
{
}

void manager_store_listener(const char *name, int fd)
{
	(void)name;
	(void)fd;
}

void manager_forget_listener(const char *name)
{
	(void)name;
}

void manager_stored(int *ret_fuse, int *ret_handover, struct strbuf *ret_channels)
{
	(void)ret_channels;
	*ret_fuse = *ret_handover = -1;
}

void manager_forget(void)
{
}

#endif

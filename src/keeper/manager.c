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
#include "util/cleanup.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"

#define FUSE "fuse"
#define HANDOVER "handover"
#define CHANNEL "channel-" /* with its id */
#define OLD_FILE "old-file"
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

/* ---- what comes back ---- */

struct stored_channel {
	uint64_t id;
	int fd;
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

static void add_all(
	struct stored_channel *channels, size_t n, int old_file_fd, struct strbuf *out)
{
	if (!n && old_file_fd < 0)
		return;
	if (n)
		qsort(channels, n, sizeof(*channels), compare_channels);
	baggage_begin(out, NULL, 0);
	for (size_t i = 0; i < n; i++)
		add_channel(&channels[i], out);
	if (old_file_fd < 0)
		return;
	(void)fcntl(old_file_fd, F_SETFD, 0);
	baggage_add(out,
		&(struct baggage_socket){
			BAGGAGE_OLD_FILE, old_file_fd, BAGGAGE_OLD_FILE_PATH });
}

static bool is_channel(const char *name, uint64_t *ret_id)
{
	return !strncmp(name, CHANNEL, strlen(CHANNEL)) &&
		parse_u64(name + strlen(CHANNEL), ret_id) == 0;
}

void manager_stored(int *ret_fuse, int *ret_handover, struct strbuf *ret_channels)
{
	_cleanup_free_ struct stored_channel *channels = NULL;
	size_t n_channels = 0, cap = 0;
	uint64_t id = 0;
	char **names = NULL;
	int n = sd_listen_fds_with_names(1, &names), old_file_fd = -1;

	*ret_fuse = *ret_handover = -1;
	for (int i = 0; i < n; i++) {
		int fd = SD_LISTEN_FDS_START + i;

		if (!strcmp(names[i], FUSE) && *ret_fuse < 0)
			*ret_fuse = fd;
		else if (!strcmp(names[i], HANDOVER) && *ret_handover < 0)
			*ret_handover = fd;
		else if (!strcmp(names[i], OLD_FILE) && old_file_fd < 0)
			old_file_fd = fd;
		else if (is_channel(names[i], &id)) {
			channels = xgrow(channels, n_channels, &cap, sizeof(*channels));
			channels[n_channels++] = (struct stored_channel){ id, fd };
		} else
			close(fd);
		free(names[i]);
	}
	free(names);
	add_all(channels, n_channels, old_file_fd, ret_channels);
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

void manager_stored(int *ret_fuse, int *ret_handover, struct strbuf *ret_channels)
{
	(void)ret_channels;
	*ret_fuse = *ret_handover = -1;
}

void manager_forget(void)
{
}

#endif

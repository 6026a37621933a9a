/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keeper/manager.h"

#include "config.h"

#include <errno.h>
#ifdef HAVE_SYSTEMD
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define FUSE "fuse"
#define HANDOVER "handover"
#define BARRIER_US (5 * 1000 * 1000)

static void remove_both(void)
{
	(void)sd_notify(0, "FDSTOREREMOVE=1\nFDNAME=" HANDOVER);
	(void)sd_notify(0, "FDSTOREREMOVE=1\nFDNAME=" FUSE);
}

void manager_forget(void)
{
	remove_both();
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
	remove_both();
	return store("FDSTORE=1\nFDNAME=" FUSE, fd);
}

int manager_store_handover(int fd)
{
	(void)sd_notify(0, "FDSTOREREMOVE=1\nFDNAME=" HANDOVER);
	return store("FDSTORE=1\nFDNAME=" HANDOVER, fd);
}

void manager_stored(int *ret_fuse, int *ret_handover)
{
	char **names = NULL;
	int n = sd_listen_fds_with_names(1, &names);

	*ret_fuse = *ret_handover = -1;
	for (int i = 0; i < n; i++) {
		int fd = SD_LISTEN_FDS_START + i;

		if (!strcmp(names[i], FUSE) && *ret_fuse < 0)
			*ret_fuse = fd;
		else if (!strcmp(names[i], HANDOVER) && *ret_handover < 0)
			*ret_handover = fd;
		else
			close(fd);
		free(names[i]);
	}
	free(names);
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

void manager_stored(int *ret_fuse, int *ret_handover)
{
	*ret_fuse = *ret_handover = -1;
}

void manager_forget(void)
{
}

#endif

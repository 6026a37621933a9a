/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keeper/manager.h"

#include "config.h"

#include <errno.h>
#ifdef HAVE_SYSTEMD
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "util/cleanup.h"

#define NAME "fuse"
#define BARRIER_US (5 * 1000 * 1000)

void manager_drop_fuse(void)
{
	if (sd_notify(0, "FDSTOREREMOVE=1\nFDNAME=" NAME) > 0)
		sd_notify_barrier(0, BARRIER_US);
}

int manager_store_fuse(int fd)
{
	/* a service that failed left one whose file system is gone */
	int r = sd_notify(0, "FDSTOREREMOVE=1\nFDNAME=" NAME);

	if (r > 0)
		r = sd_pid_notify_with_fds(0, 0, "FDSTORE=1\nFDNAME=" NAME, &fd, 1);
	/* when we have ended nobody knows whose message it is */
	if (r > 0)
		r = sd_notify_barrier(0, BARRIER_US);
	return r == 0 ? -ENOTCONN : r < 0 ? r : 0;
}

int manager_stored_fuse(void)
{
	char **names = NULL;
	int n = sd_listen_fds_with_names(1, &names), found = -1;

	for (int i = 0; i < n; i++) {
		if (!strcmp(names[i], NAME))
			found = SD_LISTEN_FDS_START + i;
		free(names[i]);
	}
	free(names);
	return found;
}

#else

void manager_drop_fuse(void)
{
}

int manager_store_fuse(int fd)
{
	(void)fd;
	return -ENOTCONN;
}

int manager_stored_fuse(void)
{
	return -1;
}

#endif

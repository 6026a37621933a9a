/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where libvirt listens, and whether vhostmd's worker may come in. */
#include "doctor_private.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "util/cleanup.h"
#include "util/mem.h"
#include "util/user.h"

static const struct socket {
	const char *path;
	const char *conf; /* of the daemon that has it */
	const char *unit;
} sockets[] = {
	{ "/run/libvirt/libvirt-sock-ro", "/etc/libvirt/libvirtd.conf", "libvirtd" },
	{ "/run/libvirt/virtqemud-sock-ro", "/etc/libvirt/virtqemud.conf", "virtqemud" },
};

/* Whether @user may connect, by the socket's own rights if we are not root.  -errno. */
static int may_connect(const struct doctor *d, const struct user *user, const char *path)
{
	struct stat st;

	if (d->real && geteuid() == 0)
		return user_may(user, path, W_OK);
	if (stat(path, &st) < 0)
		return -errno;
	if (st.st_uid == user->uid)
		return st.st_mode & S_IWUSR ? 0 : -EACCES;
	if (st.st_gid == user->gid)
		return st.st_mode & S_IWGRP ? 0 : -EACCES;
	return st.st_mode & S_IWOTH ? 0 : -EACCES;
}

static void look_at(
	struct doctor *d, const struct socket *socket, const struct user *user)
{
	_cleanup_free_ char *path = doctor_path(d, socket->path);
	int r = user ? may_connect(d, user, path) : 0;

	if (r == 0) {
		doctor_say(d, SEVERITY_OK, "libvirt listens at %s%s", socket->path,
			user ? ", and vhostmd may connect" : "");
	} else if (r == -EACCES) {
		doctor_say(d, SEVERITY_FAULT, "the user vhostmd may not connect to %s",
			socket->path);
		doctor_mend(d, "unix_sock_ro_perms = \"0777\" in %s", socket->conf);
		doctor_mend(d,
			"systemctl restart %s-ro.socket %s  (SocketMode= of that unit, if set, counts)",
			socket->unit, socket->unit);
	} else {
		doctor_say(d, SEVERITY_WARNING, "%s: %s", socket->path, strerror(-r));
	}
}

void check_libvirt_socket(struct doctor *d)
{
	struct user user = { 0 };
	bool known = doctor_user(d, "vhostmd", &user) == 0;

	for (size_t i = 0; i < ARRAY_LEN(sockets); i++)
		if (doctor_exists(d, sockets[i].path + 1))
			look_at(d, &sockets[i], known ? &user : NULL);
	if (d->n_findings)
		return;
	doctor_say(d, SEVERITY_WARNING,
		"libvirt does not listen for readers: the host is served, but no VM");
	doctor_mend(
		d, "systemctl start libvirtd, or: systemctl start virtqemud-ro.socket");
}

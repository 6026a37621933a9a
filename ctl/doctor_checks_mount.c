/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The file system, and what stands in its way or was left behind. */
#include "doctor_private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "conf/conf.h"
#include "util/cleanup.h"
#include "util/fileio.h"
#include "util/mem.h"
#include "util/parse.h"

/* Where the existing daemon writes if nothing else is said. */
#define OLD_DISK_PATH "/dev/shm/vhostmd0"

/* ---- mount ---- */

/* What a directory has in it.  Return: the name of one, the caller's to free; NULL: nothing. */
static char *something_in(const struct doctor *d)
{
	_cleanup_closedir_ DIR *dir = opendir(d->mount_path);
	struct dirent *e;

	while (dir && (e = readdir(dir)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			return xstrdup(e->d_name);
	return NULL;
}

/* Return: whether something there keeps vhostmd from mounting. */
static bool say_blocked(struct doctor *d)
{
	struct stat st;

	if (lstat(d->mount_path, &st) < 0)
		return false;
	if (!S_ISDIR(st.st_mode)) {
		doctor_say(d, SEVERITY_FAULT, "%s is in the way: it is no directory",
			d->mount);
		doctor_mend(d, "mv %s %s.old", d->mount, d->mount);
		return true;
	}
	_cleanup_free_ char *name = something_in(d);

	if (!name)
		return false;
	doctor_say(d, SEVERITY_FAULT,
		"%s cannot be mounted on, as it is not empty: it has '%s' in it",
		d->mount, name);
	doctor_mend(d, "mv %s %s.old, or start vhostmd with --mount DIRECTORY", d->mount,
		d->mount);
	return true;
}

static void say_not_mounted(struct doctor *d)
{
	if (say_blocked(d))
		return;
	if (!d->keeper) {
		doctor_say(d, SEVERITY_OK, "%s is free to be mounted on", d->mount);
		return;
	}
	doctor_say(d, SEVERITY_FAULT, "vhostmd runs, but nothing is mounted on %s",
		d->mount);
	doctor_mend(d,
		"findmnt -t fuse.vhostmd  (where it is, if it was started with --mount)");
	doctor_mend(d, "systemctl restart vhostmd");
}

static void say_silent(struct doctor *d)
{
	doctor_say(d, SEVERITY_FAULT, "%s does not answer within %d s", d->mount,
		DOCTOR_ANSWER_MS / 1000);
	for (size_t i = 0; i < d->n_processes; i++) {
		const struct doctor_process *p = &d->processes[i];

		if (p->state != 'T' || (p->pid != d->keeper && p->parent != d->keeper))
			continue;
		doctor_mend(d, "kill -CONT %d  (it is stopped)", (int)p->pid);
	}
	doctor_mend(
		d, "systemctl restart vhostmd, or at last: umount -f -l %s", d->mount);
}

void check_mount(struct doctor *d)
{
	const struct doctor_mount *mount = doctor_mounts_at(&d->mounts, d->mount);

	switch (d->mount_state) {
	case MOUNT_NONE:
		say_not_mounted(d);
		return;
	case MOUNT_OTHER:
		doctor_say(d, SEVERITY_FAULT, "a file system of type %s is mounted on %s",
			mount->type, d->mount);
		doctor_mend(d, "umount %s, or start vhostmd with --mount DIRECTORY",
			d->mount);
		return;
	case MOUNT_DEAD:
		doctor_say(d, SEVERITY_FAULT,
			"the mount on %s is of a vhostmd that is gone: %s", d->mount,
			strerror(d->mount_error));
		doctor_mend(d, "start vhostmd, which takes it away, or: umount -l %s",
			d->mount);
		return;
	case MOUNT_SILENT:
		say_silent(d);
		return;
	case MOUNT_FAILS:
		doctor_say(d, SEVERITY_FAULT, "%s cannot be read: %s", d->mount,
			strerror(d->mount_error));
		doctor_mend(d, "run this as root; then: systemctl restart vhostmd");
		return;
	case MOUNT_ANSWERS:
		doctor_say(d, SEVERITY_OK, "%s is mounted and answers", d->mount);
	}
}

/* ---- visible ---- */

static bool has_device(const struct doctor_mounts *mounts, const char *device)
{
	for (size_t i = 0; i < mounts->n; i++)
		if (!strcmp(mounts->mounts[i].device, device))
			return true;
	return false;
}

/* In what it is mounted: VMs that run see it if that passes mounts on. */
static void say_propagation(struct doctor *d, const struct doctor_mounts *first)
{
	const struct doctor_mount *below = doctor_mounts_below(first, d->mount);

	if (!below || below->shared) {
		doctor_say(d, SEVERITY_OK, "%s is seen by all, and by VMs that run",
			d->mount);
		return;
	}
	doctor_say(d, SEVERITY_WARNING,
		"VMs that run when vhostmd is mounted do not see %s, and cannot be given a disk: "
		"%s is not shared",
		d->mount, below->target);
	doctor_mend(d, "mount --make-shared %s  (before VMs are started)", below->target);
}

void check_visible(struct doctor *d)
{
	const struct doctor_mount *here = doctor_mounts_at(&d->mounts, d->mount);
	struct doctor_mounts first = { 0 };
	int r = doctor_mounts_read(d, "proc/1/mountinfo", &first);
	const struct doctor_mount *there = doctor_mounts_at(&first, d->mount);

	if (r < 0) {
		doctor_say(d, SEVERITY_NOTE,
			"whether VMs see %s only root can find out: %s", d->mount,
			strerror(-r));
		doctor_mend(d, "run this as root");
	} else if (doctor_mount_is_ours(here) && !has_device(&first, here->device)) {
		doctor_say(d, SEVERITY_FAULT,
			"no VM sees %s: it is mounted in a mount namespace of its own",
			d->mount);
		doctor_mend(d,
			"start vhostmd by the vhostmd.service that it comes with, or take from the unit "
			"ProtectSystem=, PrivateTmp=, PrivateDevices= and others that make one");
	} else if (!here && doctor_mount_is_ours(there)) {
		doctor_say(d, SEVERITY_NOTE,
			"%s is mounted on the host, but this shell has a mount namespace of its own",
			d->mount);
		doctor_mend(d, "nsenter --target 1 --mount  (and run this again)");
	} else {
		say_propagation(d, &first);
	}
	doctor_mounts_done(&first);
}

/* ---- leftovers ---- */

static void say_left_mount(struct doctor *d, const struct doctor_mount *mount)
{
	_cleanup_free_ char *path = doctor_path(d, mount->target);
	int error = 0;
	enum mount_state state = doctor_mount_state(path, &error);

	if (state == MOUNT_ANSWERS) {
		doctor_say(d, SEVERITY_NOTE, "another vhostmd is mounted on %s",
			mount->target);
		return;
	}
	doctor_say(d, SEVERITY_WARNING,
		"a vhostmd was mounted on %s and does not answer: %s", mount->target,
		strerror(error));
	doctor_mend(d, state == MOUNT_DEAD ? "umount -l %s" : "umount -f -l %s",
		mount->target);
}

void check_leftovers(struct doctor *d)
{
	unsigned here = 0;

	for (size_t i = 0; i < d->mounts.n; i++) {
		const struct doctor_mount *mount = &d->mounts.mounts[i];

		if (!doctor_mount_is_ours(mount))
			continue;
		if (strcmp(mount->target, d->mount) != 0)
			say_left_mount(d, mount);
		else
			here++;
	}
	if (here > 1) {
		doctor_say(d, SEVERITY_WARNING,
			"vhostmd is mounted %u times on %s, one over the other", here,
			d->mount);
		doctor_mend(d,
			"systemctl stop vhostmd; umount -l %s  (until findmnt shows none)",
			d->mount);
	}
	if (!d->keeper && access(d->pid_file, F_OK) == 0) {
		doctor_say(d, SEVERITY_NOTE, "%s was left behind, which harms nobody",
			d->pid_file);
		doctor_mend(d, "rm %s", d->pid_file);
	}
	if (!d->n_findings)
		doctor_say(d, SEVERITY_OK, "nothing was left behind");
}

/* ---- shared-disk ---- */

/* Whether a descriptor of process @pid is that file. */
static bool has_open(const struct doctor *d, const char *pid, const char *file)
{
	char path[PATH_MAX], target[PATH_MAX];

	snprintf(path, sizeof(path), "proc/%s/fd", pid);
	_cleanup_close_ int fd = open_at(d->root_fd, path, O_RDONLY | O_DIRECTORY);
	_cleanup_closedir_ DIR *dir = fd >= 0 ? fdopendir(TAKE_FD(fd)) : NULL;
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), e->d_name, target, sizeof(target) - 1);

		target[n > 0 ? n : 0] = '\0';
		if (!strcmp(target, file))
			return true;
	}
	return false;
}

/* How many processes, but vhostmds, have @file open; the first one's number in @first. */
static unsigned count_open(const struct doctor *d, const char *file, char first[16])
{
	_cleanup_close_ int fd = open_at(d->root_fd, "proc", O_RDONLY | O_DIRECTORY);
	_cleanup_closedir_ DIR *dir = fd >= 0 ? fdopendir(TAKE_FD(fd)) : NULL;
	struct dirent *e;
	unsigned n = 0;

	while (dir && (e = readdir(dir))) {
		bool own = false;
		uint64_t pid = 0;

		if (parse_u64(e->d_name, &pid) < 0 || pid > INT32_MAX)
			continue;
		for (size_t i = 0; i < d->n_processes; i++)
			own |= d->processes[i].pid == (pid_t)pid;
		if (own || !has_open(d, e->d_name, file))
			continue;
		if (n++ == 0)
			snprintf(first, 16, "%s", e->d_name);
	}
	return n;
}

/* A regular file, as the existing daemon has it. */
static void say_old_file(struct doctor *d, const char *path, bool configured)
{
	const char *state = doctor_status(d, "disk.old_file");
	char first[16] = "";
	unsigned n = count_open(d, path, first);

	if (state && strstr(state, "failing")) {
		doctor_say(
			d, SEVERITY_WARNING, "%s of an older vhostmd: %s", path, state);
		doctor_mend(d, "df %s; journalctl -u vhostmd", path);
	} else if (n && !state) {
		doctor_say(d, SEVERITY_WARNING,
			"nobody writes %s of an older vhostmd, which %u process%s open (%s): "
			"their VMs' figures stand still",
			path, n, n == 1 ? " has" : "es have", first);
		doctor_mend(d,
			configured
				? "systemctl start vhostmd"
				: "<disk><path>%s</path></disk> in the configuration; systemctl reload vhostmd",
			path);
	} else if (n) {
		doctor_say(d, SEVERITY_NOTE,
			"%s is of an older vhostmd, and written on for %u process%s (%s)",
			path, n, n == 1 ? "" : "es", first);
		doctor_mend(d, "when their VMs were started anew: rm %s", path);
	} else {
		doctor_say(d, SEVERITY_NOTE,
			"%s is of an older vhostmd, and nobody %s it open%s", path,
			geteuid() == 0 ? "has" : "that is seen without root has",
			configured ? ": the link to the shared disk could stand there"
				   : "");
		doctor_mend(d, "rm %s", path);
	}
}

void check_shared_disk(struct doctor *d)
{
	const char *state = doctor_status(d, "disk.path");
	bool configured = d->conf && conf_has_shared_disk(d->conf);
	const char *path = configured ? d->conf->disk_path : OLD_DISK_PATH;
	_cleanup_free_ char *here = doctor_path(d, path);
	_cleanup_free_ char *target = xasprintf("%s/disk/vhostmd0.img", d->mount);
	char leads[PATH_MAX] = "";
	struct stat st;

	if (lstat(here, &st) < 0)
		st.st_mode = 0;
	if (S_ISLNK(st.st_mode) && readlink(here, leads, sizeof(leads) - 1) < 0)
		leads[0] = '\0';
	if (S_ISREG(st.st_mode)) {
		say_old_file(d, path, configured);
	} else if (!configured) {
		doctor_say(d, SEVERITY_OK, "there is no shared disk");
	} else if (!strcmp(leads, target)) {
		doctor_say(d, SEVERITY_OK, "%s is the link to the shared disk", path);
	} else if (st.st_mode) {
		doctor_say(d, SEVERITY_FAULT,
			"%s is in the way of the link to the shared disk%s%s", path,
			*leads ? ": it leads to " : "", leads);
		doctor_mend(d, "mv %s %s.old; systemctl reload vhostmd", path, path);
	} else if (d->keeper) {
		doctor_say(d, SEVERITY_WARNING,
			"the link to the shared disk, %s, is missing%s%s", path,
			state ? "; vhostmd says: " : "", state ? state : "");
		doctor_mend(
			d, "systemctl reload vhostmd, or: kill -HUP %d", (int)d->keeper);
	} else {
		doctor_say(
			d, SEVERITY_OK, "%s will be the link to the shared disk", path);
	}
}

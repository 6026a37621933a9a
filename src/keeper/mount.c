/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keeper/mount.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "util/cleanup.h"
#include "util/fileio.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/strbuf.h"

#define FSTYPE "fuse.vhostmd"
#define PROBE_MS 2000
#define HELD_MS 300 /* of a dead one the kernel says so at once */
#define MOUNTINFO_BYTES (16u << 20)

/* mountinfo writes space, tab, newline and backslash as \ooo (proc(5)). */
static void unescape(char *s)
{
	char *out = s;

	for (; *s; s++) {
		if (s[0] == '\\' && strspn(s + 1, "01234567") >= 3 && s[1] <= '3') {
			*out++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 |
				(s[3] - '0'));
			s += 3;
		} else {
			*out++ = *s;
		}
	}
	*out = '\0';
}

struct mounted {
	char *device; /* major:minor */
	char *target;
	char *type;
};

/*
 * Takes a line of mountinfo apart:
 * id parent major:minor root target options ... - type source options
 */
static bool parse_line(char *line, struct mounted *ret)
{
	char *sep = strstr(line, " - "), *at = line, *fields[5];

	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		fields[i] = at;
		at = strchr(at, ' ');
		if (!at || !sep)
			return false;
		*at++ = '\0';
	}
	*ret = (struct mounted){ fields[2], fields[4], sep + 3 };
	ret->type[strcspn(ret->type, " ")] = '\0';
	unescape(ret->target);
	return true;
}

/*
 * What is mounted on @path.  Return: the file system type, the caller's to free; NULL if
 * nothing is.  Looks at the list only: a dead mount must not be touched.
 * @ret_device: NULL, or also its device as major:minor, likewise.
 */
static char *mounted_type(const char *path, char **ret_device)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	char *found = NULL, *save = NULL;
	_cleanup_free_ char *device = NULL;

	if (read_file_at(AT_FDCWD, "/proc/self/mountinfo", MOUNTINFO_BYTES, &text) < 0 ||
		!text.len)
		return NULL;
	for (char *line = strtok_r(text.data, "\n", &save); line;
		line = strtok_r(NULL, "\n", &save)) {
		struct mounted m;

		if (!parse_line(line, &m) || strcmp(m.target, path) != 0)
			continue;
		/* the last one is on top */
		free(found);
		free(device);
		found = xstrdup(m.type);
		device = xstrdup(m.device);
	}
	if (ret_device)
		*ret_device = TAKE_PTR(device);
	return found;
}

bool mount_is_listed(const char *path)
{
	_cleanup_free_ char *type = mounted_type(path, NULL);

	return type && !strcmp(type, FSTYPE);
}

/* True unless the first process, with whom QEMUs live, surely does not see it anywhere. */
static bool is_seen_by_all(const char *path)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	_cleanup_free_ char *device = NULL;
	_cleanup_free_ char *type = mounted_type(path, &device);
	char *save = NULL;

	if (!type || !device ||
		read_file_at(AT_FDCWD, "/proc/1/mountinfo", MOUNTINFO_BYTES, &text) < 0 ||
		!text.len)
		return true;
	for (char *line = strtok_r(text.data, "\n", &save); line;
		line = strtok_r(NULL, "\n", &save)) {
		struct mounted m;

		if (parse_line(line, &m) && !strcmp(m.device, device))
			return true;
	}
	return false;
}

/*
 * Whether a mounted vhostmd answers; asked in another process, which may hang.  The kernel
 * remembers attributes of a file system whose server is gone, but not this.
 */
static bool is_alive(const char *path, int wait_ms)
{
	struct statvfs st;
	pid_t pid = fork();

	if (pid == 0)
		_exit(statvfs(path, &st) == 0 ? 0 : errno == ENOTCONN ? 1 : 2);
	if (pid < 0)
		return true;
	int status = 0;
	_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd pfd = { .fd = pidfd, .events = POLLIN };

	if (pidfd >= 0 && poll(&pfd, 1, wait_ms) == 0)
		kill(pid, SIGKILL); /* hangs: somebody holds the session */
	waitpid(pid, &status, 0);
	return !WIFEXITED(status) || WEXITSTATUS(status) != 1;
}

bool mount_is_held(const char *path)
{
	return mount_is_listed(path) && is_alive(path, HELD_MS);
}

/* Return: 0 if nothing is mounted there (any more). */
static int clear_old_mount(const char *path, struct strbuf *why)
{
	for (;;) {
		_cleanup_free_ char *type = mounted_type(path, NULL);

		if (!type)
			return 0;
		if (strcmp(type, FSTYPE) != 0) {
			strbuf_addf(why,
				"%s is a mount point of type %s; choose another directory with "
				"--mount",
				path, type);
			return -EBUSY;
		}
		if (is_alive(path, PROBE_MS)) {
			strbuf_addf(why,
				"a vhostmd is already mounted on %s; stop it, or choose another "
				"directory with --mount",
				path);
			return -EBUSY;
		}
		if (umount2(path, MNT_DETACH) < 0) {
			int r = -errno;

			strbuf_addf(why,
				"the mount that a dead vhostmd left on %s cannot be "
				"removed: %s",
				path, strerror(-r));
			return r;
		}
	}
}

static int check_empty(const char *path, struct strbuf *why)
{
	_cleanup_closedir_ DIR *dir = opendir(path);
	int n = 0, r = dir ? 0 : -errno;

	if (r < 0) {
		strbuf_addf(why, "%s: %s%s", path, strerror(-r),
			r == -ENOTDIR ? "; choose a directory with --mount" : "");
		return r;
	}
	while (readdir(dir))
		n++;
	if (n <= 2)
		return 0;
	strbuf_addf(why,
		"%s is not empty; empty it, or choose another directory with --mount",
		path);
	return -ENOTEMPTY;
}

int mount_prepare(const char *path, bool *ret_created, struct strbuf *why)
{
	int r = clear_old_mount(path, why);

	*ret_created = false;
	if (r < 0)
		return r;
	if (mkdir(path, 0755) == 0) {
		*ret_created = true;
		return 0;
	}
	if (errno != EEXIST) {
		r = -errno;
		strbuf_addf(why, "%s cannot be created: %s", path, strerror(-r));
		return r;
	}
	return check_empty(path, why);
}

int mount_attach(const char *path, int *ret_fd, struct strbuf *why)
{
	_cleanup_close_ int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	_cleanup_free_ char *options = NULL;
	int r;

	if (fd < 0) {
		r = -errno;
		strbuf_addf(why, "/dev/fuse: %s%s", strerror(-r),
			r == -ENOENT
				? "; load the kernel module fuse, or take PrivateDevices= "
				  "from the systemd unit"
				: "");
		return r;
	}
	options = xasprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,"
			    "default_permissions",
		fd);
	if (mount("vhostmd", path, FSTYPE, MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY,
		    options) < 0) {
		r = -errno;
		strbuf_addf(why, "%s cannot be mounted on: %s", path, strerror(-r));
		return r;
	}
	if (!is_seen_by_all(path)) {
		mount_detach(path);
		strbuf_addf(why,
			"a file system mounted on %s would be seen by no VM: this process has "
			"a mount namespace of its own; start it in the host's, or take from "
			"its systemd unit what makes one (ProtectSystem=, ProtectHome=, "
			"ProtectKernelTunables=, ProtectKernelModules=, "
			"ProtectKernelLogs=, ProtectControlGroups=, PrivateTmp=, "
			"PrivateDevices=, PrivateMounts=, ReadOnlyPaths=, "
			"InaccessiblePaths=, MountFlags= and the like)",
			path);
		return -EXDEV;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

void mount_abort(const char *path)
{
	umount2(path, MNT_FORCE | UMOUNT_NOFOLLOW);
}

int mount_detach(const char *path)
{
	return umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 ? -errno : 0;
}

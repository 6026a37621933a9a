/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keeper/place.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/strbuf.h"
#include "util/user.h"

/* ---- the link ---- */

/* Anybody can make a link with our text where others may write: root's or @uid's are ours. */
static bool link_is_ours(const char *path, const char *target, uid_t uid)
{
	char is[PATH_MAX];
	struct stat st;
	ssize_t n = readlink(path, is, sizeof(is) - 1);

	if (n < 0 || lstat(path, &st) < 0 || (st.st_uid != 0 && st.st_uid != uid))
		return false;
	is[n] = '\0';
	return !strcmp(is, target);
}

/* Those of @path's directories that are longer than @kept, as far as they are empty. */
static void remove_directories(const char *path, size_t kept)
{
	_cleanup_free_ char *dir = xstrdup(path);

	for (char *slash = strrchr(dir, '/'); slash; slash = strrchr(dir, '/')) {
		*slash = '\0';
		if (strlen(dir) <= kept || rmdir(dir) < 0)
			return;
	}
}

/* @ret_kept: SIZE_MAX if all were there. */
static int make_directories(const char *path, size_t *ret_kept)
{
	_cleanup_free_ char *dir = xstrdup(path);
	size_t kept = SIZE_MAX, before = 0;

	for (char *slash = strchr(dir + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(dir, 0755) == 0) {
			kept = kept == SIZE_MAX ? before : kept;
		} else if (errno != EEXIST) {
			int r = -errno;

			remove_directories(path, kept);
			return r;
		}
		before = strlen(dir);
		*slash = '/';
	}
	*ret_kept = kept;
	return 0;
}

int place_link(const char *path, const char *target, size_t *ret_kept, struct strbuf *why)
{
	size_t kept = SIZE_MAX;
	int r = make_directories(path, &kept);

	if (r == 0 && symlink(target, path) < 0 &&
		(errno != EEXIST || !link_is_ours(path, target, geteuid())))
		r = -errno;
	if (r == 0) {
		*ret_kept = kept;
		return 0;
	}
	remove_directories(path, kept);
	strbuf_adds(why,
		r == -EEXIST ? "it is a link to elsewhere, or of somebody else"
			     : strerror(-r));
	return r;
}

void place_remove(const char *path, const char *target, uid_t uid, size_t kept)
{
	if (link_is_ours(path, target, uid) && unlink(path) == 0)
		remove_directories(path, kept);
}

/* ---- an old file ---- */

/* Whom libvirt gives a VM's disks to while it runs, by what distributions call him. */
static bool is_qemu(uid_t uid)
{
	static const char *const names[] = { "libvirt-qemu", "qemu" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct user user = { 0 };

		if (user_resolve(names[i], &user) == 0 && user.uid == uid)
			return true;
	}
	return false;
}

/* Return: what is wrong with it; NULL: it is an old disk. */
static const char *old_disk_fault(int fd, const struct stat *st)
{
	char signature[4];

	if (!S_ISREG(st->st_mode))
		return "it is no regular file";
	if (st->st_size < LIMIT_DISK_BYTES_MIN || st->st_size > LIMIT_DISK_BYTES_MAX ||
		pread(fd, signature, sizeof(signature), 0) != sizeof(signature) ||
		memcmp(signature, "mvbd", sizeof(signature)) != 0)
		return "it is no metrics disk";
	if (st->st_nlink != 1)
		return "it has another name, too, and may be anybody's";
	if (st->st_uid != 0 && !is_qemu(st->st_uid))
		return "it belongs neither to root nor to QEMU's user";
	return NULL;
}

int place_open_old(const char *path, int *ret_fd, struct strbuf *why)
{
	struct stat st;
	const char *fault = NULL;

	if (lstat(path, &st) < 0 || S_ISLNK(st.st_mode))
		return -ENOENT;
	_cleanup_close_ int fd = !S_ISREG(st.st_mode)
		? -1
		: open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (S_ISREG(st.st_mode) && (fd < 0 || fstat(fd, &st) < 0))
		fault = strerror(errno);
	if (!fault)
		fault = old_disk_fault(fd, &st);
	if (fault) {
		strbuf_adds(why, fault);
		return -EEXIST;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

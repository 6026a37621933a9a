/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "whole_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "util/cleanup.h"

static int write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* A new file beside @path, which nobody takes for one that is ready.  Return: fd or -errno. */
static int create_beside(const char *path, mode_t mode, struct buf *ret_name)
{
	const char *slash = strrchr(path, '/');
	int dir_len = slash ? (int)(slash - path) + 1 : 0;

	for (unsigned i = 0; i < 100; i++) {
		buf_clear(ret_name);
		buf_addf(ret_name, "%.*s.%s.%d.%u", dir_len, path, path + dir_len,
			(int)getpid(), i);
		if (ret_name->failed)
			return -ENOMEM;
		int fd = open(ret_name->data,
			O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);

		if (fd >= 0)
			return fd;
		if (errno != EEXIST)
			return -errno;
	}
	return -EEXIST;
}

static int write_through(const char *path, const void *data, size_t len)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);

	return fd < 0 ? -errno : write_all(fd, data, len);
}

/* What the file there has.  Who may not give a file away keeps its mode alone. */
static int take_after(int fd, const struct stat *st)
{
	if (fchown(fd, st->st_uid, st->st_gid) < 0 && errno != EPERM)
		return -errno;
	return fchmod(fd, st->st_mode & 07777) < 0 ? -errno : 0;
}

int whole_file_write(const char *path, const void *data, size_t len, mode_t mode)
{
	_cleanup_(buf_done) struct buf name = BUF_INIT;
	struct stat st;
	bool exists = stat(path, &st) == 0;

	if (exists && !S_ISREG(st.st_mode))
		return write_through(path, data, len);
	_cleanup_free_ char *real = exists ? realpath(path, NULL) : NULL;

	if (exists && !real)
		return -errno;
	int fd = create_beside(real ? real : path, mode, &name);

	if (fd < 0)
		return fd;
	int r = exists ? take_after(fd, &st) : 0;

	if (r == 0)
		r = write_all(fd, data, len);
	/* or after a crash there might be a file of that name and nothing in it */
	if (r == 0 && fsync(fd) < 0 && errno != EINVAL && errno != EROFS)
		r = -errno;
	if (close(fd) < 0 && r == 0)
		r = -errno;
	if (r == 0 && rename(name.data, real ? real : path) < 0)
		r = -errno;
	if (r < 0)
		unlink(name.data);
	return r;
}

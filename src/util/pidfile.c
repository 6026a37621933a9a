/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/fileio.h"
#include "util/parse.h"
#include "util/strbuf.h"

static pid_t read_pid(int fd)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	uint64_t pid = 0;

	if (lseek(fd, 0, SEEK_SET) < 0 || read_all(fd, 64, &text) < 0 || !text.len)
		return 0;
	if (parse_u64(str_trim(text.data), &pid) < 0 || pid > INT32_MAX)
		return 0;
	return (pid_t)pid;
}

/* An older vhostmd does not lock its file. */
static bool is_other_vhostmd(pid_t pid)
{
	_cleanup_strbuf_ struct strbuf comm = STRBUF_INIT;
	char path[32];

	if (pid <= 0 || pid == getpid())
		return false;
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	if (read_file_at(AT_FDCWD, path, 64, &comm) < 0 || !comm.len)
		return false;
	return !strcmp(str_trim(comm.data), "vhostmd");
}

/* The file may have been removed between open and lock. */
static bool still_there(const char *path, int fd)
{
	struct stat by_name, by_fd;

	return stat(path, &by_name) == 0 && fstat(fd, &by_fd) == 0 &&
		by_name.st_ino == by_fd.st_ino && by_name.st_dev == by_fd.st_dev;
}

int pidfile_acquire(const char *path, int *ret_fd, pid_t *ret_pid)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	for (int tries = 0; tries < 10; tries++) {
		_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);

		if (fd < 0)
			return -errno;
		pid_t pid = read_pid(fd);

		if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
			int r = errno == EAGAIN || errno == EACCES ? -EEXIST : -errno;

			if (r == -EEXIST)
				*ret_pid = pid;
			return r;
		}
		if (!still_there(path, fd))
			continue;
		if (is_other_vhostmd(pid)) {
			*ret_pid = pid;
			return -EEXIST;
		}
		*ret_fd = TAKE_FD(fd);
		return 0;
	}
	return -EAGAIN;
}

int pidfile_write(int fd)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());

	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n)
		return errno ? -errno : -EIO;
	return 0;
}

void pidfile_release(const char *path, int fd)
{
	if (fd < 0)
		return;
	/* who removed ours has put one of his own there, perhaps */
	if (still_there(path, fd))
		unlink(path);
	close(fd);
}

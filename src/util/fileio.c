/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/fileio.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/mem.h"
#include "util/strbuf.h"

int read_all(int fd, size_t max, struct strbuf *out)
{
	strbuf_clear(out);
	for (;;) {
		char *at = strbuf_reserve(out, 4096);
		ssize_t n = read(fd, at, 4096);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		out->len += (size_t)n;
		out->data[out->len] = '\0';
		if (n == 0)
			return 0;
		if (out->len > max)
			return -EFBIG;
	}
}

static _Thread_local unsigned shortages;

static int note_shortage(int fd)
{
	shortages += fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM);
	return fd;
}

int open_at(int dirfd, const char *path, int flags)
{
	return note_shortage(openat(dirfd, path, flags | O_CLOEXEC));
}

int open_in_root(int dirfd, const char *path, int flags)
{
	const struct open_how how = { .flags = (unsigned)flags | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };

	return note_shortage((int)syscall(SYS_openat2, dirfd, path, &how, sizeof(how)));
}

unsigned open_shortages(void)
{
	return shortages;
}

int read_file_at(int dirfd, const char *path, size_t max, struct strbuf *out)
{
	_cleanup_close_ int fd = open_at(dirfd, path, O_RDONLY | O_NOCTTY);

	if (fd < 0)
		return -errno;
	return read_all(fd, max, out);
}

char *path_absolute(const char *path)
{
	if (*path == '/')
		return xstrdup(path);
	_cleanup_free_ char *cwd = get_current_dir_name();

	return cwd ? xasprintf("%s/%s", cwd, path) : NULL;
}

int fd_set_nonblock(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

ssize_t pread_text(int fd, char *buf, size_t size)
{
	ssize_t n;

	do
		n = pread(fd, buf, size - 1, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	buf[n] = '\0';
	return n;
}

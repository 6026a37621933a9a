/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "device.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "failure.h"
#include "vhostmd/metrics.h"

static bool is_same_file(const struct device *d, const struct stat *st)
{
	return d->id[0] == st->st_dev && d->id[1] == st->st_ino &&
		d->id[2] == st->st_rdev;
}

static bool is_open(const struct device *d)
{
	struct stat st;

	return d->handle >= 0 && fstat((int)d->handle, &st) == 0 && is_same_file(d, &st);
}

bool device_is_at(const struct device *d, const char *path)
{
	struct stat st;

	return is_open(d) && stat(path, &st) == 0 && is_same_file(d, &st);
}

void device_close(struct device *d)
{
	if (is_open(d))
		close((int)d->handle);
	*d = DEVICE_CLOSED;
}

int device_open(const char *path, struct device *ret, struct buf *tried)
{
	const int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	bool direct = true;
	struct stat st;
	int r, fd = open(path, flags | O_DIRECT);

	if (fd < 0 && errno == EINVAL) {
		direct = false;
		fd = open(path, flags);
	}
	if (fd < 0 || fstat(fd, &st) < 0) {
		r = failure_note_errno(tried, path, errno);
	} else if (!S_ISBLK(st.st_mode) && !S_ISREG(st.st_mode)) {
		r = failure_note(tried, path, VHOSTMD_ERR_NOT_A_DISK);
	} else {
		*ret = (struct device){ .handle = fd,
			.direct = direct,
			.is_block = S_ISBLK(st.st_mode),
			.id = { st.st_dev, st.st_ino, st.st_rdev } };
		return 0;
	}
	if (fd >= 0)
		close(fd);
	return r;
}

int64_t device_size(const struct device *d)
{
	return lseek((int)d->handle, 0, SEEK_END);
}

void device_forget(const struct device *d)
{
	/* or the kernel would show what it read before; such files are memory */
	if (!d->direct && d->is_block)
		posix_fadvise((int)d->handle, 0, 0, POSIX_FADV_DONTNEED);
}

ssize_t device_read(const struct device *d, void *at, size_t n, int64_t offset)
{
	ssize_t r;

	do {
		r = pread((int)d->handle, at, n, offset);
	} while (r < 0 && errno == EINTR);
	return r < 0 ? failure_from_errno(errno) : r;
}

void *device_memory(size_t bytes)
{
	return aligned_alloc(DEVICE_ALIGNMENT, bytes);
}

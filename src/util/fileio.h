/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Small helpers around file descriptors.  Any thread.  0 or -errno. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

struct strbuf;

/* openat() that creates nothing; the descriptor is not for programs that are started. */
int open_at(int dirfd, const char *path, int flags);

/*
 * The same, but no link and no ".." leads out of @dirfd, which is their root.  -ENOSYS in errno
 * before Linux 5.6.
 */
int open_in_root(int dirfd, const char *path, int flags);

/*
 * How many opens of this thread, by the functions here, have failed so far for want of
 * descriptors or memory.  If it is more than before, what was opened meanwhile is not all
 * that there is, and it is worth to try again later.
 */
unsigned open_shortages(void);

/*
 * Reads a whole file relative to @dirfd into @out (replacing what it held).
 * -EFBIG if it is longer than @max bytes.
 */
int read_file_at(int dirfd, const char *path, size_t max, struct strbuf *out);

/* Reads @fd to its end; the same limit. */
int read_all(int fd, size_t max, struct strbuf *out);

/*
 * The same file's path for who has another working directory; links in it stay links.
 * Return: the caller's to free; NULL with errno if the working directory has no name.
 */
char *path_absolute(const char *path);

/* Sets O_NONBLOCK. */
int fd_set_nonblock(int fd);

/*
 * Reads a kept-open file from its start without moving its offset, in one call.
 * @size: of @buf, more than the file can have; the text is cut there and ends in NUL.
 * Return: its length, or -errno; -ESRCH if the process whose file it is has ended.
 */
ssize_t pread_text(int fd, char *buf, size_t size);

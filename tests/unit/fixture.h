/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A root directory with the files of a host that does not exist. */
#pragma once

#include "test.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tmp.h"
#include "util/cleanup.h"
#include "util/mem.h"

/* A fixture of files in a temporary directory. */
struct fixture {
	char dir[TMP_PATH_SIZE];
	int fd;
};

static inline void fixture_init(struct fixture *f)
{
	assert_non_null(mkdtemp(tmp_path(f->dir, "vhostmd-unit.XXXXXX")));
	f->fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->fd >= 0);
}

static inline void fixture_add(struct fixture *f, const char *path, const char *text)
{
	_cleanup_free_ char *copy = xstrdup(path);

	for (char *p = strchr(copy, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		mkdirat(f->fd, copy, 0755);
		*p = '/';
	}
	_cleanup_close_ int fd = openat(f->fd, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static inline int remove_one(
	const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline void fixture_done(struct fixture *f)
{
	close(f->fd);
	assert_int_equal(nftw(f->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

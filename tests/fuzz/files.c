/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/fileio.h"
#include "util/strbuf.h"

#define MAX_FILES 64
#define MAX_OPEN 1024
#define PATH_BYTES 256

struct file {
	char path[PATH_BYTES];
	const char *text;
	size_t len;
};

struct open_file {
	bool used;
	char path[PATH_BYTES];
};

/* What fdopendir() gives. */
struct listing {
	int fd;
	size_t next;
	struct dirent entry;
};

static struct file files[MAX_FILES];
static size_t n_files;
static const char *rest;
static size_t n_rest;
static struct open_file open_files[MAX_OPEN];
static struct listing listings[8];

int __real_open_at(int dirfd, const char *path, int flags);
int __wrap_open_at(int dirfd, const char *path, int flags);
int __real_read_file_at(int dirfd, const char *path, size_t max, struct strbuf *out);
int __wrap_read_file_at(int dirfd, const char *path, size_t max, struct strbuf *out);
int __real_read_all(int fd, size_t max, struct strbuf *out);
int __wrap_read_all(int fd, size_t max, struct strbuf *out);
ssize_t __real_pread_text(int fd, char *buf, size_t size);
ssize_t __wrap_pread_text(int fd, char *buf, size_t size);
off_t __real_lseek64(int fd, off_t offset, int whence);
off_t __wrap_lseek64(int fd, off_t offset, int whence);
int __real_faccessat(int dirfd, const char *path, int mode, int flags);
int __wrap_faccessat(int dirfd, const char *path, int mode, int flags);
int __real_close(int fd);
int __wrap_close(int fd);
DIR *__real_fdopendir(int fd);
DIR *__wrap_fdopendir(int fd);
struct dirent *__real_readdir64(DIR *dir);
struct dirent *__wrap_readdir64(DIR *dir);
int __real_closedir(DIR *dir);
int __wrap_closedir(DIR *dir);

/* ---- the input ---- */

/* Copies a path, less its first slash. */
static void set_path(char *ret, const char *path, size_t len)
{
	len -= len && *path == '/';
	path += len && *path == '/';
	if (len >= PATH_BYTES)
		len = PATH_BYTES - 1;
	memcpy(ret, path, len);
	ret[len] = '\0';
}

static void add_file(const char *path, size_t path_len, const char *text, size_t len)
{
	if (n_files == MAX_FILES)
		return;
	struct file *f = &files[n_files++];

	set_path(f->path, path, path_len);
	f->text = text;
	f->len = len;
}

/* Takes "@path\n" and what follows.  Return: false at the end of all, or of this moment. */
static bool take_file(void)
{
	const char *line = n_rest && *rest == '@' ? memchr(rest, '\n', n_rest) : NULL;
	const char *path = rest + 1, *text = line ? line + 1 : rest;
	size_t left = n_rest - (size_t)(text - rest), len = left;

	n_rest = 0;
	if (!line)
		return false;
	const char *end = memmem(line, left + 1, "\n@", 2);

	if (end) { /* of an empty file it is its name's */
		len = end == line ? 0 : (size_t)(end - text);
		rest = end + 1;
		n_rest = left - (size_t)(rest - text);
	}
	if (line - path == 1 && *path == '@')
		return false;
	add_file(path, (size_t)(line - path), text, len);
	return true;
}

void files_begin(const uint8_t *data, size_t size)
{
	rest = (const char *)data;
	n_rest = size;
	n_files = 0;
	files_next();
}

void files_begin_one(const char *path, const uint8_t *data, size_t size)
{
	n_files = n_rest = 0;
	add_file(path, strlen(path), (const char *)data, size);
}

bool files_next(void)
{
	bool more = n_rest > 0;

	if (more)
		n_files = 0;
	while (take_file())
		;
	return more;
}

void files_end(void)
{
	for (size_t i = 0; i < MAX_OPEN; i++)
		if (open_files[i].used)
			abort();
}

/* ---- paths ---- */

static bool is_ours(int fd)
{
	return fd >= FILES_ROOT && fd < FILES_ROOT + 1 + MAX_OPEN;
}

static const struct open_file *opened(int fd)
{
	static const struct open_file root = { .used = true };
	const struct open_file *o =
		fd == FILES_ROOT ? &root : &open_files[fd - FILES_ROOT - 1];

	if (!o->used)
		abort(); /* it was closed */
	return o;
}

/* True for what the input has; all else is the machine's. */
static bool is_in(int dirfd, const char *path)
{
	return is_ours(dirfd) || (dirfd == AT_FDCWD && *path == '/');
}

/* Makes "a/b" of a directory's "a/c" and "../b"; links there are none. */
static void resolve(int dirfd, const char *path, char *ret)
{
	size_t n = 0;

	ret[0] = '\0';
	if (is_ours(dirfd)) {
		n = strlen(opened(dirfd)->path);
		memcpy(ret, opened(dirfd)->path, n + 1);
	}
	for (size_t len; *path; path += len) {
		len = strcspn(path, "/");
		if (len == 2 && !memcmp(path, "..", 2)) {
			while (n && ret[n - 1] != '/')
				n--;
			n -= n > 0;
		} else if (len && !(len == 1 && *path == '.') &&
			n + len + 2 < PATH_BYTES) {
			if (n)
				ret[n++] = '/';
			memcpy(ret + n, path, len);
			n += len;
		}
		ret[n] = '\0';
		len += path[len] == '/';
	}
}

static const struct file *find_file(const char *path)
{
	for (size_t i = 0; i < n_files; i++)
		if (!strcmp(files[i].path, path))
			return &files[i];
	return NULL;
}

/* The part of a file's path below the directory; NULL if it is not below. */
static const char *below(const struct file *f, const char *dir)
{
	size_t n = strlen(dir);

	if (!n)
		return f->path;
	return !strncmp(f->path, dir, n) && f->path[n] == '/' ? f->path + n + 1 : NULL;
}

static bool is_directory(const char *path)
{
	for (size_t i = 0; i < n_files; i++)
		if (below(&files[i], path))
			return true;
	return false;
}

/* ---- in the place of util/fileio.c ---- */

int __wrap_open_at(int dirfd, const char *path, int flags)
{
	char full[PATH_BYTES];

	if (!is_in(dirfd, path))
		return __real_open_at(dirfd, path, flags);
	resolve(dirfd, path, full);
	bool there = flags & O_DIRECTORY ? is_directory(full) : find_file(full) != NULL;

	for (int i = 0; there && i < MAX_OPEN; i++)
		if (!open_files[i].used) {
			open_files[i].used = true;
			memcpy(open_files[i].path, full, sizeof(full));
			return FILES_ROOT + 1 + i;
		}
	errno = ENOENT;
	return -1;
}

static int read_text(const struct file *f, int error, size_t max, struct strbuf *out)
{
	strbuf_clear(out);
	strbuf_reserve(out, 1);
	out->data[0] = '\0';
	if (!f)
		return error;
	strbuf_add(out, f->text, f->len);
	return f->len > max ? -EFBIG : 0;
}

int __wrap_read_file_at(int dirfd, const char *path, size_t max, struct strbuf *out)
{
	char full[PATH_BYTES];

	if (!is_in(dirfd, path))
		return __real_read_file_at(dirfd, path, max, out);
	resolve(dirfd, path, full);
	return read_text(find_file(full), -ENOENT, max, out);
}

int __wrap_read_all(int fd, size_t max, struct strbuf *out)
{
	if (!is_ours(fd))
		return __real_read_all(fd, max, out);
	return read_text(find_file(opened(fd)->path), -ENODEV, max, out);
}

ssize_t __wrap_pread_text(int fd, char *buf, size_t size)
{
	if (!is_ours(fd))
		return __real_pread_text(fd, buf, size);
	const struct file *f = find_file(opened(fd)->path);

	if (!f) /* a cgroup's is gone in another way than a process' */
		return strncmp(opened(fd)->path, "proc", 4) ? -ENODEV : -ESRCH;
	size_t n = f->len < size - 1 ? f->len : size - 1;

	memcpy(buf, f->text, n);
	buf[n] = '\0';
	return (ssize_t)n;
}

/* ---- in the place of libc ---- */

off_t __wrap_lseek64(int fd, off_t offset, int whence)
{
	return is_ours(fd) ? 0 : __real_lseek64(fd, offset, whence);
}

int __wrap_faccessat(int dirfd, const char *path, int mode, int flags)
{
	char full[PATH_BYTES];

	if (!is_in(dirfd, path))
		return __real_faccessat(dirfd, path, mode, flags);
	resolve(dirfd, path, full);
	errno = ENOENT;
	return find_file(full) || is_directory(full) ? 0 : -1;
}

int __wrap_close(int fd)
{
	if (!is_ours(fd))
		return __real_close(fd);
	if (!opened(fd)->path[0]) /* the root, which is borrowed */
		abort();
	open_files[fd - FILES_ROOT - 1].used = false;
	return 0;
}

DIR *__wrap_fdopendir(int fd)
{
	if (!is_ours(fd))
		return __real_fdopendir(fd);
	for (size_t i = 0; i < sizeof(listings) / sizeof(*listings); i++)
		if (!listings[i].fd) {
			listings[i] = (struct listing){ .fd = fd };
			return (DIR *)&listings[i];
		}
	errno = EMFILE;
	return NULL;
}

static struct listing *our_listing(DIR *dir)
{
	struct listing *l = (struct listing *)dir;

	return l >= listings && l < listings + sizeof(listings) / sizeof(*listings)
		? l
		: NULL;
}

/* A directory comes once for each file below it, as listings that change may have it. */
struct dirent *__wrap_readdir64(DIR *dir)
{
	struct listing *l = our_listing(dir);

	if (!l)
		return __real_readdir64(dir);
	while (l->next < n_files) {
		const char *name = below(&files[l->next++], opened(l->fd)->path);

		if (!name || !*name)
			continue;
		size_t n = strcspn(name, "/");

		if (n >= sizeof(l->entry.d_name))
			continue;
		l->entry.d_type = name[n] ? DT_DIR : DT_REG;
		memcpy(l->entry.d_name, name, n);
		l->entry.d_name[n] = '\0';
		return &l->entry;
	}
	return NULL;
}

int __wrap_closedir(DIR *dir)
{
	struct listing *l = our_listing(dir);

	if (!l)
		return __real_closedir(dir);
	int fd = l->fd;

	l->fd = 0;
	return __wrap_close(fd);
}

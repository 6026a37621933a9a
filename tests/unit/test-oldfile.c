/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The old file's writing, call by call: what a reader by the old protocol finds after each. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "test.h"

#include "core/blob.h"
#include "mdisk/image.h"
#include "mdisk/oldfile.h"
#include "util/cleanup.h"
#include "util/strbuf.h"

#define SIZE 200000u

static int fail_at = -1; /* which write fails */
static int n_writes;
static int no_space;
static void (*after_write)(int fd);

ssize_t __real_pwrite64(int fd, const void *buf, size_t n, off_t at);
ssize_t __wrap_pwrite64(int fd, const void *buf, size_t n, off_t at);
int __wrap_fallocate64(int fd, int mode, off_t at, off_t n);

ssize_t __wrap_pwrite64(int fd, const void *buf, size_t n, off_t at)
{
	if (n_writes++ == fail_at) {
		errno = EIO;
		return -1;
	}
	/* a short one is no failure */
	ssize_t r = __real_pwrite64(fd, buf, n > 4096 ? 4096 : n, at);

	if (after_write)
		after_write(fd);
	return r;
}

int __wrap_fallocate64(int fd, int mode, off_t at, off_t n)
{
	assert_true(mode & FALLOC_FL_KEEP_SIZE);
	assert_true(fd >= 0 && at == 0 && n <= SIZE);
	errno = no_space;
	return no_space ? -1 : 0;
}

static struct blob *image_of(size_t len, char with)
{
	_cleanup_strbuf_ struct strbuf content = STRBUF_INIT;
	size_t left_out;

	memset(strbuf_reserve(&content, len), with, len);
	content.len = len;
	return image_new(&content, 1, 1, 0, SIZE, &left_out);
}

static int new_file(void)
{
	int fd = memfd_create("old", MFD_CLOEXEC);

	assert_true(fd >= 0 && ftruncate(fd, SIZE) == 0);
	n_writes = 0;
	fail_at = -1;
	no_space = 0;
	after_write = NULL;
	return fd;
}

static char *bytes_of(int fd)
{
	char *all = malloc(SIZE + 1);

	assert_int_equal(
		pread(fd, all, SIZE + 1, 0), SIZE); /* neither longer nor shorter */
	return all;
}

/* The header says that it is stable and the content is that of the header, or it is busy. */
static bool check_stable(int fd)
{
	_cleanup_free_ char *all = bytes_of(fd);
	struct image_header h;

	assert_int_equal(image_parse_header(all, SIZE, &h), 0);
	if (h.busy)
		return false;
	assert_int_equal(h.checksum, image_checksum(all + IMAGE_HEADER_BYTES, h.length));
	for (size_t i = IMAGE_HEADER_BYTES + h.length; i < SIZE; i++)
		assert_int_equal(all[i], 0);
	return true;
}

static void check_any(int fd)
{
	(void)check_stable(fd);
}

static void stable_or_busy_after_each_write(void **state)
{
	static const size_t lengths[] = { 10, 150000, 20, 99999, 0, 1 };
	_cleanup_close_ int fd = new_file();
	uint64_t used = 0;
	_cleanup_blob_ struct blob *first = image_of(3, 'x');

	(void)state;
	assert_int_equal(oldfile_write(fd, first, &used), 0);
	after_write = check_any;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		_cleanup_blob_ struct blob *image = image_of(lengths[i], (char)('a' + i));

		assert_int_equal(oldfile_write(fd, image, &used), 0);
		assert_int_equal(used, image->size);
		assert_true(check_stable(fd));
		_cleanup_free_ char *all = bytes_of(fd);

		assert_memory_equal(all, image->data, image->size);
	}
}

static void busy_until_it_succeeds_where_a_write_failed(void **state)
{
	_cleanup_blob_ struct blob *longer = image_of(100000, 'l'),
				   *shorter = image_of(100, 's');

	(void)state;
	for (int at = 0;; at++) {
		_cleanup_close_ int fd = new_file();
		uint64_t used = 0;

		assert_int_equal(oldfile_write(fd, longer, &used), 0);
		after_write = check_any;
		n_writes = 0;
		fail_at = at;
		if (oldfile_write(fd, shorter, &used) == 0)
			break;
		/* nothing was changed, or it says so */
		assert_int_equal(check_stable(fd), at == 0);
		fail_at = -1;
		assert_int_equal(oldfile_write(fd, shorter, &used), 0);
		assert_true(check_stable(fd));
	}
}

static void a_full_file_system_leaves_the_last_content(void **state)
{
	_cleanup_close_ int fd = new_file();
	_cleanup_blob_ struct blob *first = image_of(10, 'f'),
				   *next = image_of(1000, 'n');
	uint64_t used = 0;

	(void)state;
	assert_int_equal(oldfile_write(fd, first, &used), 0);
	no_space = ENOSPC;
	assert_int_equal(oldfile_write(fd, next, &used), -ENOSPC);
	_cleanup_free_ char *all = bytes_of(fd);

	assert_memory_equal(all, first->data, first->size);
	/* one that cannot reserve is written all the same */
	no_space = EOPNOTSUPP;
	assert_int_equal(oldfile_write(fd, next, &used), 0);
	assert_true(check_stable(fd));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stable_or_busy_after_each_write),
		cmocka_unit_test(busy_until_it_succeeds_where_a_write_failed),
		cmocka_unit_test(a_full_file_system_leaves_the_last_content),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

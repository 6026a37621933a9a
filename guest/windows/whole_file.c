/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "whole_file.h"

#include <windows.h>

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "system.h"
#include "util/cleanup.h"
#include "windows/win.h"

#define SHARE_ALL (FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE)

/* Who reads the old file without letting it go will be done soon. */
#define REPLACE_TRIES 50
#define PAUSE_MS 20

static int last_error(void)
{
	return -win_errno(GetLastError());
}

static void close_handle(const intptr_t *h)
{
	if (*h != -1)
		CloseHandle((HANDLE)*h);
}
#define _cleanup_handle_ _cleanup_(close_handle)

static int write_all(intptr_t h, const void *data, size_t len)
{
	const char *p = data;

	while (len) {
		DWORD n = 0;

		if (!WriteFile((HANDLE)h, p, len < 1u << 20 ? (DWORD)len : 1u << 20, &n,
			    NULL))
			return last_error();
		p += n;
		len -= n;
	}
	return 0;
}

/* A new file beside @path, which nobody takes for one that is ready.  Return: 0 or -errno. */
static int create_beside(const char *path, struct buf *ret_name, intptr_t *ret_handle)
{
	int dir_len = 0;

	for (int i = 0; path[i]; i++)
		if (strchr("/\\:", path[i]))
			dir_len = i + 1;
	for (unsigned i = 0; i < 100; i++) {
		buf_clear(ret_name);
		buf_addf(ret_name, "%.*s.%s.%u.%u", dir_len, path, path + dir_len,
			(unsigned)GetCurrentProcessId(), i);
		if (ret_name->failed)
			return -ENOMEM;
		_cleanup_free_ wchar_t *wide = win_wide(ret_name->data);

		if (!wide)
			return -errno;
		HANDLE h = CreateFileW(wide, GENERIC_WRITE, 0, NULL, CREATE_NEW,
			FILE_ATTRIBUTE_NORMAL, NULL);

		if (h != INVALID_HANDLE_VALUE) {
			*ret_handle = (intptr_t)h;
			return 0;
		}
		if (last_error() != -EEXIST)
			return last_error();
	}
	return -EEXIST;
}

/* Return: 0 or -errno; then @from is gone. */
static int replace(const char *from, const char *to)
{
	_cleanup_free_ wchar_t *old = win_wide(from), *new = win_wide(to);
	int r = old && new ? -EACCES : -errno;

	for (int i = 0; i < REPLACE_TRIES && (r == -EACCES || r == -EBUSY); i++) {
		if (i)
			system_pause_ms(PAUSE_MS);
		r = MoveFileExW(
			    old, new, MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH)
			? 0
			: last_error();
	}
	if (r < 0 && old)
		DeleteFileW(old);
	return r;
}

/* What a link leads to; NULL: @path itself, as far as is known. */
static char *real_path(intptr_t h)
{
	DWORD n = GetFinalPathNameByHandleW((HANDLE)h, NULL, 0, 0);
	_cleanup_free_ wchar_t *wide = n ? calloc(n + 1, sizeof(*wide)) : NULL;

	if (!wide || GetFinalPathNameByHandleW((HANDLE)h, wide, n + 1, 0) > n)
		return NULL;
	return win_narrow(wide);
}

int whole_file_write(const char *path, const void *data, size_t len, mode_t mode)
{
	_cleanup_buf_ struct buf name = BUF_INIT;
	_cleanup_free_ char *real = NULL;
	intptr_t h = win_open(path, 0, SHARE_ALL, 0);

	(void)mode;
	if (h != -1) {
		bool is_file = GetFileType((HANDLE)h) == FILE_TYPE_DISK;

		real = is_file ? real_path(h) : NULL;
		close_handle(&h);
		if (!is_file) {
			_cleanup_handle_ intptr_t there =
				win_open(path, GENERIC_WRITE, SHARE_ALL, 0);

			return there == -1 ? -errno : write_all(there, data, len);
		}
	}
	int r = create_beside(real ? real : path, &name, &h);

	if (r < 0)
		return r;
	r = write_all(h, data, len);
	/* or after a crash there might be a file of that name and nothing in it */
	if (r == 0 && !FlushFileBuffers((HANDLE)h))
		r = last_error();
	close_handle(&h);
	if (r == 0)
		return replace(name.data, real ? real : path);
	_cleanup_free_ wchar_t *wide = win_wide(name.data);

	if (wide)
		DeleteFileW(wide);
	return r;
}

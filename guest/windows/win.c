/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "windows/win.h"

#include <windows.h>

#include <errno.h>
#include <stdlib.h>

#include "util/cleanup.h"

int win_errno(unsigned long error)
{
	switch (error) {
	case ERROR_FILE_NOT_FOUND:
	case ERROR_PATH_NOT_FOUND:
	case ERROR_INVALID_NAME:
	case ERROR_BAD_PATHNAME:
	case ERROR_BAD_NETPATH:
	case ERROR_INVALID_DRIVE:
		return ENOENT;
	case ERROR_ACCESS_DENIED:
	case ERROR_WRITE_PROTECT:
	case ERROR_PRIVILEGE_NOT_HELD:
		return EACCES;
	case ERROR_SHARING_VIOLATION:
	case ERROR_LOCK_VIOLATION:
	case ERROR_PIPE_BUSY:
	case ERROR_BUSY:
		return EBUSY;
	case ERROR_NOT_ENOUGH_MEMORY:
	case ERROR_OUTOFMEMORY:
		return ENOMEM;
	case ERROR_NOT_READY:
	case ERROR_DEV_NOT_EXIST:
	case ERROR_DEVICE_NOT_CONNECTED:
		return ENXIO;
	case ERROR_FILE_EXISTS:
	case ERROR_ALREADY_EXISTS:
		return EEXIST;
	case ERROR_DISK_FULL:
	case ERROR_HANDLE_DISK_FULL:
		return ENOSPC;
	case ERROR_BROKEN_PIPE:
	case ERROR_NO_DATA:
	case ERROR_PIPE_NOT_CONNECTED:
		return EPIPE;
	case ERROR_DIRECTORY:
		return ENOTDIR;
	case ERROR_INVALID_PARAMETER:
		return EINVAL;
	case ERROR_INVALID_HANDLE:
		return EBADF;
	case ERROR_NO_UNICODE_TRANSLATION:
		return EILSEQ;
	default:
		return EIO;
	}
}

wchar_t *win_wide(const char *text)
{
	int n = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, text, -1, NULL, 0);
	wchar_t *wide = n > 0 ? malloc((size_t)n * sizeof(*wide)) : NULL;

	if (!wide)
		errno = n > 0 ? ENOMEM : win_errno(GetLastError());
	else
		MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, text, -1, wide, n);
	return wide;
}

char *win_narrow(const wchar_t *text)
{
	int n = WideCharToMultiByte(CP_UTF8, 0, text, -1, NULL, 0, NULL, NULL);
	char *narrow = n > 0 ? malloc((size_t)n) : NULL;

	if (narrow)
		WideCharToMultiByte(CP_UTF8, 0, text, -1, narrow, n, NULL, NULL);
	return narrow;
}

intptr_t win_open(
	const char *path, unsigned long access, unsigned long share, unsigned long flags)
{
	_cleanup_free_ wchar_t *wide = win_wide(path);

	if (!wide)
		return -1;
	HANDLE h = CreateFileW(wide, access, share, NULL, OPEN_EXISTING,
		flags | SECURITY_SQOS_PRESENT | SECURITY_ANONYMOUS, NULL);

	if (h == INVALID_HANDLE_VALUE)
		errno = win_errno(GetLastError());
	return (intptr_t)h;
}

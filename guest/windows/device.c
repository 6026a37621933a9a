/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A drive as a whole (\\.\PhysicalDriveN) has no cache, is read by whole sectors into memory that
 * the driver may ask to be aligned, and never beyond its end.
 */
#include "device.h"

#include <windows.h>
#include <winioctl.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "failure.h"
#include "util/limits.h"
#include "vhostmd/metrics.h"
#include "windows/win.h"

#define SHARE_ALL (FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE)
#define DIRECTORIES_TOO FILE_FLAG_BACKUP_SEMANTICS /* or they would be forbidden */

/* Drives have a number, files that of their volume and one in it. */
static bool identify(HANDLE h, uint64_t ret[3], bool *ret_is_block)
{
	STORAGE_DEVICE_NUMBER number = { 0 };
	BY_HANDLE_FILE_INFORMATION file;
	DWORD n = 0;

	if (GetFileType(h) != FILE_TYPE_DISK)
		return false;
	if (GetFileInformationByHandle(h, &file)) {
		ret[0] = file.dwVolumeSerialNumber;
		ret[1] = (uint64_t)file.nFileIndexHigh << 32 | file.nFileIndexLow;
		ret[2] = 0;
		*ret_is_block = false;
		return !(file.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY);
	}
	if (!DeviceIoControl(h, IOCTL_STORAGE_GET_DEVICE_NUMBER, NULL, 0, &number,
		    sizeof(number), &n, NULL))
		return false;
	ret[0] = number.DeviceType;
	ret[1] = number.DeviceNumber;
	ret[2] = number.PartitionNumber;
	*ret_is_block = true;
	return true;
}

static bool is_handle_of(HANDLE h, const struct device *d)
{
	uint64_t id[3];
	bool is_block = false;

	return h != INVALID_HANDLE_VALUE && identify(h, id, &is_block) &&
		is_block == d->is_block && !memcmp(id, d->id, sizeof(id));
}

bool device_is_at(const struct device *d, const char *path)
{
	if (!is_handle_of((HANDLE)d->handle, d))
		return false;
	HANDLE h = (HANDLE)win_open(path, 0, SHARE_ALL, DIRECTORIES_TOO);
	bool same = is_handle_of(h, d);

	if (h != INVALID_HANDLE_VALUE)
		CloseHandle(h);
	return same;
}

void device_close(struct device *d)
{
	if (is_handle_of((HANDLE)d->handle, d))
		CloseHandle((HANDLE)d->handle);
	*d = DEVICE_CLOSED;
}

int device_open(const char *path, struct device *ret, struct buf *tried)
{
	struct device d = { .handle = win_open(
				    path, GENERIC_READ, SHARE_ALL, DIRECTORIES_TOO) };

	if (d.handle == -1)
		return failure_note_errno(tried, path, errno);
	if (!identify((HANDLE)d.handle, d.id, &d.is_block)) {
		CloseHandle((HANDLE)d.handle);
		return failure_note(tried, path, VHOSTMD_ERR_NOT_A_DISK);
	}
	d.direct = d.is_block;
	*ret = d;
	return 0;
}

int64_t device_size(const struct device *d)
{
	GET_LENGTH_INFORMATION length = { 0 };
	LARGE_INTEGER size = { 0 };
	DWORD n = 0;

	if (!d->is_block)
		return GetFileSizeEx((HANDLE)d->handle, &size) ? size.QuadPart : -1;
	return DeviceIoControl((HANDLE)d->handle, IOCTL_DISK_GET_LENGTH_INFO, NULL, 0,
		       &length, sizeof(length), &n, NULL)
		? length.Length.QuadPart
		: -1;
}

void device_forget(const struct device *d)
{
	(void)d;
}

static ssize_t read_at(const struct device *d, void *at, size_t n, int64_t offset)
{
	OVERLAPPED where = { .Offset = (DWORD)offset,
		.OffsetHigh = (DWORD)(offset >> 32) };
	DWORD done = 0;

	if (ReadFile((HANDLE)d->handle, at, (DWORD)n, &done, &where))
		return (ssize_t)done;
	return GetLastError() == ERROR_HANDLE_EOF
		? 0
		: failure_from_errno(win_errno(GetLastError()));
}

ssize_t device_read(const struct device *d, void *at, size_t n, int64_t offset)
{
	if (!d->is_block)
		return read_at(d, at, n, offset);
	int64_t end = device_size(d);

	if (offset >= end)
		return end < 0 ? VHOSTMD_ERR_IO : 0;
	if ((int64_t)n > end - offset)
		n = (size_t)(end - offset);
	void *aligned = VirtualAlloc(NULL, n, MEM_COMMIT | MEM_RESERVE, PAGE_READWRITE);
	ssize_t r = aligned ? read_at(d, aligned, n, offset) : VHOSTMD_ERR_MEMORY;

	if (r > 0)
		memcpy(at, aligned, (size_t)r);
	if (aligned)
		VirtualFree(aligned, 0, MEM_RELEASE);
	return r;
}

void *device_memory(size_t bytes)
{
	return malloc(bytes); /* device_read() has what is aligned */
}

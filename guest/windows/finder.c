/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "finder.h"

#include <windows.h>
#include <winioctl.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "identity.h"
#include "util/cleanup.h"
#include "util/limits.h"
#include "util/wire.h"
#include "vhostmd/metrics.h"
#include "windows/smbios.h"
#include "windows/win.h"

#define DRIVES 64
#define DRIVE_PATH_BYTES 32
#define SERIAL "vhostmd" /* that udev's rules look for, too */

/* ---- disks ---- */

/* In the order in which they are looked at. */
enum rank { RANK_NAMED, RANK_READ_ONLY, RANK_WRITABLE, RANK_NONE };

static bool ask(HANDLE h, DWORD what, void *ret, size_t size)
{
	DWORD n = 0;

	memset(ret, 0, size);
	return DeviceIoControl(h, what, NULL, 0, ret, (DWORD)size, &n, NULL);
}

/* Return: false if it is removable, or says nothing. */
static bool is_fixed(HANDLE h, bool *ret_is_named)
{
	STORAGE_PROPERTY_QUERY query = { .PropertyId = StorageDeviceProperty,
		.QueryType = PropertyStandardQuery };
	union {
		STORAGE_DEVICE_DESCRIPTOR head;
		char bytes[1024];
	} told = { 0 };
	DWORD n = 0;

	if (!DeviceIoControl(h, IOCTL_STORAGE_QUERY_PROPERTY, &query, sizeof(query),
		    &told, sizeof(told) - 1, &n, NULL) ||
		told.head.RemovableMedia)
		return false;
	size_t at = told.head.SerialNumberOffset;
	const char *serial = at && at < sizeof(told) ? told.bytes + at : "";

	serial += strspn(serial, " ");
	*ret_is_named = !strncmp(serial, SERIAL, strlen(SERIAL)) &&
		!serial[strlen(SERIAL) + strspn(serial + strlen(SERIAL), " ")];
	return true;
}

static bool has_partitions(HANDLE h)
{
	union {
		DRIVE_LAYOUT_INFORMATION_EX layout;
		char bytes[sizeof(DRIVE_LAYOUT_INFORMATION_EX) +
			127 * sizeof(PARTITION_INFORMATION_EX)];
	} told;

	if (!ask(h, IOCTL_DISK_GET_DRIVE_LAYOUT_EX, &told, sizeof(told)))
		return GetLastError() == ERROR_INSUFFICIENT_BUFFER;
	if (told.layout.PartitionStyle == PARTITION_STYLE_RAW)
		return false;
	for (DWORD i = 0; i < told.layout.PartitionCount && i < 128; i++)
		if (told.layout.PartitionEntry[i].PartitionLength.QuadPart)
			return true;
	return false;
}

/* A metrics disk is small, and large ones may be slow to answer. */
static bool is_small(HANDLE h)
{
	union {
		DISK_GEOMETRY_EX geometry;
		char bytes[512]; /* more may follow */
	} told;

	return ask(h, IOCTL_DISK_GET_DRIVE_GEOMETRY_EX, &told, sizeof(told)) &&
		told.geometry.DiskSize.QuadPart > 0 &&
		told.geometry.DiskSize.QuadPart <=
		LIMIT_DISK_BYTES_MAX + DISK_BLOCK_BYTES;
}

/* Opened without any access, which asks for no right and wakes nothing. */
static enum rank rank_of(const char *path)
{
	HANDLE h = (HANDLE)win_open(path, 0, FILE_SHARE_READ | FILE_SHARE_WRITE, 0);
	bool is_named = false;
	enum rank rank = RANK_NONE;
	DWORD n = 0;

	if (h == INVALID_HANDLE_VALUE)
		return RANK_NONE;
	if (is_small(h) && is_fixed(h, &is_named) && !has_partitions(h))
		rank = is_named ? RANK_NAMED
			: !DeviceIoControl(h, IOCTL_DISK_IS_WRITABLE, NULL, 0, NULL, 0,
				  &n, NULL) &&
				GetLastError() == ERROR_WRITE_PROTECT
			? RANK_READ_ONLY
			: RANK_WRITABLE;
	CloseHandle(h);
	return rank;
}

int finder_disks(const char *root, finder_fn *fn, void *data)
{
	char paths[DRIVES][DRIVE_PATH_BYTES];
	enum rank ranks[DRIVES];
	int result = 0;

	(void)root;
	for (int i = 0; i < DRIVES; i++) {
		snprintf(paths[i], sizeof(paths[i]), "\\\\.\\PhysicalDrive%d", i);
		ranks[i] = rank_of(paths[i]);
	}
	for (enum rank rank = RANK_NAMED; rank < RANK_NONE; rank++)
		for (int i = 0; i < DRIVES; i++) {
			if (ranks[i] != rank)
				continue;
			result = 1;
			if (fn(paths[i], data))
				return 1;
		}
	return result;
}

/* ---- channel ---- */

/* Whether there is one is seen when it is opened. */
int finder_channel(const char *root, char *ret, size_t size)
{
	(void)root;
	snprintf(ret, size, "%s", "\\\\.\\Global\\" WIRE_CHANNEL_NAME);
	return 0;
}

/* ---- identity ---- */

void finder_identity(const char *root, struct identity *ret)
{
	const DWORD rsmb = 0x52534d42; /* 'RSMB' */
	UINT size = GetSystemFirmwareTable(rsmb, 0, NULL, 0);
	_cleanup_free_ void *table = size ? malloc(size) : NULL;
	struct uuid uuid;

	(void)root;
	ret->n = 0;
	if (table && GetSystemFirmwareTable(rsmb, 0, table, size) <= size &&
		smbios_uuid(table, size, &uuid))
		identity_add(ret, &uuid);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The firmware's table of what this machine is.  Pure; any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct uuid;

/*
 * @table: what GetSystemFirmwareTable() gives of 'RSMB', which need not be right in anything.
 * Return: whether it has a uuid of the machine; as people write it, in the byte order of the
 * table's version.
 */
bool smbios_uuid(const void *table, size_t n, struct uuid *ret);

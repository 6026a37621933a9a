/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "windows/smbios.h"

#include <stdint.h>
#include <string.h>

#include "util/uuid.h"

/* What Windows puts before the table: its version, and its length in four bytes. */
enum { HEADER_BYTES = 8, HEADER_MAJOR = 1, HEADER_MINOR = 2, HEADER_LENGTH = 4 };

/* A structure: its type, its length without the texts that follow, which end with two zeros. */
enum { TYPE_SYSTEM = 1, TYPE_END = 127, STRUCTURE_BYTES = 4, UUID_AT = 8 };

/* Length of a structure with its texts; 0: it does not end. */
static size_t structure_bytes(const uint8_t *at, size_t left)
{
	if (left < STRUCTURE_BYTES || at[1] < STRUCTURE_BYTES)
		return 0;
	for (size_t i = at[1]; i + 1 < left; i++)
		if (!at[i] && !at[i + 1])
			return i + 2;
	return 0;
}

/* From version 2.6 on the first three fields are little-endian. */
static void take_uuid(const uint8_t *at, bool is_little_endian, struct uuid *ret)
{
	static const uint8_t from[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13,
		14, 15 };

	for (size_t i = 0; i < sizeof(ret->b); i++)
		ret->b[i] = at[is_little_endian ? from[i] : i];
}

bool smbios_uuid(const void *table, size_t n, struct uuid *ret)
{
	const uint8_t *at = table;
	size_t left, step;

	if (n < HEADER_BYTES)
		return false;
	bool is_little_endian =
		at[HEADER_MAJOR] > 2 || (at[HEADER_MAJOR] == 2 && at[HEADER_MINOR] >= 6);
	const uint8_t *l = at + HEADER_LENGTH;

	left = (size_t)l[0] | (size_t)l[1] << 8 | (size_t)l[2] << 16 | (size_t)l[3] << 24;
	if (left > n - HEADER_BYTES)
		left = n - HEADER_BYTES;
	for (at += HEADER_BYTES; (step = structure_bytes(at, left)) && at[0] != TYPE_END;
		at += step, left -= step) {
		if (at[0] != TYPE_SYSTEM || at[1] < UUID_AT + sizeof(ret->b))
			continue;
		take_uuid(at + UUID_AT, is_little_endian, ret);
		return true;
	}
	return false;
}

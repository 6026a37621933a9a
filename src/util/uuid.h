/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* UUIDs as 16 bytes and as their canonical lower-case text.  Pure functions. */
#pragma once

#include <stdint.h>

#define UUID_TEXT_LEN 36

struct uuid {
	uint8_t b[16];
};

/* Accepts the 36-character form, either case.  Return: 0 or -EINVAL. */
int uuid_parse(const char *text, struct uuid *ret);

/* Writes 36 lower-case characters and a NUL. */
void uuid_format(const struct uuid *uuid, char ret[UUID_TEXT_LEN + 1]);

/* Total order of the bytes; 0 if equal. */
int uuid_compare(const struct uuid *a, const struct uuid *b);

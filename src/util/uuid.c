/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/uuid.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool dash_after(int byte)
{
	return byte == 3 || byte == 5 || byte == 7 || byte == 9;
}

int uuid_parse(const char *text, struct uuid *ret)
{
	struct uuid u = { { 0 } };

	for (int i = 0; i < 16; i++) {
		int high = hex_digit(text[0]);
		int low = high < 0 ? -1 : hex_digit(text[1]);

		if (low < 0)
			return -EINVAL;
		u.b[i] = (uint8_t)(high << 4 | low);
		text += 2;
		if (dash_after(i) && *text++ != '-')
			return -EINVAL;
	}
	if (*text)
		return -EINVAL;
	*ret = u;
	return 0;
}

void uuid_format(const struct uuid *uuid, char ret[UUID_TEXT_LEN + 1])
{
	static const char hex[] = "0123456789abcdef";

	for (int i = 0; i < 16; i++) {
		*ret++ = hex[uuid->b[i] >> 4];
		*ret++ = hex[uuid->b[i] & 15];
		if (dash_after(i))
			*ret++ = '-';
	}
	*ret = '\0';
}

int uuid_compare(const struct uuid *a, const struct uuid *b)
{
	return memcmp(a->b, b->b, sizeof(a->b));
}

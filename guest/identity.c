/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "identity.h"

#include <stdbool.h>

static void add_once(struct identity *id, const struct uuid *uuid)
{
	for (size_t i = 0; i < id->n; i++)
		if (uuid_compare(&id->uuids[i], uuid) == 0)
			return;
	if (id->n < IDENTITY_UUIDS)
		id->uuids[id->n++] = *uuid;
}

/* All zeros and all ones mean that there is none. */
static bool means_something(const struct uuid *uuid)
{
	uint8_t ones = 0xff, zeros = 0;

	for (size_t i = 0; i < sizeof(uuid->b); i++) {
		ones &= uuid->b[i];
		zeros |= uuid->b[i];
	}
	return ones != 0xff && zeros != 0;
}

/* Until version 2.6 of the SMBIOS the first three fields were in either byte order. */
static struct uuid swapped(const struct uuid *uuid)
{
	static const uint8_t from[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13,
		14, 15 };
	struct uuid ret;

	for (size_t i = 0; i < sizeof(ret.b); i++)
		ret.b[i] = uuid->b[from[i]];
	return ret;
}

void identity_add(struct identity *id, const struct uuid *uuid)
{
	if (!means_something(uuid))
		return;
	struct uuid other = swapped(uuid);

	add_once(id, uuid);
	add_once(id, &other);
}

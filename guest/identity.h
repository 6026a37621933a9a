/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who this VM may be.  Pure; any thread. */
#pragma once

#include <stddef.h>

#include "util/uuid.h"

#define IDENTITY_UUIDS 8u

/* The uuids under which the host may have this VM, of which it has one. */
struct identity {
	struct uuid uuids[IDENTITY_UUIDS];
	size_t n;
};

/* Adds what the firmware tells, in either byte order; nothing if it means that there is none. */
void identity_add(struct identity *id, const struct uuid *uuid);

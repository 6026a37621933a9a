/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A figure that may be missing, as collectors pass it on.  Any thread. */
#pragma once

#include <stdbool.h>

#include "core/value.h"

struct fact {
	bool have;
	struct value value;
};

static inline void fact_set(struct fact *fact, struct value value)
{
	*fact = (struct fact){ true, value };
}

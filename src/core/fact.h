/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A figure as collectors pass it on: it has a value; or there is none of it, neither now nor
 * later unless something changes, as of a limit that is not set, or of what this kernel does
 * not count; or, as long as nothing was said, it cannot be had now.  Any thread.
 */
#pragma once

#include <stdbool.h>

#include "core/value.h"

struct fact {
	struct value value;
	bool have;
	bool absent; /* there is none; only without a value */
};

static inline void fact_set(struct fact *fact, struct value value)
{
	*fact = (struct fact){ .have = true, .value = value };
}

/* What has no value so far is none. */
static inline void fact_set_absent(struct fact *fact)
{
	fact->absent = !fact->have;
}

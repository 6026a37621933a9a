/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Configurations for tests that need some metric and do not care which. */
#pragma once

#include "core/spec.h"
#include "util/mem.h"

/* Host metrics of one type, printed by actions, under the names of a NULL-terminated list. */
static inline struct spec_set *specs_named(
	enum metric_type type, const char *const *names)
{
	struct spec_set *set = spec_set_new(16);

	for (set->n = 0; names[set->n]; set->n++)
		set->specs[set->n] = (struct metric_spec){ .name = xstrdup(names[set->n]),
			.kind = SPEC_ACTION,
			.type = type,
			.guest = true,
			.action = xstrdup("x") };
	return set;
}

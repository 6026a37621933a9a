/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Configurations for tests that need some metric and do not care which. */
#pragma once

#include "core/catalogue.h"
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

/* Adds every source of a collector under its own name. */
static inline void add_all_of(struct spec_set *specs, enum catalogue_collector collector)
{
	for (size_t i = 0; catalogue_at(i); i++) {
		const struct catalogue_entry *e = catalogue_at(i);

		if (e->collector == collector)
			specs->specs[specs->n++] =
				(struct metric_spec){ .name = xstrdup(e->name),
					.context = e->context,
					.type = e->type,
					.guest = true,
					.source = xstrdup(e->name),
					.entry = e };
	}
}

static inline struct spec_set *all_of(enum catalogue_collector collector)
{
	struct spec_set *specs = spec_set_new(256);

	specs->n = 0;
	add_all_of(specs, collector);
	return specs;
}

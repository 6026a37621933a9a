/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Configurations of native sources, and looking into the lists that come of them. */
#pragma once

#include "specs.h"
#include "test.h"

#include <string.h>

#include "core/catalogue.h"
#include "core/metric_list.h"
#include "core/spec.h"
#include "core/unit.h"
#include "model/vm_sample.h"
#include "util/mem.h"

/* Adds a metric with a source; @unit: to convert to, or NULL. */
static inline void want(struct spec_set *specs, const char *name, const char *source,
	enum metric_type type, const char *unit)
{
	const struct catalogue_entry *e = catalogue_find(source);

	assert_non_null(e);
	specs->specs[specs->n++] = (struct metric_spec){ .name = xstrdup(name),
		.context = e->context,
		.type = type,
		.guest = true,
		.source = xstrdup(source),
		.entry = e,
		.convert = unit ? unit_find(unit) : NULL };
}

static inline const struct metric *find_or_null(
	const struct metric_list *list, const char *name)
{
	for (size_t i = 0; i < list->n; i++)
		if (!strcmp(list->metrics[i].label->name, name))
			return &list->metrics[i];
	return NULL;
}

static inline const struct metric *find(const struct metric_list *list, const char *name)
{
	const struct metric *m = find_or_null(list, name);

	if (!m)
		fail_msg("no metric %s", name);
	return m;
}

static inline void assert_u64(
	const struct metric_list *list, const char *name, uint64_t expected)
{
	const struct metric *m = find(list, name);

	if (!m->available || m->value.u != expected)
		fail_msg("%s is %s%llu, not %llu", name,
			m->available ? "" : "unavailable ",
			(unsigned long long)m->value.u, (unsigned long long)expected);
}

static inline uint64_t fact_u64(const struct vm_sample *s, enum vm_key key)
{
	assert_true(s->facts[key].have);
	return s->facts[key].value.u;
}

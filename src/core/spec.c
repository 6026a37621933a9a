/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/spec.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "util/mem.h"

struct spec_set *spec_set_new(size_t n)
{
	struct spec_set *set = xcalloc(1, sizeof(*set));

	atomic_init(&set->refs, 1);
	set->n = n;
	set->specs = xcalloc(n, sizeof(*set->specs));
	return set;
}

struct spec_set *spec_set_ref(struct spec_set *set)
{
	atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
	return set;
}

static void spec_done(struct metric_spec *spec)
{
	for (size_t i = 0; i < spec->n_variables; i++) {
		free(spec->variables[i].name);
		free(spec->variables[i].unit);
	}
	free(spec->variables);
	free(spec->name);
	free(spec->unit);
	free(spec->source);
	free(spec->action);
}

void spec_set_unref(struct spec_set *set)
{
	if (!set || atomic_fetch_sub_explicit(&set->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < set->n; i++)
		spec_done(&set->specs[i]);
	free(set->specs);
	free(set);
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

bool spec_equal(const struct metric_spec *a, const struct metric_spec *b)
{
	if (!same_text(a->name, b->name) || !same_text(a->unit, b->unit) ||
		!same_text(a->source, b->source) || !same_text(a->action, b->action))
		return false;
	if (a->context != b->context || a->kind != b->kind || a->type != b->type ||
		a->guest != b->guest || a->convert != b->convert ||
		a->n_variables != b->n_variables)
		return false;
	for (size_t i = 0; i < a->n_variables; i++)
		if (!same_text(a->variables[i].name, b->variables[i].name) ||
			!same_text(a->variables[i].unit, b->variables[i].unit) ||
			a->variables[i].type != b->variables[i].type)
			return false;
	return true;
}

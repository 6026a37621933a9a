/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A small configuration with a metric of each kind; checkpoints of the corpus are of it. */
#pragma once

#include <stdlib.h>

#include "core/catalogue.h"
#include "core/spec.h"
#include "core/unit.h"
#include "model/plan.h"
#include "util/clock.h"
#include "util/mem.h"

struct checkpoint_spec {
	const char *name, *source, *unit; /* @source: NULL: an action */
	enum spec_kind kind;
	enum metric_context context;
	enum metric_type type;
};

static const struct checkpoint_spec checkpoint_specs[] = {
	{ "TotalCPUTime", "host.cpu.time", "s", SPEC_SOURCE, CONTEXT_HOST,
		METRIC_REAL64 },
	{ "Load", "host.load.1", NULL, SPEC_SOURCE, CONTEXT_HOST, METRIC_REAL32 },
	{ "Kernel", "host.os.release", NULL, SPEC_SOURCE, CONTEXT_HOST, METRIC_STRING },
	{ "cpu.time", "cpu.time", NULL, SPEC_SOURCE, CONTEXT_VM, METRIC_UINT64 },
	{ "vcpu.*.time", "vcpu.*.time", NULL, SPEC_SOURCE, CONTEXT_VM, METRIC_UINT64 },
	{ "block.*.rd.bytes", "block.*.rd.bytes", "KiB", SPEC_SOURCE, CONTEXT_VM,
		METRIC_UINT32 },
	{ "state", "state.state", NULL, SPEC_SOURCE, CONTEXT_VM, METRIC_INT32 },
	{ "stale", "sample.stale", NULL, SPEC_SOURCE, CONTEXT_VM, METRIC_UINT32 },
	{ "act", NULL, NULL, SPEC_ACTION, CONTEXT_VM, METRIC_INT64 },
	{ "group", NULL, NULL, SPEC_GROUP, CONTEXT_VM, METRIC_STRING },
	{ "xml", NULL, NULL, SPEC_XML, CONTEXT_VM, METRIC_STRING },
	{ "waits", "delay.histogram", NULL, SPEC_SOURCE, CONTEXT_VM, METRIC_HISTOGRAM },
};
#define N_CHECKPOINT_SPECS (sizeof(checkpoint_specs) / sizeof(checkpoint_specs[0]))

/* Return: NULL if the catalogue has no such source any more. */
static inline struct spec_set *checkpoint_spec_set(void)
{
	struct spec_set *set = spec_set_new(N_CHECKPOINT_SPECS);

	for (size_t i = 0; i < N_CHECKPOINT_SPECS; i++) {
		const struct checkpoint_spec *from = &checkpoint_specs[i];
		struct metric_spec *spec = &set->specs[i];

		*spec = (struct metric_spec){ .name = xstrdup(from->name),
			.context = from->context,
			.kind = from->kind,
			.type = from->type,
			.guest = true };
		if (!from->source) {
			spec->action = xstrdup("true");
			continue;
		}
		spec->source = xstrdup(from->source);
		spec->entry = catalogue_find(from->source);
		spec->convert = from->unit ? unit_find(from->unit) : NULL;
		spec->unit = from->unit ? xstrdup(from->unit) : NULL;
		if (!spec->entry)
			abort();
	}
	struct metric_spec *group = &set->specs[9];

	group->variables = xcalloc(2, sizeof(*group->variables));
	group->n_variables = 2;
	group->variables[0] = (struct spec_variable){
		.name = xstrdup("a"), .unit = xstrdup("MiB"), .type = METRIC_UINT64
	};
	group->variables[1] =
		(struct spec_variable){ .name = xstrdup("b"), .type = METRIC_STRING };
	return set;
}

static inline struct plan *checkpoint_plan(void)
{
	const struct plan_settings settings = { .period_ns = NS_PER_S,
		.slow_period_ns = 3 * NS_PER_S,
		.action_path = "/usr/bin:/bin",
		.action_timeout_ns = 60 * NS_PER_S,
		.action_max_parallel = 2 };
	struct spec_set *specs = checkpoint_spec_set();
	struct plan *plan = plan_new(NULL, specs, &settings);

	spec_set_unref(specs);
	return plan;
}

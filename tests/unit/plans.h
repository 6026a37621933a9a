/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Plans with short periods. */
#pragma once

#include "model/plan.h"
#include "util/clock.h"

/* @before: the plan in force, or NULL. */
static inline struct plan *plan_after(const struct plan *before, struct spec_set *specs)
{
	const struct plan_settings settings = { .period_ns = 20 * NS_PER_MS,
		.slow_period_ns = 60 * NS_PER_MS,
		.action_path = "/usr/bin:/bin",
		.action_timeout_ns = 60 * NS_PER_S,
		.action_max_parallel = 2 };

	return plan_new(before, specs, &settings);
}

static inline struct plan *plan_of(struct spec_set *specs)
{
	return plan_after(NULL, specs);
}

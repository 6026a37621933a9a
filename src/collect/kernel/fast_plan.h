/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a sample of the fast lane to the metrics that the configuration asks for.  A plan is
 * made once for each configuration and immutable afterwards; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "model/vm_sample.h"

struct fast_plan;
struct metric_list;
struct spec_set;

/* Keeps a reference to @specs. */
struct fast_plan *fast_plan_new(struct spec_set *specs);
void fast_plan_free(struct fast_plan *plan); /* NULL is accepted */

/* The configuration that it was made for; borrowed. */
struct spec_set *fast_plan_specs(const struct fast_plan *plan);

/* What must be read of a VM: enum qemu_need. */
unsigned fast_plan_needs(const struct fast_plan *plan);

/* True if anything of a VM's interfaces is asked for. */
bool fast_plan_wants_links(const struct fast_plan *plan);

/*
 * The metrics that the sample covers, and those that only the fast lane has, which are
 * unavailable where the sample lacks them.  Return: a list owned by the caller.
 */
struct metric_list *fast_plan_list(
	const struct fast_plan *plan, const struct vm_sample *sample);

/*
 * What is asked for about the samples: sample.*, and, for a VM that the fast lane cannot
 * sample at all (@lone), its own metrics as unavailable.
 * @slow_age_ns: -1 if there is none yet; @time_ns: real time.
 * Return: a list owned by the caller; NULL if it would be empty.
 */
struct metric_list *fast_plan_about(const struct fast_plan *plan, bool lone,
	int64_t slow_age_ns, bool stale, int64_t time_ns);

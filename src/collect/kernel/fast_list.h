/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a sample of the fast lane to the metrics that the configuration asks for.  Pure
 * functions; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "model/vm_sample.h"

struct metric_list;
struct plan;

/*
 * The metrics that the sample makes known, and those that only the fast lane has, which are
 * unavailable where the sample lacks them.  Return: a list owned by the caller.
 */
struct metric_list *fast_list(const struct plan *plan, const struct vm_sample *sample);

/*
 * What is asked for about the samples: sample.*, and, for a VM that the fast lane cannot
 * sample at all (@lone), its own metrics as unavailable.
 * @slow_age_ns: -1 if there is none yet; @time_ns: real time.
 * Return: a list owned by the caller; NULL if it would be empty.
 */
struct metric_list *fast_list_about(const struct plan *plan, bool lone,
	int64_t slow_age_ns, bool stale, int64_t time_ns);

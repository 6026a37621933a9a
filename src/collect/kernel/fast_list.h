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
 * unavailable or absent where the sample lacks them.  Return: a list owned by the caller.
 */
struct metric_list *fast_list(const struct plan *plan, const struct vm_sample *sample);

/* What is known of a VM's samples. */
struct fast_about {
	enum {
		PROCESS_SAMPLED,
		PROCESS_SOUGHT, /* it may be found yet */
		PROCESS_ABSENT, /* none that could be sampled */
	} process;
	uint64_t known;      /* by the fast lane: READS() of READS_EITHER */
	int64_t slow_age_ns; /* of libvirt's last answer; -1: none yet */
	bool stale;          /* it is late */
};

/*
 * What is asked for about the samples: sample.*; of a VM that the fast lane cannot sample
 * (yet) its own metrics, of one whose monitor does not answer libvirt's, as unavailable.
 * To be shown where no other lane says anything.
 * @time_ns: real time.  Return: a list owned by the caller; NULL if it would be empty.
 */
struct metric_list *fast_list_about(
	const struct plan *plan, const struct fast_about *about, int64_t time_ns);

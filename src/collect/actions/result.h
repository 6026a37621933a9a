/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From what a command printed to metrics.  Pure functions. */
#pragma once

#include <stdint.h>

struct action_process;
struct metric_list;
struct spec_set;
struct strbuf;
struct vm_ident;

/* The metric (a group's metrics) as unavailable.  The caller owns the list. */
struct metric_list *action_result_none(struct spec_set *specs, uint32_t slot);

/*
 * Reads the output of a command that has ended.
 * @vm: NULL for the host.  @why: stays empty if all is well; else says what is wrong, with
 * the first bytes of the output, and the metric is unavailable.
 */
struct metric_list *action_result_read(struct spec_set *specs, uint32_t slot,
	const struct vm_ident *vm, struct action_process *process, struct strbuf *why);

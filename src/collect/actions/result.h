/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From what a command printed to metrics.  Pure functions. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct action_process;
struct metric_list;
struct spec_set;
struct strbuf;
struct vm_ident;

/* The metric (a group's metrics) as unavailable.  The caller owns the list. */
struct metric_list *action_result_none(struct spec_set *specs, uint32_t slot);

/*
 * Reads the output of a command that has ended.  None at all is no value, and neither is one
 * that a lack of rights spoiled.
 * @vm: NULL for the host.  @why: stays empty if all is well; else says what is wrong, with
 * the first bytes of what it said or printed, and the metric (of a group, what is empty) is
 * unavailable.
 */
struct metric_list *action_result_read(struct spec_set *specs, uint32_t slot,
	const struct vm_ident *vm, struct action_process *process, struct strbuf *why);

/*
 * Appends the start of the command's standard error, quoted, in one line.
 * Return: true if there is any.
 */
bool action_result_complaint(const struct action_process *process, struct strbuf *out);

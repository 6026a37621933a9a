/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a process showed and the next one shows until its own collectors have it: the rule
 * when a figure of LANE_INHERITED goes (board_inherit()).  Pure; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct metric_list;

/*
 * @fresh: what @lane brings now; @settled: what it lacks it will not have soon; @apart:
 * plan_seldom_apart().
 * Return: what of @inherited stays, owned by the caller, which may be empty; NULL if that is
 * all of it.
 */
struct metric_list *inherited_rest(const struct metric_list *inherited,
	const struct metric_list *fresh, size_t lane, bool settled, bool apart);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which VM waited for which, for Prometheus: vhostmd_vm_stolen_seconds_total, of the VMs that run.  A part
 * of what core/render_prom makes, which no guest gets.  Any thread.
 */
#pragma once

#include <stdbool.h>

struct strbuf;
struct view;

/* Below a millisecond a pair is not told of: most of many VMs come across each other some time. */
#define RENDER_STOLEN_LEAST_NS 1000000u

/* Appends the family, if there is any of it.  @is_open: OpenMetrics. */
void render_stolen(const struct view *view, bool is_open, struct strbuf *out);

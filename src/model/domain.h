/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VM's identity, session and limits (COLLECTOR_DOMAIN), from what is known of its run.
 * Pure functions; any thread.
 */
#pragma once

#include <stdint.h>

struct description;
struct metric_list;
struct plan;
struct run;

/*
 * @domain: NULL while its description is not known; @host_mhz: nominal, 0 if not known;
 * @time_ns: real time.  Return: a list owned by the caller.
 */
struct metric_list *domain_list(const struct plan *plan, const struct run *run,
	const struct description *domain, uint64_t host_mhz, int64_t time_ns);

/*
 * A number for this run of the VM, never 0.  @boot_id: of the host; @start: of the process
 * in clock ticks since then, or libvirt's id where there is no process.
 */
uint64_t domain_session(const char *boot_id, const struct run *run, uint64_t start);

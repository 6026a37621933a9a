/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The tree in Prometheus' text exposition format 0.0.4.  Any thread.
 *
 * A metric becomes vhostmd_host_<name> or vhostmd_vm_<name>{name=,uuid=,id=}: in snake
 * case, in base units (bytes, seconds, ratio), with _total for counters; what replaced '*'
 * is the label "index", or of disks and interfaces "device", their name on the host, which
 * stays theirs whatever is plugged in; text becomes <name>_info{value=} 1.
 */
#pragma once

struct blob;
struct strbuf;
struct view;

/* All metrics that are available.  Rendered once for each view; borrowed from it. */
struct blob *render_prom_view(struct view *view);

/* Appends @name in snake case, parts that Prometheus' naming rules object to spelled out. */
void render_prom_name(const char *name, struct strbuf *out);

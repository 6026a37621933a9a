/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The tree in Prometheus' text exposition format 0.0.4, or in OpenMetrics 1.0.0.  Any thread.
 *
 * Families are called as core/prom_name has it.  A VM's samples have the labels uuid and name,
 * and one for each thing that there are several of: vcpu, iothread, or of disks and interfaces
 * device, their name on the host, which stays theirs whatever is plugged in.  Texts that hardly
 * ever change are labels of vhostmd_host_info, vhostmd_vm_info and the like, whose value is 1;
 * other texts are left out.  So is a gauge beyond 2^53, which a double does not hold.  A histogram
 * is `_bucket` with the label le, `_sum` and `_count`: what is beyond all bounds is in +Inf, which is
 * `_count`.
 *
 * The series are the same in both, and so are the samples' lines.  In OpenMetrics what is said of a
 * family is said of its name without _total or _info, along with its unit.
 */
#pragma once

struct blob;
struct view;

/* All metrics that are available.  Rendered once for each view; borrowed from it. */
struct blob *render_prom_view(struct view *view);
struct blob *render_openmetrics_view(struct view *view);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For how much the disks of a configuration are large enough, before anything was sampled. */
#pragma once

struct conf;
struct strbuf;

/*
 * Appends a line for --check-config: about how many virtual CPUs have room on a private disk,
 * and how many VMs on the shared one, as far as the names of metrics tell; values vary.
 */
void disk_room_describe(const struct conf *conf, struct strbuf *out);

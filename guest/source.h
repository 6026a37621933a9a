/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files behind vhostmd/metrics.h share: a snapshot's inside, and a source that looks
 * for devices elsewhere than below /.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vhostmd/metrics.h"

struct document;

struct vhostmd_snapshot {
	struct document *document;
	int64_t read_ns; /* system_boot_ns(), when it was read */
	int64_t age_ns;  /* since these bytes were first read */
	enum vhostmd_freshness freshness;
	bool is_channel;
	char path[]; /* of the device */
};

/* vhostmd_open(), and all devices, /sys and /proc are below @root; "" for the real ones. */
int source_open_below(const char *root, const char *where, struct vhostmd_source **ret);

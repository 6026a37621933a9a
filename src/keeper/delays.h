/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The program in the kernel that counts vCPUs' waits (bpf/delay_format.h).  The keeper has it
 * attached when a worker first asks for it, keeps it for those that come after, and lets it go when
 * one has no use for it, or with its own program: the next one begins anew.  Reads none of what it
 * counts.  One thread.
 */
#pragma once

#include <stdbool.h>

#include "bpf/delay_maps.h"

struct answer;

struct keeper_delays {
	int fds[DELAY_FDS]; /* -1: it is not attached */
	uint32_t bits;
	int refused; /* as it was said last: -errno; 0: it was not */
};

#define KEEPER_DELAYS_INIT ((struct keeper_delays){ .fds = { -1, -1, -1, -1, -1 } })

/* Attaches it unless it is.  @answer: the result.  Return: DELAY_MAPS descriptors, or NULL. */
const int *delays_get(struct keeper_delays *d, struct answer *answer);

/* Detaches it, and tells who has the maps still; in a child, which has copies, @mine is false. */
void delays_drop(struct keeper_delays *d, bool mine);

/* The same, but that it can be taken back: the descriptors go with this program, if it goes. */
void delays_suspend(struct keeper_delays *d, bool suspended);

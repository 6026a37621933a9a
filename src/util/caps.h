/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Capabilities of a process, as masks of CAP_TO_BIT().  For processes that have one thread:
 * the kernel knows them by the thread.  No state.  0 or -errno.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define CAP_TO_BIT(cap) (UINT64_C(1) << (cap))

/* Those that are in force. */
uint64_t caps_effective(void);

/* Keeps no others than @keep, of those that we have; what we start may have others again. */
int caps_keep(uint64_t keep);

/*
 * Nobody that we start will have others than @keep, whoever it runs as.  Needs CAP_SETPCAP if
 * there is anything to drop.
 */
int caps_bound(uint64_t keep);

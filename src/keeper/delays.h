/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The program in the kernel that counts vCPUs' waits (bpf/delay_format.h).  The keeper has it
 * attached when a worker first asks for it, keeps it for those that come after, and lets it go when
 * one has no use for it.  The next keeper goes on with it if it would attach the same; else it lets
 * go of it when its first worker asks, and begins anew.  Reads none of what is counted.  One thread.
 */
#pragma once

#include <stdbool.h>

#include "bpf/delay_maps.h"

struct answer;
struct strbuf;

struct keeper_delays {
	int fds[DELAY_FDS]; /* -1: it is not attached */
	uint32_t bits; /* 0: another keeper attached another one, which is of no use */
	char name[64]; /* tells it from others */
	int refused;   /* as it was said last: -errno; 0: it was not */
};

#define KEEPER_DELAYS_INIT ((struct keeper_delays){ .fds = { -1, -1, -1, -1, -1 } })

/* Attaches it unless it is.  @answer: the result.  Return: DELAY_MAPS descriptors, or NULL. */
const int *delays_get(struct keeper_delays *d, struct answer *answer);

/* Detaches it, and tells who has the maps still; in a child, which has copies, @mine is false. */
void delays_drop(struct keeper_delays *d, bool mine);

/* Appends it to what is handed on; whether a program that is executed then inherits it. */
void delays_pack(const struct keeper_delays *d, struct strbuf *baggage);
void delays_inherit(const struct keeper_delays *d, bool inherit);

/*
 * Takes over what a keeper handed on in these @bytes (keeper/baggage.h); what else there is of the
 * kind goes.  @d: as it began.
 */
void delays_adopt(struct keeper_delays *d, const struct strbuf *bytes);

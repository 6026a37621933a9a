/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keeper/restart.h"

/* One that ends so soon after it began to serve ends early. */
#define EARLY_NS (50 * NS_PER_MS)

/* Pauses after that many, doubled each time up to the longest. */
#define FREE_STARTS 3u
#define FIRST_PAUSE_NS (5 * NS_PER_MS)
#define MAX_DOUBLINGS 6u

void restart_ready(struct restart *r, int64_t now_ns)
{
	r->ready_ns = now_ns;
	r->down_ns = 0;
	r->unserved = 0;
}

int64_t restart_ended(struct restart *r, int64_t now_ns, bool crashed)
{
	bool early = !r->ready_ns || now_ns - r->ready_ns < EARLY_NS;

	r->quick = early ? r->quick + 1 : 0;
	if (!r->down_ns)
		r->down_ns = now_ns;
	if (crashed) {
		r->crashes[r->n_crashes++ % RESTART_CRASHES] = now_ns;
		r->unserved = r->ready_ns ? 0 : r->unserved + 1;
	}
	r->ready_ns = 0;
	if (restart_gives_up(r, now_ns))
		return -1;
	if (r->quick <= FREE_STARTS)
		return 0;
	unsigned doublings = r->quick - FREE_STARTS - 1;

	return FIRST_PAUSE_NS << (doublings < MAX_DOUBLINGS ? doublings : MAX_DOUBLINGS);
}

bool restart_gives_up(const struct restart *r, int64_t now_ns)
{
	return r->down_ns && now_ns - r->down_ns >= RESTART_GIVE_UP_NS;
}

bool restart_distrusts(const struct restart *r, int64_t now_ns)
{
	/* the slot of the next is that of the oldest */
	return r->unserved >= RESTART_CRASHES ||
		(r->n_crashes >= RESTART_CRASHES &&
			now_ns - r->crashes[r->n_crashes % RESTART_CRASHES] < NS_PER_S);
}

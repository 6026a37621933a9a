/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keeper/watchdog.h"

void watchdog_reset(struct watchdog *w)
{
	*w = (struct watchdog){ 0 };
}

bool watchdog_waits(const struct watchdog *w)
{
	bool waits = w->waiting_since_ns != 0;

	for (unsigned i = 0; i < HANDOVER_SLOTS; i++)
		waits |= w->slots[i].since_ns != 0;
	return waits;
}

/* A time that something has been so for, begun or ended.  Return: whether that is too long. */
static bool lasts(int64_t *since_ns, bool so, int64_t now_ns)
{
	if (!so)
		*since_ns = 0;
	else if (!*since_ns)
		*since_ns = now_ns;
	return so && now_ns - *since_ns >= WATCHDOG_NS;
}

bool watchdog_look(
	struct watchdog *w, const struct handover *handover, bool waiting, int64_t now_ns)
{
	uint64_t all = 0;
	bool stuck = false;

	for (unsigned i = 0; i < HANDOVER_SLOTS; i++) {
		uint64_t received = atomic_load(&handover->notes[i].received);

		if (received != w->slots[i].received)
			w->slots[i].since_ns = 0;
		w->slots[i].received = received;
		stuck |= lasts(&w->slots[i].since_ns,
			atomic_load(&handover->slots[i].head.bytes) != 0, now_ns);
		all += received;
	}
	if (all != w->received)
		w->waiting_since_ns = 0;
	w->received = all;
	stuck |= lasts(&w->waiting_since_ns, waiting, now_ns);
	return stuck;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model/inherited.h"

#include <stdlib.h>

#include "core/catalogue.h"
#include "core/metric_list.h"
#include "model/board.h"
#include "util/cleanup.h"
#include "util/mem.h"

/* The lane that has the last word on a source: others may have it, too. */
static size_t owner_of(const struct catalogue_entry *e, bool apart)
{
	switch (e->collector) {
	case COLLECTOR_HOST:
		return LANE_HOST;
	case COLLECTOR_FLEET:
		return LANE_FLEET;
	case COLLECTOR_DOMAIN:
		return LANE_DOMAIN;
	case COLLECTOR_KERNEL:
		return LANE_FAST;
	case COLLECTOR_LIBVIRT:
		return apart && e->reads & READS_SELDOM ? LANE_SELDOM : LANE_LIBVIRT;
	case COLLECTOR_USAGE:
		return LANE_LIBVIRT;
	case COLLECTOR_SAMPLE:
		return LANE_ABOUT;
	case COLLECTOR_SNAPSHOT:
	case COLLECTOR_COUNT:
		break;
	}
	return LANE_INHERITED; /* nobody brings them */
}

static bool is_answer(const struct metric *m, size_t lane, bool settled)
{
	const struct catalogue_entry *e = m->label->spec->entry;

	if (m->available || m->absent || !e)
		return true;
	/* that libvirt does not answer takes nothing away: the figures are as old as they are */
	return settled && !(lane == LANE_ABOUT && owner_of(e, false) == LANE_LIBVIRT);
}

struct metric_list *inherited_rest(const struct metric_list *inherited,
	const struct metric_list *fresh, size_t lane, bool settled, bool apart)
{
	size_t n_slots = inherited->specs->n, n_gone = 0;
	_cleanup_free_ bool *gone = xcalloc(n_slots, sizeof(*gone));
	_cleanup_free_ bool *named = xcalloc(n_slots, sizeof(*named));

	for (size_t i = 0; i < fresh->n; i++) {
		const struct metric *m = &fresh->metrics[i];

		named[m->label->slot] = true;
		gone[m->label->slot] |= is_answer(m, lane, settled);
	}
	if (lane >= LANE_ACTION_0)
		gone[lane - LANE_ACTION_0] = true; /* it ran, whatever it printed */
	for (size_t i = 0; i < inherited->n; i++) {
		const struct metric_label *label = inherited->metrics[i].label;
		const struct catalogue_entry *e = label->spec->entry;

		gone[label->slot] |=
			settled && e && !named[label->slot] && owner_of(e, apart) == lane;
		n_gone += gone[label->slot];
	}
	return n_gone ? metric_list_drop(inherited, gone) : NULL;
}

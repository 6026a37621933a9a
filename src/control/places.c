/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control/places.h"

#include <assert.h>

#include "util/cleanup.h"

static const struct {
	size_t all, each;
} limits[] = {
	[PLACE_ROOT] = { LIMIT_CONTROL_ROOT, LIMIT_CONTROL_ROOT },
	[PLACE_GROUP] = { LIMIT_CONTROL_GROUP, LIMIT_CONTROL_EACH },
	[PLACE_OTHER] = { LIMIT_CONTROL_OTHER, LIMIT_CONTROL_EACH },
};
static_assert(ARRAY_LEN(limits) == PLACE_KINDS, "limits of each kind");

enum place_kind place_kind_of(enum control_right right)
{
	return right == RIGHT_ROOT     ? PLACE_ROOT
		: right == RIGHT_GROUP ? PLACE_GROUP
				       : PLACE_OTHER;
}

size_t places_victim(const struct place *places, size_t n, const struct place *newcomer)
{
	size_t n_kind = 0, n_own = 0, oldest = n, oldest_own = n;

	for (size_t i = n; i-- > 0;) {
		if (places[i].kind != newcomer->kind)
			continue;
		n_kind++;
		oldest = i;
		if (places[i].uid != newcomer->uid)
			continue;
		n_own++;
		oldest_own = i;
	}
	if (n_own >= limits[newcomer->kind].each)
		return oldest_own;
	return n_kind >= limits[newcomer->kind].all ? oldest : n;
}

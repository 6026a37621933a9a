/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who has to go when somebody connects to the control socket.  Root, the group that may change
 * something, and all others have places of their own, so whatever one of these does takes none from
 * the others; nor does one user take more than his share.  Whoever comes gets a place: the one of
 * who has been there for longest, of his own connections if he has as many as he may, else of his
 * kind.  Pure; one thread.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "control/verb.h"
#include "util/limits.h"

enum place_kind {
	PLACE_ROOT,
	PLACE_GROUP,
	PLACE_OTHER,
	PLACE_KINDS,
};

#define PLACES_MAX (LIMIT_CONTROL_ROOT + LIMIT_CONTROL_GROUP + LIMIT_CONTROL_OTHER)

struct place {
	enum place_kind kind;
	uid_t uid;
};

enum place_kind place_kind_of(enum control_right right);

/*
 * @places: of who is connected, who has been for longest first.  @newcomer: one more.
 * Return: who has to go for him; @n: nobody has to.
 */
size_t places_victim(const struct place *places, size_t n, const struct place *newcomer);

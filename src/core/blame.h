/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whom VMs waited for when they wanted a processor: for the host alone.  Immutable and
 * reference-counted, made by who counts waits (collect/kernel/delay_pairs), and kept with a view for
 * who shows it to the host (core/render_stolen, `vhostmdctl blame`).  Nothing that guests get may
 * look at it.  Any thread.
 *
 * One is made at each beat, few are looked at, and pairs may be tens of thousands: who makes it leaves
 * them as they come, and who asks for them first puts them in order (blame_pairs_of()).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/cleanup.h"
#include "util/lock.h"
#include "util/uuid.h"

struct strbuf;

/* What had the processor; as enum delay_owner. */
enum blame_owner {
	BLAME_VMS, /* other VMs: pairs tell which */
	BLAME_SELF,
	BLAME_HOST,
	BLAME_KERNEL,
	BLAME_IDLE,
	BLAME_QUOTA,
	BLAME_UNKNOWN,
	BLAME_OWNERS,
};

/* In nanoseconds. */
struct blame_time {
	uint64_t all_ns;    /* since it is counted; never falls while it is */
	uint64_t lately_ns; /* of that in the last blame_vm.lately_ns */
};

struct blame_vm {
	struct uuid uuid;
	const char *name; /* in the same memory */
	bool runs;        /* false: until a while ago */
	int64_t lately_ns;
	struct blame_time by[BLAME_OWNERS];
	size_t first, n; /* its pairs: blame_pairs_of() knows, nobody else */
};

/* One VM waited while another one had its processor. */
struct blame_pair {
	uint32_t victim, by; /* which of the VMs they are */
	struct blame_time time;
};

struct blame {
	_Atomic unsigned refs;
	int64_t now_ns; /* monotonic: it is of then */
	size_t n_vms;
	struct blame_vm *vms; /* by uuid */
	char *names;

	struct lock lock; /* guards what is below, until they are in order; taken alone */
	bool in_order;
	size_t n_pairs;
	struct blame_pair *pairs; /* as they came: in any order, one in several parts */
};

/*
 * With room for all that, zeroed; the maker fills it in before anybody else has it, of @n_pairs as many
 * as there are.  @name_bytes: of all names, with their ends.
 */
struct blame *blame_new(size_t n_vms, size_t n_pairs, size_t name_bytes);
struct blame *blame_ref(struct blame *b); /* NULL is accepted */
void blame_unref(struct blame *b);        /* NULL is accepted */

/* Borrowed; NULL: nothing is known of it. */
const struct blame_vm *blame_find(const struct blame *b, const struct uuid *uuid);

/*
 * Whom @vm, one of @b->vms, waited for: sorted by @by, each once.  Who asks first sorts the pairs of all
 * VMs, for some milliseconds if there are many, while who else asks waits for him.
 * Return: *@ret_n of them, borrowed from @b; none: not to be looked at.
 */
const struct blame_pair *blame_pairs_of(
	struct blame *b, const struct blame_vm *vm, size_t *ret_n);

/* What an owner is called for programs: "vms", "self", ... */
const char *blame_owner_name(enum blame_owner owner);

/*
 * Appends all of it for the control socket (vhostmd-control(7), blame).  Names are escaped as files
 * are (core/fname): each is the rest of its line.
 */
void blame_describe(struct blame *b, struct strbuf *out);

static inline void blame_unref_p(struct blame **b)
{
	blame_unref(*b);
}
#define _cleanup_blame_ _cleanup_(blame_unref_p)

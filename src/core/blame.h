/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whom VMs waited for when they wanted a processor: for the host alone.  Immutable and
 * reference-counted, made by who counts waits (collect/kernel/delay_pairs), and kept with a view for
 * who shows it to the host (core/render_stolen, `vhostmdctl blame`).  Nothing that guests get may
 * look at it.  Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/cleanup.h"
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
	size_t first, n; /* its pairs */
};

/* One VM waited while another one had its processor. */
struct blame_pair {
	uint32_t by; /* which of the VMs that was */
	struct blame_time time;
};

struct blame {
	_Atomic unsigned refs;
	int64_t now_ns; /* monotonic: it is of then */
	size_t n_vms, n_pairs;
	struct blame_vm *vms; /* by uuid */
	struct blame_pair
		*pairs; /* of one VM after the other; of each by @by, each once */
	char *names;
};

/*
 * With room for all that, zeroed; the maker fills it in before anybody else has it.
 * @name_bytes: of all names, with their ends.
 */
struct blame *blame_new(size_t n_vms, size_t n_pairs, size_t name_bytes);
struct blame *blame_ref(struct blame *b); /* NULL is accepted */
void blame_unref(struct blame *b);        /* NULL is accepted */

/* Borrowed; NULL: nothing is known of it. */
const struct blame_vm *blame_find(const struct blame *b, const struct uuid *uuid);

/* What an owner is called for programs: "vms", "self", ... */
const char *blame_owner_name(enum blame_owner owner);

/*
 * Appends all of it for the control socket (vhostmd-control(7), blame).  Names are escaped as files
 * are (core/fname): each is the rest of its line.
 */
void blame_describe(const struct blame *b, struct strbuf *out);

static inline void blame_unref_p(struct blame **b)
{
	blame_unref(*b);
}
#define _cleanup_blame_ _cleanup_(blame_unref_p)

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A configuration as the collectors need it: for each of them its metrics, and what must be
 * read for them (core/catalogue.h, enum catalogue_read).  Made once for each configuration
 * and published with it by the board, which tells everybody (model/board.h); immutable and
 * reference-counted, any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/spec.h"
#include "util/cleanup.h"
#include "util/user.h"

struct grants;

/* Which vCPU, interface or disk: the one that the source names, or each there is. */
#define PLAN_EACH (-1)

/* A metric of one collector. */
struct plan_item {
	const struct metric_spec *spec;
	uint32_t slot; /* of the spec */
	int key;       /* of the collector's enum in the catalogue; -1: by name alone */
	int number;    /* the first one in its source, or PLAN_EACH */
	uint64_t
		either; /* READS() by which both lanes can serve it; 0: one lane alone has it */
};

/* The metrics of one collector, in the configuration's order. */
struct plan_part {
	struct plan_item *items;
	size_t n;
	uint64_t reads; /* what must be read for all of them */
};

enum plan_part_number {
	PLAN_HOST,    /* the host; key: enum host_key */
	PLAN_FLEET,   /* all VMs together, vhostmd itself; key: enum fleet_key */
	PLAN_DOMAIN,  /* a VM's identity and limits; key: enum domain_key */
	PLAN_KERNEL,  /* what the kernel knows of a VM; key: enum vm_key */
	PLAN_ABOUT,   /* about a VM's samples; key: enum sample_key */
	PLAN_LIBVIRT, /* what libvirt knows of a VM, and what follows from that */
	PLAN_ACTIONS, /* commands; no key */
	PLAN_PART_COUNT,
};

struct plan_settings {
	int64_t period_ns;
	int64_t slow_period_ns; /* of what needs VMs' monitors */
	/* of READS_SELDOM, of those; no longer than that, as 0 is: they come with the rest */
	int64_t balloon_period_ns;
	struct grants
		*grants; /* NULL: guests see all of the host; the plan has a reference */

	/* of actions */
	const char *action_path; /* PATH */
	struct user action_user;
	int64_t action_timeout_ns;
	unsigned action_max_parallel;
};

struct plan {
	_Atomic unsigned refs;
	uint64_t number;        /* no other plan has it, nor had */
	struct spec_set *specs; /* a reference */
	uint64_t *fingerprints; /* of each spec: spec_fingerprint() */
	struct plan_settings settings;
	struct plan_part parts[PLAN_PART_COUNT];
	/* PLAN_LIBVIRT's, sorted by source; those of the same source by slot */
	const struct plan_item **by_source;
	uint64_t vm_reads; /* what must be read of each VM, for whatever part */
};

/*
 * @before: the plan in force, NULL: none.  If it asks for the same metrics the new one is
 * made of the same spec_set, so that samples that are under way stay good.
 * @specs: a reference is taken; @settings: copied.
 */
struct plan *plan_new(const struct plan *before, struct spec_set *specs,
	const struct plan_settings *settings);
struct plan *plan_ref(struct plan *plan);
void plan_unref(struct plan *plan); /* NULL is accepted */

/*
 * True if the kernel's lane knows enough of a VM to serve @item, which libvirt's lane does
 * otherwise.  @known: READS() of READS_EITHER.
 */
static inline bool plan_kernel_serves(const struct plan_item *item, uint64_t known)
{
	return item->either && (item->either & known) == item->either;
}

/* True if READS_SELDOM has a period of its own, longer than the slow one, and so a lane. */
bool plan_seldom_apart(const struct plan *plan);

/* What libvirt must be asked for of a VM of which the kernel's lane knows @known: READS(). */
uint64_t plan_libvirt_reads(const struct plan *plan, uint64_t known);

/*
 * The items of a source in PLAN_LIBVIRT, by libvirt's name; @ret_n: how many, one behind
 * the other.  Return: NULL if it is not asked for.
 */
const struct plan_item *const *plan_find_source(
	const struct plan *plan, const char *source, size_t *ret_n);

static inline void plan_unref_p(struct plan **plan)
{
	plan_unref(*plan);
}
#define _cleanup_plan_ _cleanup_(plan_unref_p)

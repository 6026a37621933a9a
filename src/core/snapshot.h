/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Snapshots: what readers see.  A snapshot shows one scope (the host, or one VM); a view
 * shows the host and all VMs at one generation.  Both are immutable and reference-counted;
 * any thread may hold them as long as it likes.  Rendered forms are made by whoever needs
 * them first and kept with the snapshot.  Nothing here knows how values are collected.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/metric_list.h"
#include "util/cleanup.h"
#include "util/uuid.h"

struct blame;
struct blob;
struct grants;

struct vm_ident {
	struct uuid uuid;
	int id; /* libvirt's id of the running domain */
	const char *name;
};

/* Of one metric: the list that has it, and its place there. */
struct metric_place {
	uint32_t list : 13, at : 19;
};

/* Most VMs have the same metrics, moment after moment, in the same places. */
struct metric_places {
	_Atomic unsigned refs;
	struct metric_place at[];
};

struct snapshot {
	_Atomic unsigned refs;
	bool is_host;
	struct vm_ident vm; /* a VM's; the name lies behind the structure */
	char uuid_text[UUID_TEXT_LEN + 1];
	uint64_t key;            /* a VM's: uuid_key() of its uuid */
	uint64_t name_hash;      /* a VM's: of its name */
	uint64_t shape;          /* hash of all metrics' names */
	int64_t shape_ns;        /* real time since when that is so; set by the maker */
	int64_t started_mono_ns; /* a VM's: run.started_mono_ns; set by the maker */
	uint64_t generation;     /* of the publication that made it */
	int64_t time_ns;         /* real time of the newest sample; 0: none yet */
	int64_t updated_mono_ns; /* monotonic time of the last update; 0: none yet */
	bool collected;          /* anything was sampled at all */
	bool tells_of_itself;    /* the last list does, and is of no lane */
	size_t n;
	struct metric_places
		*places; /* in the configuration's order: snapshot_metric() */
	size_t n_lists;
	/* apart, for who asks for them: nobody else has to know that there are histograms */
	struct metric_place *histograms;
	size_t n_histograms;
	struct blob *_Atomic xml; /* cache of render_xml_fragment() */
	/* the host's: snapshot_grant() */
	struct grants *grants; /* NULL: guests see all */
	struct {
		struct blob *_Atomic xml; /* cache of what each set shows */
	} * audiences;
	struct metric_list *lists[]; /* references that keep the metrics */
};

/*
 * Merges lists into a snapshot, ordered by slot.  Where several have a slot the first serves
 * it; what does not apply is left out.  Histograms stand apart, and are none of its metrics.
 * @vm: NULL for the host; copied.  @lists: NULL entries are skipped; references are taken.
 * @updated_mono_ns: when the last of them came.
 */
struct snapshot *snapshot_new(const struct vm_ident *vm, uint64_t generation,
	struct metric_list *const *lists, size_t n_lists, int64_t updated_mono_ns);

/*
 * The one that follows @before: what snapshot_new() makes, with less work, if it is of the same VM and
 * its lists are alike (metric_list_alike()).  Return: NULL if they are not.
 */
struct snapshot *snapshot_next(const struct snapshot *before, const struct vm_ident *vm,
	uint64_t generation, struct metric_list *const *lists, size_t n_lists,
	int64_t updated_mono_ns);
struct snapshot *snapshot_ref(struct snapshot *s);
void snapshot_unref(struct snapshot *s); /* NULL is accepted */

/*
 * One memory for where the metrics of both are, if that is the same.  @s: before anybody else
 * sees it; @like: any other, or NULL.
 */
void snapshot_share_places(struct snapshot *s, const struct snapshot *like);

/*
 * Guests see of the host what is granted.  @s: the host's, before anybody else sees it;
 * @grants: a reference is taken; NULL: all.
 */
void snapshot_grant(struct snapshot *s, struct grants *grants);

/* Of @s->n, in the configuration's order.  Borrowed from the snapshot. */
static inline const struct metric *snapshot_metric(const struct snapshot *s, size_t i)
{
	const struct metric_place place = s->places->at[i];

	return &s->lists[place.list]->metrics[place.at];
}

/* Of @s->n_histograms, the same. */
static inline const struct metric *snapshot_histogram(const struct snapshot *s, size_t i)
{
	const struct metric_place place = s->histograms[i];

	return &s->lists[place.list]->metrics[place.at];
}

/* The first metric of that name, or NULL.  Borrowed from the snapshot. */
const struct metric *snapshot_find(const struct snapshot *s, const char *name);

struct view {
	_Atomic unsigned refs;
	uint64_t generation;
	struct snapshot *host;
	struct snapshot **vms; /* sorted by key */
	size_t n_vms;
	uint64_t vms_shape;      /* hash of the VMs' uuids, ids and names */
	uint64_t vms_generation; /* since when that is so */
	int64_t vms_ns;          /* the same in real time */
	bool second_hand; /* what a host told its guest; set by the maker before it is current */
	struct blame *
		blame; /* for the host alone; NULL: not known; set by the maker likewise */
	struct blob *_Atomic xml;         /* cache of render_xml_view() */
	struct blob *_Atomic prom;        /* cache of render_prom_view() */
	struct blob *_Atomic openmetrics; /* cache of render_openmetrics_view() */
	/* cache of render_xml_shared(), where it differs */
	struct blob *_Atomic shared_xml;
};

void view_unref(struct view *view); /* NULL is accepted */

/* 60 bits that stand for a VM wherever 128 are too many; the same in every run. */
uint64_t uuid_key(const struct uuid *uuid);

/* Borrowed from the view; NULL if there is no such VM. */
struct snapshot *view_find_key(const struct view *view, uint64_t key);
struct snapshot *view_find_uuid(const struct view *view, const struct uuid *uuid);
struct snapshot *view_find_id(const struct view *view, int id);

/* The place where the current view is published. */
struct tree;

/* Starts with an empty host, no VMs and generation 0. */
struct tree *tree_new(void);
void tree_free(struct tree *tree); /* nobody may use it any more */

/* The current view, with a reference for the caller.  Never waits for a collector. */
struct view *tree_view(struct tree *tree);

/* The current view's generation: what was made of an older one may be old. */
uint64_t tree_generation(struct tree *tree);

/*
 * Waits for a view of another generation than @generation, for a wake, or until
 * @until_mono_ns.  One thread alone may wait (fs/serve's notify): who else wants views takes
 * them when he needs one.  Return: the current view, with a reference for the caller.
 */
struct view *tree_wait(struct tree *tree, uint64_t generation, int64_t until_mono_ns);

/* Makes tree_wait() return now, or the next time it is called. */
void tree_wake(struct tree *tree);

/*
 * Since when another process' views had the VMs that they had: if the first one here has the
 * same, that goes on.  Before anything is published.
 */
void tree_inherit(
	struct tree *tree, uint64_t vms_shape, uint64_t vms_generation, int64_t vms_ns);

/*
 * A new view, that nobody sees yet.  @host and the @vms (any order) are references that move
 * into it.  @generation must grow.  One thread at a time, until it is current.
 */
struct view *tree_prepare(struct tree *tree, uint64_t generation, struct snapshot *host,
	struct snapshot **vms, size_t n_vms);

/* Makes it current; the reference moves to the tree. */
void tree_set(struct tree *tree, struct view *view);

/* Both. */
void tree_publish(struct tree *tree, uint64_t generation, struct snapshot *host,
	struct snapshot **vms, size_t n_vms);

static inline void view_unref_p(struct view **view)
{
	view_unref(*view);
}
#define _cleanup_view_ _cleanup_(view_unref_p)

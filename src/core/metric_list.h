/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The metrics that one collector sampled for one scope in one go: an immutable,
 * reference-counted array in a single allocation.  A builder belongs to one thread;
 * finished lists may be used by any, but for their time, which is for who has them on the
 * board alone.
 */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/fact.h"
#include "core/spec.h"
#include "core/value.h"
#include "util/cleanup.h"

/* There is one for each figure of each VM, twice while a cycle lasts. */
struct metric {
	const struct metric_label *label;
	int64_t changed_ns; /* real time of the sample since which it has this value */
	struct value value; /* meaningful only if available; type always */
	/* one type: with several, Windows' compilers leave gaps */
	uint32_t device_at : 30; /* metric_device(): bytes from here on; 0: none */
	uint32_t available : 1;
	uint32_t absent : 1; /* does not apply; readers never see one (core/snapshot.h) */
};

static_assert(sizeof(struct metric) <= 32, "no padding");

struct metric_list {
	_Atomic unsigned refs;
	struct spec_set *specs; /* a reference: labels are its */
	/* real time of the sample, or of the last that found the same: board_keep() */
	int64_t time_ns;
	size_t n_refused; /* that were left out: no label had room (spec_label()) */
	size_t n;
	/* sorted by slot; own labels, histograms and strings follow */
	struct metric metrics[];
};

/*
 * The disk or interface that it is of, by a name that stays; NULL: of none.  @m: in its list,
 * no copy.
 */
static inline const char *metric_device(const struct metric *m)
{
	return m->device_at ? (const char *)m + m->device_at : NULL;
}

struct metric_list *metric_list_ref(struct metric_list *list);
void metric_list_unref(struct metric_list *list); /* NULL is accepted */

struct metric_list_builder;

/* Takes its own reference to @specs.  @time_ns: real time of the samples to come. */
struct metric_list_builder *metric_list_builder_new(
	struct spec_set *specs, int64_t time_ns);
void metric_list_builder_free(struct metric_list_builder *b);

/*
 * What is added from now on is of this device of the VM, until another one is named; NULL:
 * of none.  Numbers of disks and interfaces are places among those that there are just now.
 */
void metric_list_builder_set_device(struct metric_list_builder *b, const char *device);

/* The VM that names what is added from now on, as spec_label() has it; 0: nobody. */
void metric_list_builder_set_owner(struct metric_list_builder *b, uint64_t owner);

/*
 * Adds the value of a spec as it is, unless there is no room for its label.
 * @slot: the spec; @index: what replaces '*' in its names, parts separated by '.', or NULL;
 * @value: NULL if it cannot be had now; strings and histograms are copied.
 */
void metric_list_builder_add(struct metric_list_builder *b, uint32_t slot,
	const char *index, const struct value *value);

/*
 * Adds the value of a native source after converting its unit and type as the spec asks.
 * A value that does not fit the wanted type becomes "unavailable".
 */
void metric_list_builder_add_source(struct metric_list_builder *b, uint32_t slot,
	const char *index, const struct value *value);

/*
 * The same of a fact.  One that is absent takes its place in the list, so that no other lane
 * serves it, and is shown to nobody.
 */
void metric_list_builder_add_fact(struct metric_list_builder *b, uint32_t slot,
	const char *index, const struct fact *fact);

/* There is none of a spec's metrics. */
void metric_list_builder_add_absent(struct metric_list_builder *b, uint32_t slot);

/* Adds a metric under an own name: a group's variable, or one from XML output. */
void metric_list_builder_add_named(struct metric_list_builder *b, uint32_t slot,
	const char *name, const char *unit, enum metric_type type,
	const struct value *value);

/* Since when what was added last has its value, if not since the sample. */
void metric_list_builder_set_changed(struct metric_list_builder *b, int64_t changed_ns);

/* How many were added so far. */
size_t metric_list_builder_count(const struct metric_list_builder *b);

/* The finished list, owned by the caller; @b is freed. */
struct metric_list *metric_list_builder_finish(struct metric_list_builder *b);

/*
 * True if both have the same metrics of their specs, one after another, and the same ones do not
 * apply: then only values and times differ.  False, too, where metrics have names of their own.
 */
bool metric_list_alike(const struct metric_list *a, const struct metric_list *b);

/*
 * Takes over from the sample before, of the same specs, since when values are what they
 * are.  Before @list is shown to anybody else.
 */
void metric_list_carry(struct metric_list *list, const struct metric_list *before);

/*
 * The same samples under another configuration: metrics whose spec is equal to one in
 * @specs, with that one's slot; the others are left out.  For a reload.
 * Return: a new list owned by the caller, NULL if nothing is left.
 */
struct metric_list *metric_list_rebase(
	const struct metric_list *list, struct spec_set *specs);

/*
 * Those of @list whose slots @others, of the same specs, has none of.
 * Return: a new list owned by the caller, which may be empty; NULL if that is all of them.
 */
struct metric_list *metric_list_without(
	const struct metric_list *list, const struct metric_list *others);

/*
 * Those of @list whose slot is not to be dropped; @drop: for each of its specs.
 * Return: a new list owned by the caller, which may be empty.
 */
struct metric_list *metric_list_drop(const struct metric_list *list, const bool *drop);

static inline void metric_list_unref_p(struct metric_list **list)
{
	metric_list_unref(*list);
}
static inline void metric_list_builder_free_p(struct metric_list_builder **b)
{
	metric_list_builder_free(*b);
}
#define _cleanup_metric_list_ _cleanup_(metric_list_unref_p)

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the configuration asks for: one spec for each <metric>, in its order.  Made by the
 * configuration reader, immutable afterwards, reference-counted, any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/value.h"

struct catalogue_entry;
struct unit;

enum metric_context { CONTEXT_HOST, CONTEXT_VM };

enum spec_kind {
	SPEC_SOURCE, /* from the catalogue of native sources */
	SPEC_ACTION, /* a command that prints one value */
	SPEC_GROUP,  /* a command that prints one value for each variable */
	SPEC_XML,    /* a command that prints <metric> elements */
	SPEC_KIND_COUNT,
};

struct spec_variable {
	char *name;
	char *unit; /* NULL: none */
	enum metric_type type;
};

struct metric_spec {
	char *name;
	enum metric_context context;
	enum spec_kind kind;
	enum metric_type type; /* SPEC_SOURCE, SPEC_ACTION */
	char *unit;            /* as shown to readers; NULL: none */
	bool guest;            /* false: only in the host's files */
	unsigned line;         /* in the configuration file */

	/* SPEC_SOURCE */
	char *source; /* the catalogue's name, or one with numbers in place of '*' */
	const struct catalogue_entry *entry;
	const struct unit *convert; /* the unit to convert to; NULL: as it comes */
	/* domain.metadata: "{namespace}element/element" or ".../@attribute"; else NULL */
	char *element;

	/* the others */
	char *action;
	bool any_name; /* it takes every VM's name */
	struct spec_variable *variables;
	size_t n_variables;
};

/* What a metric is called, the same in every sample. */
struct metric_label {
	const char *name;   /* as readers see it, '*' replaced */
	const char *unit;   /* NULL: none */
	const char *source; /* where it comes from, '*' replaced */
	const char *index;  /* what replaced '*', "0" or "0.1"; NULL: nothing */
	const struct metric_spec *spec;
	uint64_t name_hash; /* of the name, the same in every run */
	/* of what it counts and in which form, with its index, and whatever that is; not 0 */
	uint64_t series, family;
	uint32_t slot; /* index of its spec */
};

struct spec_set {
	_Atomic unsigned refs;
	size_t n;
	struct metric_spec *specs; /* a metric's slot is its index here */
	struct spec_labels *labels;
};

/* An empty set with room for @n specs, all zero; the caller owns the one reference. */
struct spec_set *spec_set_new(size_t n);
struct spec_set *spec_set_ref(struct spec_set *set);
void spec_set_unref(struct spec_set *set); /* NULL is accepted */

/* Frees what a spec holds that is in no set. */
void spec_done(struct metric_spec *spec);

/*
 * The label of a spec's metric, made once and kept as long as the set.  Any thread.
 * @index: what replaces '*' in its names, parts separated by '.'; NULL: nothing.
 * @owner: for whom it is made, if there is none yet: a VM, of whose names there may be any
 * number, by its key; 0: nobody's.
 * Return: NULL if it would be one more than LIMIT_VM_LABELS of the owner's or LIMIT_LABELS of
 * all; never without an index.
 */
const struct metric_label *spec_label(
	struct spec_set *set, uint32_t slot, const char *index, uint64_t owner);

/* True if both ask for the same thing under the same name. */
bool spec_equal(const struct metric_spec *a, const struct metric_spec *b);

/* Stands for all that spec_equal() compares; the same in every process. */
uint64_t spec_fingerprint(const struct metric_spec *spec);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which of the host's metrics a guest sees: named sets of them, and which VM has which set.
 * Concerns what guests are shown alone (render_xml.h), never the host's files.  Where there
 * are no grants (NULL) every guest sees all.  Made by the configuration reader, which closes
 * what a mistake stands in; immutable once it is published (snapshot_grant()),
 * reference-counted, any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/uuid.h"

struct metric;
struct vm_ident;

/* How guests see metrics that hold the host's name. */
enum grants_name {
	GRANTS_NAME_PLAIN,    /* as it is */
	GRANTS_NAME_PER_HOST, /* a keyed hash: guests of one host see the same */
	GRANTS_NAME_PER_VM, /* a keyed hash with the VM's uuid: no two guests see the same */
	GRANTS_NAME_COUNT,
};

struct grants_set {
	char *name;
	char **metrics; /* patterns (util/glob.h) of names */
	size_t n_metrics;
	enum grants_name host_name;
	bool closed; /* a mistake stands in it: it grants nothing */
};

/* Sets that there always are. */
enum { GRANTS_ALL, GRANTS_NONE };

enum grants_whom {
	WHOM_NAME,  /* VMs whose name is of a pattern */
	WHOM_UUID,  /* one VM */
	WHOM_EVERY, /* a mistake: nobody knows for whom it was meant, so for all VMs */
};

struct grants_rule {
	enum grants_whom whom;
	char *name; /* WHOM_NAME */
	struct uuid uuid;
	size_t set;
};

#define GRANTS_KEY_BYTES 16u

struct grants {
	_Atomic unsigned refs;
	struct grants_set *sets;
	size_t n_sets;
	struct grants_rule *rules; /* the first that fits counts */
	size_t n_rules;
	size_t rest; /* the set of VMs that no rule fits */
	/* without a key no set with hashes grants anything */
	bool has_key;
	uint8_t key[GRANTS_KEY_BYTES];
};

/* Sets GRANTS_ALL and GRANTS_NONE, no rules, GRANTS_ALL for everybody. */
struct grants *grants_new(void);
struct grants *grants_ref(struct grants *g); /* NULL is accepted */
void grants_unref(struct grants *g);         /* NULL is accepted */

/* An empty set, or a rule to be filled; valid until the next is added. */
struct grants_set *grants_add_set(struct grants *g, const char *name);
struct grants_rule *grants_add_rule(struct grants *g);
void grants_add_metric(struct grants_set *set, const char *pattern);

/* Return: the number of the set, n_sets if there is none of that name. */
size_t grants_find_set(const struct grants *g, const char *name);

/* True if a set grants everything as it is. */
bool grants_is_open(const struct grants *g, size_t set);

/* True if everybody has such a set. */
bool grants_are_open(const struct grants *g);

/* True if there is a set that needs the key. */
bool grants_need_key(const struct grants *g);

/*
 * The set of a VM.  @vm: NULL for one that is not known here: it may be anybody, so it has
 * none, unless there are no rules.
 */
size_t grants_set_of(const struct grants *g, const struct vm_ident *vm);

/* True if a pattern of the set fits a metric's name. */
bool grants_set_names(const struct grants_set *set, const char *name);

enum grants_form { GRANTS_HIDDEN, GRANTS_PLAIN, GRANTS_HASH, GRANTS_HASH_PER_VM };

/* How guests with a set see one of the host's metrics, which is available. */
enum grants_form grants_show(const struct grants *g, size_t set, const struct metric *m);

#define GRANTS_HASH_LEN 16

/*
 * What is shown in place of a value that holds the host's name: hexadecimal digits.
 * @vm: for GRANTS_HASH_PER_VM, else NULL.  There is a key.
 */
void grants_hash(const struct grants *g, const struct uuid *vm, const char *value,
	char ret[GRANTS_HASH_LEN + 1]);

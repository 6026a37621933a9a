/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How figures are called for Prometheus, and by which labels those of one name are told apart.
 * Pure functions of the catalogue's names, which are the same at every site; vhostmd(8),
 * METRICS FOR PROMETHEUS, says it to users.
 *
 * A source is vhostmd_host_<name>, vhostmd_vm_<name> or, of vhostmd itself, vhostmd_<name>: in
 * snake case, in base units, with _total for counters.  What has no source is under
 * vhostmd_host_custom_ or vhostmd_vm_custom_, where no source is.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/cleanup.h"

struct catalogue_entry;
struct strbuf;
struct unit;

enum prom_role {
	PROM_SAMPLE,    /* a family of numbers */
	PROM_INFO,      /* a label of a family <...>_info, whose value is 1 */
	PROM_HISTOGRAM, /* <...>_bucket, with the label le, <...>_sum and <...>_count */
	PROM_LEFT_OUT,  /* stands in other labels, or changes too often to be one */
};

enum { PROM_MAX_PLACES = 4 };

struct prom_name {
	enum prom_role role;
	bool is_counter;
	char *family;     /* owned; NULL: it is left out */
	char *info_label; /* owned; of PROM_INFO */
	const char *help; /* without a full stop at its end; not owned; NULL: not known */
	const char
		*unit; /* in which the family ends, but for _total; static; "": in none */
	uint64_t factor; /* of the family's unit in one of the source's base unit */
	/* the labels of what replaces each '*' of the source; static */
	const char *places[PROM_MAX_PLACES];
	size_t n_places;
	bool by_device; /* the last of them names a disk or an interface */
};

/* Of what is a label of <...>_info. */
#define PROM_INFO_HELP "What hardly ever changes, as labels"

/* The place of something whose name is not known; also of what has no source. */
#define PROM_INDEX "index"

/* The name of a native source.  The caller frees by prom_name_done(). */
struct prom_name prom_name_source(const struct catalogue_entry *e);

/*
 * The name of a figure that is known by the name @shown alone.
 * @unit: what it is in, or NULL; @help: borrowed, as long as the result is used.
 */
struct prom_name prom_name_custom(bool is_host, const char *shown,
	const struct unit *unit, bool is_counter, const char *help);

/* The same source may stand for several things: the label says which, after the name @shown. */
void prom_name_tell_apart(struct prom_name *name, const char *shown);

void prom_name_done(struct prom_name *name);
#define _cleanup_prom_name_ _cleanup_(prom_name_done)

/* Appends @name in snake case, parts that Prometheus' naming rules object to spelled out. */
void prom_name_plain(const char *name, struct strbuf *out);

/* Appends a source's family and labels, for a table; nothing if it is left out. */
void prom_name_print(const struct catalogue_entry *e, struct strbuf *out);

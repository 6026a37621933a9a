/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the description of a running VM says of its devices and limits, whoever gave it.
 * Filled by one thread, immutable from registry_describe() on, reference-counted.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/catalogue.h"
#include "util/cleanup.h"

struct description {
	_Atomic unsigned refs;
	char *channel_path; /* the host's socket of the channel; NULL: there is none */
	char **nics;        /* the host's name of each interface; NULL: it has none */
	size_t n_nics;
	struct description_disk {
		char *target; /* as the VM's bus names it, "vda"; NULL: not said */
		/* path of the host's device that it is all of, as it was said; NULL: of none */
		char *device;
		uint64_t iotune[IOTUNE_KEY_COUNT]; /* 0: no limit */
	} * disks;
	size_t n_disks;
	/* What was looked for in <metadata>; of several that are called alike the first counts. */
	struct description_metadata {
		char *key; /* "{namespace}a/b" or "{namespace}a/b/@c", as in struct metric_spec */
		char *value; /* of bounded size (util/limits.h); NULL: it does not say */
	} * metadata;
	size_t n_metadata;
	uint64_t vcpus_max;      /* 0: not said */
	uint64_t memory_now_kib; /* what the balloon leaves; 0: not said */
	/* DOMAIN_MEMORY, DOMAIN_CPUTUNE_* and DOMAIN_MEMTUNE_*; 0: no limit is set */
	uint64_t limits[DOMAIN_SCALAR_COUNT];
};

/* What was found, borrowed; NULL: nobody looked for it. */
struct description_metadata *description_metadata(
	const struct description *d, const char *key);

/* An empty one; the caller owns the one reference. */
struct description *description_new(void);
struct description *description_ref(struct description *d); /* NULL is accepted */
void description_unref(struct description *d);              /* NULL is accepted */

static inline void description_unref_p(struct description **d)
{
	description_unref(*d);
}
#define _cleanup_description_ _cleanup_(description_unref_p)

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model/description.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "util/mem.h"

struct description *description_new(void)
{
	struct description *d = xcalloc(1, sizeof(*d));

	atomic_init(&d->refs, 1);
	return d;
}

struct description *description_ref(struct description *d)
{
	if (d)
		atomic_fetch_add_explicit(&d->refs, 1, memory_order_relaxed);
	return d;
}

void description_unref(struct description *d)
{
	if (!d)
		return;
	unsigned refs = atomic_fetch_sub_explicit(&d->refs, 1, memory_order_acq_rel);

	assert(refs > 0);
	if (refs != 1)
		return;
	for (size_t i = 0; i < d->n_nics; i++)
		free(d->nics[i]);
	free(d->nics);
	for (size_t i = 0; i < d->n_disks; i++) {
		free(d->disks[i].target);
		free(d->disks[i].device);
	}
	free(d->disks);
	for (size_t i = 0; i < d->n_metadata; i++) {
		free(d->metadata[i].key);
		free(d->metadata[i].value);
	}
	free(d->metadata);
	free(d->channel_path);
	free(d);
}

struct description_metadata *description_metadata(
	const struct description *d, const char *key)
{
	for (size_t i = 0; i < d->n_metadata; i++)
		if (!strcmp(d->metadata[i].key, key))
			return &d->metadata[i];
	return NULL;
}

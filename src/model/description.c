/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model/description.h"

#include <stdlib.h>
#include <string.h>

#include "util/mem.h"
#include "util/refs.h"

struct description *description_new(void)
{
	struct description *d = xcalloc(1, sizeof(*d));

	refs_init(&d->refs);
	return d;
}

struct description *description_ref(struct description *d)
{
	if (d)
		refs_take(&d->refs);
	return d;
}

void description_unref(struct description *d)
{
	if (!d || !refs_drop(&d->refs))
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

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/kernel/fast_disks.h"

#include <stdlib.h>
#include <string.h>

#include "collect/kernel/disk_find.h"
#include "collect/kernel/disk_stats.h"
#include "model/description.h"
#include "model/vm_sample.h"
#include "util/mem.h"
#include "util/refs.h"

#define FLUSHES                                                                          \
	(UINT32_C(1) << (VM_HOSTDISK_FL_REQS - VM_HOSTDISK_RD_REQS) |                    \
		UINT32_C(1) << (VM_HOSTDISK_FL_TIMES - VM_HOSTDISK_RD_REQS))

struct fast_disk {
	unsigned number; /* among all of the VM's disks */
	const char *name;
	struct host_disk disk;
};

struct fast_disks {
	_Atomic unsigned refs;
	struct description *from; /* a reference */
	bool may_change;
	size_t n;
	struct fast_disk at[]; /* sorted by number */
};

struct fast_disks *fast_disks_new(struct disk_finder *finder, struct description *from)
{
	struct fast_disks *d = xcalloc(1, sizeof(*d) + from->n_disks * sizeof(d->at[0]));

	refs_init(&d->refs);
	d->from = description_ref(from);
	for (size_t i = 0; i < from->n_disks; i++) {
		const struct description_disk *said = &from->disks[i];
		struct fast_disk *disk = &d->at[d->n];

		if (!said->device)
			continue;
		d->may_change = true;
		if (disk_find(finder, said->device, &disk->disk) < 0)
			continue;
		disk->number = (unsigned)i;
		disk->name = said->target;
		d->n++;
	}
	return d;
}

struct fast_disks *fast_disks_ref(struct fast_disks *d)
{
	if (d)
		refs_take(&d->refs);
	return d;
}

void fast_disks_unref(struct fast_disks *d)
{
	if (!d || !refs_drop(&d->refs))
		return;
	description_unref(d->from);
	free(d);
}

const struct description *fast_disks_of(const struct fast_disks *d)
{
	return d ? d->from : NULL;
}

bool fast_disks_may_change(const struct fast_disks *d)
{
	return d && d->may_change;
}

bool fast_disks_equal(const struct fast_disks *a, const struct fast_disks *b)
{
	bool same = a && b && a->from == b->from && a->n == b->n;

	for (size_t i = 0; same && i < a->n; i++)
		same = a->at[i].number == b->at[i].number &&
			a->at[i].disk.device == b->at[i].disk.device &&
			a->at[i].disk.counts_flushes == b->at[i].disk.counts_flushes;
	return same;
}

void fast_disks_sample(
	const struct fast_disks *d, const struct disk_stats *stats, struct vm_sample *s)
{
	uint32_t told = stats ? disk_stats_told(stats) : 0;

	for (size_t i = 0; i < d->n; i++) {
		const struct fast_disk *disk = &d->at[i];
		const struct disk_counters *c =
			stats ? disk_stats_find(stats, disk->disk.device) : NULL;
		struct disk_sample *out = vm_sample_add_disk(s, disk->number);

		out->name = disk->name;
		out->device = disk->disk.device;
		out->counted = told ? told : UINT32_MAX; /* as far as is known */
		if (!disk->disk.counts_flushes)
			out->counted &= ~FLUSHES;
		if (!c)
			continue; /* just unplugged */
		out->node = c->node;
		out->known = c->known;
		memcpy(out->figures, c->figures, sizeof(out->figures));
	}
	s->disks_known = true;
}

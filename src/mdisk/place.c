/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mdisk/place.h"

#include <stddef.h>

#include "core/blob.h"
#include "core/render_xml.h"
#include "core/snapshot.h"
#include "mdisk/disks.h"
#include "mdisk/image.h"
#include "util/hash.h"
#include "util/strbuf.h"

uint64_t place_generation(const struct disks_place *place)
{
	uint64_t host = place->view->host->generation;

	if (place->shared)
		return place->view->generation;
	return place->vm && place->vm->generation > host ? place->vm->generation : host;
}

static int64_t sample_time(const struct disks_place *place)
{
	const struct snapshot *vm = place->vm;
	int64_t host_ns = place->view->host->time_ns;

	return vm && vm->time_ns > host_ns ? vm->time_ns : host_ns;
}

int64_t place_time(const struct disks_place *place, uint64_t generation)
{
	/* an older sample may be published later; a microsecond is nothing to a disk */
	return (sample_time(place) & ~INT64_C(1023)) | (int64_t)(generation % 512 * 2) |
		(place->vm != NULL);
}

/* What run_is() goes by. */
uint64_t place_run(const struct disks_place *place)
{
	const struct snapshot *vm = place->vm;

	if (place->shared || !vm)
		return 0;
	const uint64_t parts[] = { vm->key, (uint64_t)vm->vm.id, vm->name_hash };

	return siphash24(parts, sizeof(parts)) | 1;
}

int64_t place_render(const struct disks_place *place, struct strbuf *content)
{
	if (place->shared) {
		const struct blob *all = render_xml_shared(place->view);

		strbuf_add(content, all->data, all->size);
		return all->time_ns;
	}
	render_xml_private(place->view->host, place->vm, false, content);
	strbuf_addc(content, IMAGE_OWN_MARK);
	return sample_time(place);
}

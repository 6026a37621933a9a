/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/blame.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "core/fname.h"
#include "util/clock.h"
#include "util/mem.h"
#include "util/refs.h"
#include "util/strbuf.h"

static const char *const owner_names[] = { [BLAME_VMS] = "vms",
	[BLAME_SELF] = "self",
	[BLAME_HOST] = "host",
	[BLAME_KERNEL] = "kernel",
	[BLAME_IDLE] = "idle",
	[BLAME_QUOTA] = "quota",
	[BLAME_UNKNOWN] = "unknown" };
static_assert(ARRAY_LEN(owner_names) == BLAME_OWNERS, "each has a name");

struct blame *blame_new(size_t n_vms, size_t n_pairs, size_t name_bytes)
{
	struct blame *b = xcalloc(1, sizeof(*b));

	refs_init(&b->refs);
	b->n_vms = n_vms;
	b->n_pairs = n_pairs;
	b->vms = xcalloc(n_vms, sizeof(*b->vms));
	b->pairs = xcalloc(n_pairs, sizeof(*b->pairs));
	b->names = xcalloc(name_bytes, 1);
	return b;
}

struct blame *blame_ref(struct blame *b)
{
	if (b)
		refs_take(&b->refs);
	return b;
}

void blame_unref(struct blame *b)
{
	if (!b || !refs_drop(&b->refs))
		return;
	free(b->vms);
	free(b->pairs);
	free(b->names);
	free(b);
}

const struct blame_vm *blame_find(const struct blame *b, const struct uuid *uuid)
{
	size_t low = 0, high = b->n_vms;

	while (low < high) {
		size_t mid = (low + high) / 2;
		int c = uuid_compare(&b->vms[mid].uuid, uuid);

		if (c == 0)
			return &b->vms[mid];
		if (c < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

const char *blame_owner_name(enum blame_owner owner)
{
	return owner_names[owner];
}

static void describe_pair(
	const struct blame *b, const struct blame_pair *pair, struct strbuf *out)
{
	const struct blame_vm *by = &b->vms[pair->by];
	char uuid[UUID_TEXT_LEN + 1];

	uuid_format(&by->uuid, uuid);
	strbuf_addf(out, "behind: %s %" PRIu64 " %" PRIu64 " ", uuid,
		pair->time.lately_ns, pair->time.all_ns);
	fname_escape(by->name, out);
	strbuf_addc(out, '\n');
}

static void describe_vm(
	const struct blame *b, const struct blame_vm *vm, struct strbuf *out)
{
	char uuid[UUID_TEXT_LEN + 1];

	uuid_format(&vm->uuid, uuid);
	strbuf_addf(out, "vm: %s %" PRId64 " ", uuid, vm->lately_ns / NS_PER_MS);
	fname_escape(vm->name, out);
	strbuf_addc(out, '\n');
	for (size_t i = 0; i < BLAME_OWNERS; i++)
		strbuf_addf(out, "owner: %s %" PRIu64 " %" PRIu64 "\n", owner_names[i],
			vm->by[i].lately_ns, vm->by[i].all_ns);
	for (size_t i = 0; i < vm->n; i++)
		describe_pair(b, &b->pairs[vm->first + i], out);
}

void blame_describe(const struct blame *b, struct strbuf *out)
{
	strbuf_addf(out, "now: %" PRId64 "\n", b->now_ns / NS_PER_MS);
	for (size_t i = 0; i < b->n_vms; i++)
		if (b->vms[i].runs)
			describe_vm(b, &b->vms[i], out);
}

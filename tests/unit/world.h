/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A host and some VMs that change at random, published as the board does: a value's time is
 * that of the sample that brought it, what did not change is the same snapshot.  Time is the
 * world's own, in place of libc's, in the whole program.
 */
#pragma once

#include "specs.h"
#include "test.h"

#include <stdlib.h>
#include <time.h>

#include "core/fname.h"
#include "core/metric_list.h"
#include "core/snapshot.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/strbuf.h"

static int64_t fake_ns = 1000 * NS_PER_S;

int clock_gettime(clockid_t id, struct timespec *ret)
{
	(void)id;
	*ret = ns_to_timespec(fake_ns);
	return 0;
}

#define N_VMS 4u
#define N_HOST_METRICS 4u
#define N_VM_METRICS 3u

struct scope {
	bool runs;
	int name, id;
	unsigned shape;             /* which metrics exist */
	int values[N_HOST_METRICS]; /* 0: cannot be had */
	struct metric_list *list;   /* now; NULL: another run */
	struct snapshot *snapshot;  /* NULL: to be made */
	uint64_t shape_hash;
	int64_t shape_ns;
};

struct world {
	unsigned seed;
	uint64_t generation;
	struct spec_set *specs;
	struct scope host, vms[N_VMS];
	bool steady;      /* no VM starts or stops */
	int64_t moved_ns; /* one did last */
	struct tree *tree;
};

static inline unsigned random_below(struct world *w, unsigned n)
{
	return (unsigned)rand_r(&w->seed) % n;
}

static const char *const vm_names[] = { "a", "b%c", "long-name", "d", "e" };
#define N_NAMES 5u
#define N_IDS 6u

static inline void scope_done(struct scope *s)
{
	metric_list_unref(s->list);
	snapshot_unref(s->snapshot);
	s->list = NULL;
	s->snapshot = NULL;
}

static inline void sample(struct world *w, struct scope *s)
{
	static const int choice[] = { 0, 5, 7, 42, 43, 137, 99999 };
	unsigned n = s == &w->host ? N_HOST_METRICS : N_VM_METRICS;
	struct metric_list_builder *b = metric_list_builder_new(w->specs, fake_ns);

	if (random_below(w, 10) == 0)
		s->shape = random_below(w, 1u << n);
	for (unsigned i = 0; i < n; i++) {
		if (random_below(w, 3) == 0)
			s->values[i] = choice[random_below(w, 7)];
		struct value v = value_u64((uint64_t)s->values[i]);

		/* it does not apply, or the sample does not know of it */
		if (!(s->shape & 1u << i))
			metric_list_builder_add(b, i, NULL, s->values[i] ? &v : NULL);
		else if (random_below(w, 2) == 0)
			metric_list_builder_add_absent(b, i);
	}
	struct metric_list *list = metric_list_builder_finish(b);

	if (s->list)
		metric_list_carry(list, s->list);
	scope_done(s);
	s->list = list;
}

static inline bool is_taken(const struct world *w, int name, int id)
{
	for (size_t i = 0; i < N_VMS; i++)
		if (w->vms[i].runs && (w->vms[i].name == name || w->vms[i].id == id))
			return true;
	return false;
}

static inline void start_vm(struct world *w, struct scope *s)
{
	int name = (int)random_below(w, N_NAMES), id = 1 + (int)random_below(w, N_IDS);

	scope_done(s);
	s->runs = false;
	if (is_taken(w, name, id))
		return;
	*s = (struct scope){ .runs = true, .name = name, .id = id };
	sample(w, s);
}

static inline struct snapshot *make_snapshot(struct world *w, struct scope *s)
{
	struct vm_ident vm = { 0 };

	if (s->snapshot)
		return snapshot_ref(s->snapshot);
	if (s != &w->host) {
		vm.id = s->id;
		vm.name = vm_names[s->name];
		vm.uuid.b[15] = (uint8_t)(s - w->vms);
	}
	s->snapshot = snapshot_new(
		s == &w->host ? NULL : &vm, w->generation, &s->list, 1, fake_ns);
	if (!s->shape_ns || s->shape_hash != s->snapshot->shape)
		s->shape_ns = fake_ns;
	s->shape_hash = s->snapshot->shape;
	s->snapshot->shape_ns = s->shape_ns;
	return snapshot_ref(s->snapshot);
}

static inline void publish(struct world *w)
{
	struct snapshot *vms[N_VMS];
	size_t n = 0;

	w->generation++;
	fake_ns++;
	if (!w->host.list || random_below(w, 2))
		sample(w, &w->host);
	for (size_t i = 0; i < N_VMS; i++) {
		struct scope *s = &w->vms[i];
		unsigned what = w->steady ? 2 + random_below(w, 14) : random_below(w, 16);

		if (what < 2)
			w->moved_ns = fake_ns;
		if (what == 0) {
			scope_done(s);
			s->runs = false;
		} else if (what == 1) {
			start_vm(w, s); /* also another run, of another name */
		} else if (s->runs && what < 9) {
			sample(w, s);
		}
		if (s->runs)
			vms[n++] = make_snapshot(w, s);
	}
	tree_publish(w->tree, w->generation, make_snapshot(w, &w->host), vms, n);
}

/* Of something that there may be, or of a directory on the way to it. */
static inline void random_path(
	struct world *w, const char *ret[4], char *buf, size_t size)
{
	static const char *const metrics[] = { "n", "m", "a%2Fb", "long" };
	static const char *const links[] = { "vm-by-uuid", "vm-by-id" };
	static const char *const documents[] = { "metrics.xml", "status" };
	unsigned kind = random_below(w, 12), vm = random_below(w, N_VMS);

	snprintf(buf, size, "00000000-0000-0000-0000-0000000000%02x", vm);
	ret[0] = "metrics";
	if (kind < 3) {
		ret[1] = "host";
		ret[2] = metrics[random_below(w, 4)];
	} else if (kind < 7) {
		_cleanup_strbuf_ struct strbuf name = STRBUF_INIT;

		fname_escape(vm_names[random_below(w, N_NAMES)], &name);
		snprintf(buf, size, "%s", strbuf_str(&name));
		ret[1] = "vm";
		ret[2] = buf;
		ret[3] = random_below(w, 4) ? metrics[random_below(w, 3)] : NULL;
	} else if (kind < 9) {
		bool by_id = random_below(w, 2);

		ret[1] = links[by_id];
		if (by_id)
			snprintf(buf, size, "%u", 1 + random_below(w, N_IDS));
		ret[2] = random_below(w, 4) ? buf : NULL;
	} else if (kind < 11) {
		ret[0] = "disk";
		strncat(buf, ".img", size - strlen(buf) - 1);
		ret[1] = random_below(w, 3) ? buf : "vhostmd0.img";
	} else {
		ret[0] = documents[random_below(w, 2)];
	}
	/* or a directory on the way */
	for (unsigned i = random_below(w, 8); i < 4; i++)
		ret[i] = NULL;
}

static inline void world_init(struct world *w, unsigned seed)
{
	*w = (struct world){ .seed = seed, .tree = tree_new() };
	w->specs = specs_named(
		METRIC_UINT64, (const char *const[]){ "n", "m", "a/b", "long", NULL });
}

static inline void world_done(struct world *w)
{
	tree_free(w->tree);
	scope_done(&w->host);
	for (size_t i = 0; i < N_VMS; i++)
		scope_done(&w->vms[i]);
	spec_set_unref(w->specs);
}

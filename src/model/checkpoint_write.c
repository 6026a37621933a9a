/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/catalogue.h"
#include "core/sizes.h"
#include "core/snapshot.h"
#include "model/checkpoint.h"
#include "model/checkpoint_format.h"
#include "model/plan.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/parse.h"

struct checkpoint_writer {
	uint8_t *buf;
	size_t size;
	size_t at;   /* counts on behind @size, where nothing is copied */
	size_t kept; /* the end of the last scope that fits; 0: none does */
	bool full;
	const struct plan *plan;
	struct checkpoint_header header;
	bool *seen; /* slots that the scope has */
};

static void put(struct checkpoint_writer *w, const void *data, size_t n)
{
	if (!w->full && w->size - w->at >= n)
		memcpy(w->buf + w->at, data, n);
	else
		w->full = true;
	w->at += n;
}

static void put_string(struct checkpoint_writer *w, const char *s)
{
	size_t len = strlen(s);
	uint16_t len16 = (uint16_t)len;

	assert(len <= UINT16_MAX);
	put(w, &len16, sizeof(len16));
	put(w, s, len + 1);
}

/* Over what was put at @at before. */
static void put_again(struct checkpoint_writer *w, size_t at, const void *data, size_t n)
{
	if (at + n <= w->at && !w->full)
		memcpy(w->buf + at, data, n);
}

struct checkpoint_writer *checkpoint_writer_new(
	void *buf, size_t size, const struct plan *plan, const struct view *view)
{
	struct checkpoint_writer *w = xcalloc(1, sizeof(*w));
	size_t n = plan->specs->n;

	w->buf = buf;
	w->size = size;
	w->plan = plan;
	w->seen = xcalloc(n, sizeof(*w->seen));
	w->header = (struct checkpoint_header){ .magic = CHECKPOINT_MAGIC,
		.version = CHECKPOINT_VERSION,
		.n_specs = (uint32_t)n,
		.generation = view->generation,
		.vms_shape = view->vms_shape,
		.vms_generation = view->vms_generation,
		.vms_ns = view->vms_ns };
	put(w, &w->header, sizeof(w->header));
	put(w, plan->fingerprints, n * sizeof(*plan->fingerprints));
	return w;
}

void checkpoint_writer_add_sizes(
	struct checkpoint_writer *w, const struct past_size *sizes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		put(w, &(struct checkpoint_size){ sizes[i].until_ns, sizes[i].bytes },
			sizeof(struct checkpoint_size));
	w->header.n_sizes = (uint32_t)n;
}

/* ---- metrics ---- */

static bool fits(const char *s, size_t max)
{
	size_t len = s ? strlen(s) : 0;

	return !len || (len <= max && utf8_valid(s, len));
}

/*
 * What a snapshot says of itself is made anew; what would be refused (too long, not UTF-8) is
 * left out, so that nothing else is refused with it.
 */
static bool is_kept(const struct metric *m)
{
	const struct catalogue_entry *e = m->label->spec->entry;

	if (e && e->collector == COLLECTOR_SNAPSHOT)
		return false;
	return fits(m->label->index, LIMIT_NAME_BYTES) &&
		fits(m->label->name, LIMIT_NAME_BYTES) &&
		fits(m->label->unit, LIMIT_CHECKPOINT_TEXT_BYTES) &&
		fits(m->device, LIMIT_CHECKPOINT_TEXT_BYTES) &&
		(!m->available || m->value.type != METRIC_STRING ||
			fits(m->value.s, LIMIT_CHECKPOINT_TEXT_BYTES));
}

static uint64_t value_bits(const struct metric *m)
{
	uint64_t bits = 0;

	if (!m->available || m->value.type == METRIC_STRING)
		return 0;
	if (m->value.type == METRIC_REAL32 || m->value.type == METRIC_REAL64)
		memcpy(&bits, &m->value.real, sizeof(bits));
	else
		bits = m->value.u;
	return bits;
}

static void put_metric(struct checkpoint_writer *w, const struct metric *m)
{
	const struct metric_label *label = m->label;
	bool own = !m->absent &&
		(label->spec->kind == SPEC_GROUP || label->spec->kind == SPEC_XML);
	bool text = m->available && m->value.type == METRIC_STRING;
	unsigned flags = (m->absent ? IS_ABSENT : 0u) | (own ? HAS_NAME : 0u) |
		(m->available ? IS_AVAILABLE : 0u) | (text ? HAS_TEXT : 0u) |
		(own && label->unit ? HAS_UNIT : 0u) | (m->device ? HAS_DEVICE : 0u) |
		(!own && label->index ? HAS_INDEX : 0u);
	struct checkpoint_metric head = { .slot = label->slot,
		.type = (uint16_t)m->value.type,
		.flags = (uint16_t)flags,
		.changed_ns = m->changed_ns,
		.value = value_bits(m) };

	put(w, &head, sizeof(head));
	if (flags & HAS_INDEX)
		put_string(w, label->index);
	if (flags & HAS_DEVICE)
		put_string(w, m->device);
	if (flags & HAS_NAME)
		put_string(w, label->name);
	if (flags & HAS_UNIT)
		put_string(w, label->unit);
	if (flags & HAS_TEXT)
		put_string(w, m->value.s);
}

/* What does not apply is no metric of the snapshot, but hides what others say of it. */
static uint32_t put_absent(
	struct checkpoint_writer *w, const struct snapshot *s, uint32_t n)
{
	for (size_t l = 0; l < s->n_lists; l++)
		for (size_t i = 0; i < s->lists[l]->n; i++) {
			const struct metric *m = &s->lists[l]->metrics[i];

			if (!m->absent || w->seen[m->label->slot] || !is_kept(m) ||
				n == LIMIT_SCOPE_METRICS)
				continue;
			w->seen[m->label->slot] = true;
			put_metric(w, m);
			n++;
		}
	return n;
}

static uint32_t put_metrics(struct checkpoint_writer *w, const struct snapshot *s)
{
	uint32_t n = 0;

	memset(w->seen, 0, w->plan->specs->n * sizeof(*w->seen));
	for (size_t i = 0; i < s->n; i++) {
		w->seen[s->metrics[i]->label->slot] = true;
		if (n == LIMIT_SCOPE_METRICS || !is_kept(s->metrics[i]))
			continue;
		put_metric(w, s->metrics[i]);
		n++;
	}
	return put_absent(w, s, n);
}

/* ---- counters ---- */

static uint32_t put_counters(
	struct checkpoint_writer *w, const struct counter_state *counters, size_t n)
{
	uint32_t n_put = 0;

	for (size_t i = 0; i < n; i++) {
		if (counters[i].fell)
			continue;
		put(w,
			&(struct checkpoint_counter){
				counters[i].key, counters[i].reached },
			sizeof(struct checkpoint_counter));
		n_put++;
	}
	return n_put;
}

static uint32_t put_fallen(
	struct checkpoint_writer *w, const struct counter_state *counters, size_t n)
{
	uint32_t n_put = 0;

	for (size_t i = 0; i < n; i++) {
		const struct counter_state *c = &counters[i];

		if (!c->fell)
			continue;
		put(w,
			&(struct checkpoint_fallen){ c->key, c->reached, c->n_falls,
				c->low, c->base, c->floor },
			sizeof(struct checkpoint_fallen));
		n_put++;
	}
	return n_put;
}

/* ---- scopes ---- */

static void put_vm(struct checkpoint_writer *w, const struct run *run)
{
	struct checkpoint_vm vm = { .id = run->ident.id,
		.hypervisor = (uint32_t)run->hypervisor,
		.pid = (uint32_t)atomic_load(&run->pid),
		.session = atomic_load(&run->session),
		.shares = atomic_load(&run->shares),
		.vcpus = atomic_load(&run->vcpus),
		.rss_kib = atomic_load(&run->rss_kib),
		.balloon_kib = atomic_load(&run->balloon_kib),
		.started_mono_ns = atomic_load(&run->started_mono_ns) };

	/*
	 * What libvirt is not asked for is not late.  The next process does not know at once that
	 * it need not ask, and must not call that stale.
	 */
	if (plan_libvirt_reads(w->plan, atomic_load(&run->known))) {
		vm.since_mono_ns = run->since_mono_ns;
		vm.slow_mono_ns = atomic_load(&run->slow_mono_ns);
	}
	vm.start_ticks = vm.pid ? atomic_load(&run->start_ticks) : 0;
	memcpy(vm.uuid, run->ident.uuid.b, sizeof(vm.uuid));
	put(w, &vm, sizeof(vm));
	put_string(w, run->ident.name);
}

void checkpoint_writer_add(struct checkpoint_writer *w, const struct snapshot *s,
	const struct run *run, const struct counter_state *counters, size_t n_counters)
{
	struct checkpoint_head head = { .shape = s->shape,
		.shape_ns = s->shape_ns,
		.time_ns = s->time_ns,
		.updated_mono_ns = s->updated_mono_ns };

	if (run && strlen(run->ident.name) > LIMIT_CHECKPOINT_TEXT_BYTES)
		return;
	if (run)
		put_vm(w, run);
	size_t at = w->at;

	put(w, &head, sizeof(head));
	head.n_metrics = put_metrics(w, s);
	head.n_counters = put_counters(w, counters, n_counters);
	head.n_fallen = put_fallen(w, counters, n_counters);
	put_again(w, at, &head, sizeof(head));
	if (w->full)
		return;
	w->kept = w->at;
	w->header.n_vms += run != NULL;
}

size_t checkpoint_writer_finish(struct checkpoint_writer *w, size_t *ret_needed)
{
	size_t kept = w->kept;

	if (kept) {
		w->header.size = kept;
		memcpy(w->buf, &w->header, sizeof(w->header));
	}
	*ret_needed = w->at;
	free(w->seen);
	free(w);
	return kept;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A checkpoint is written whole before each publication.  It must be there before anybody can see
 * what it shows, so it cannot be left to a quiet moment; and one of which parts are replaced in place
 * would have to be right after each single store.  But what is to be said of a VM that sleeps is copied
 * from the last one.
 */
#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/catalogue.h"
#include "core/histogram.h"
#include "core/sizes.h"
#include "core/snapshot.h"
#include "model/checkpoint.h"
#include "model/checkpoint_format.h"
#include "model/plan.h"
#include "util/hash.h"
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
	bool *seen;          /* slots that the scope has */
	const char **texts;  /* the last one of each slot; NULL: none yet */
	uint64_t texts_hash; /* of all of them */

	/* of the scope that is written */
	const struct counters *counters; /* NULL: none */
	bool *told;                      /* slots of counters that a metric stands for */
	size_t n_told;                   /* how many there is room for */
	struct device_hash device_hash;
	const char *device, *index; /* the last ones; NULL: none yet */
	int64_t times[CHECKPOINT_TIMES];
	size_t n_times; /* that came */
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

static void put_varint(struct checkpoint_writer *w, uint64_t u)
{
	uint8_t bytes[VARINT_BYTES_MAX];
	size_t n = 0;

	for (; u >= 0x80; u >>= 7)
		bytes[n++] = (uint8_t)(u | 0x80);
	bytes[n++] = (uint8_t)u;
	put(w, bytes, n);
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
	w->texts = xcalloc(n, sizeof(*w->texts));
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

/* A name, or an index: it is not empty where there is one. */
static bool name_fits(const char *s)
{
	return !s || (*s && fits(s, LIMIT_NAME_BYTES));
}

/* @last: a text whose place in memory says that it was found to fit. */
static bool name_fits_again(const char *s, const char *last)
{
	return s == last || name_fits(s);
}

static bool text_fits_again(const char *s, const char *last)
{
	return s == last || fits(s, LIMIT_CHECKPOINT_TEXT_BYTES);
}

/* It is written with its name, which its spec does not know. */
static bool is_own(const struct metric *m)
{
	enum spec_kind kind = m->label->spec->kind;

	return !m->absent && (kind == SPEC_GROUP || kind == SPEC_XML);
}

/* True if its counter is written, with whose value it is shown then: no less than it was. */
static bool is_counted(struct checkpoint_writer *w, const struct metric *m)
{
	uint64_t key = counters_key(m->label, metric_device(m), &w->device_hash);

	return w->counters && counters_histogram(w->counters, key);
}

/*
 * What a snapshot says of itself is made anew; what would be refused (too long, not UTF-8, an
 * empty name) is left out, so that nothing else is refused with it.
 */
static bool is_kept(struct checkpoint_writer *w, const struct metric *m)
{
	const struct catalogue_entry *e = m->label->spec->entry;

	if (e && e->collector == COLLECTOR_SNAPSHOT)
		return false;
	if (is_own(m) &&
		(!name_fits(m->label->name) ||
			!fits(m->label->unit, LIMIT_CHECKPOINT_TEXT_BYTES)))
		return false;
	if (m->available && m->value.type == METRIC_HISTOGRAM && !is_counted(w, m))
		return false;
	return name_fits_again(m->label->index, w->index) &&
		text_fits_again(metric_device(m), w->device) &&
		(!m->available || m->value.type != METRIC_STRING ||
			fits(m->value.s, LIMIT_CHECKPOINT_TEXT_BYTES));
}

static uint64_t number_bits(const struct metric *m)
{
	uint64_t bits = m->value.u;

	if (metric_type_is_real(m->value.type))
		memcpy(&bits, &m->value.real, sizeof(bits));
	return bits;
}

/* True if the number says all that is known of its counter, which need not be written then. */
static bool is_reached(struct checkpoint_writer *w, const struct metric *m)
{
	const struct catalogue_entry *e = m->label->spec->entry;
	struct counter_state state;

	if (!w->counters || !e || e->kind != KIND_COUNTER)
		return false;
	size_t i = counters_find(
		w->counters, counters_key(m->label, metric_device(m), &w->device_hash));

	if (i == SIZE_MAX || w->told[i] || !counters_state(w->counters, i, &state) ||
		state.fell || state.reached != number_bits(m))
		return false;
	w->told[i] = true;
	return true;
}

/* Return: the time's place; CHECKPOINT_TIMES: it is new, and has the next one from now on. */
static size_t place_of_time(struct checkpoint_writer *w, int64_t ns)
{
	for (size_t i = 0; i < w->n_times && i < CHECKPOINT_TIMES; i++)
		if (w->times[i] == ns)
			return i;
	w->times[w->n_times++ % CHECKPOINT_TIMES] = ns;
	return CHECKPOINT_TIMES;
}

/* Whether a text, NULL if there is none, is the same as the last one, which it is from now on. */
static unsigned text_flag(const char *s, const char **last, unsigned has, unsigned same)
{
	const char *before = *last;

	if (!s)
		return 0;
	*last = s;
	return before && (s == before || !strcmp(s, before)) ? same : has;
}

static uint64_t text_hash(uint32_t slot, const char *s)
{
	return s ? siphash24_keyed(s, strlen(s), slot, 0) : 0;
}

/* The text of a metric, which others of its slot may refer to from now on. */
static unsigned value_flag(struct checkpoint_writer *w, uint32_t slot, const char *s)
{
	const char *before = w->texts[slot];
	unsigned flag = text_flag(s, &w->texts[slot], HAS_TEXT, SAME_TEXT);

	if (flag == HAS_TEXT)
		w->texts_hash ^= text_hash(slot, before) ^ text_hash(slot, s);
	return flag;
}

/* Of a sample itself: a number, of which there is one in each. */
static bool is_about(const struct metric *m)
{
	const struct catalogue_entry *e = m->label->spec->entry;

	return e && e->collector == COLLECTOR_SAMPLE && !m->absent &&
		m->value.type != METRIC_STRING;
}

bool checkpoint_list_is_about(const struct metric_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		const struct metric *m = &list->metrics[i];

		if (!is_about(m) && !m->absent)
			return false;
	}
	return true;
}

static void put_metric(struct checkpoint_writer *w, const struct metric *m)
{
	const struct metric_label *label = m->label;
	bool own = is_own(m), text = m->available && m->value.type == METRIC_STRING;
	bool histogram = m->available && m->value.type == METRIC_HISTOGRAM;
	bool number = m->available && !text && !histogram;
	/* who is written anew knows no times that came before him */
	size_t time = is_about(m) ? CHECKPOINT_TIMES : place_of_time(w, m->changed_ns);
	unsigned flags = (m->absent ? IS_ABSENT : 0u) | (own ? HAS_NAME : 0u) |
		(number ? HAS_NUMBER : 0u) | (histogram ? HAS_HISTOGRAM : 0u) |
		(own && label->unit ? HAS_UNIT : 0u) |
		value_flag(w, label->slot, text ? m->value.s : NULL) |
		text_flag(metric_device(m), &w->device, HAS_DEVICE, SAME_DEVICE) |
		text_flag(own ? NULL : label->index, &w->index, HAS_INDEX, SAME_INDEX) |
		(time == CHECKPOINT_TIMES ? HAS_TIME : 0u) |
		(number && is_reached(w, m) ? IS_REACHED : 0u);
	struct checkpoint_metric head = { .slot = (uint16_t)label->slot,
		.flags = (uint16_t)flags,
		.type = (uint8_t)m->value.type,
		.time = flags & HAS_TIME ? 0 : (uint8_t)time };

	put(w, &head, sizeof(head));
	if (flags & HAS_TIME)
		put(w, &m->changed_ns, sizeof(m->changed_ns));
	if (number && metric_type_is_real(m->value.type))
		put(w, &(uint64_t){ number_bits(m) }, sizeof(uint64_t));
	else if (number)
		put_varint(w, number_bits(m));
	if (flags & HAS_INDEX)
		put_string(w, label->index);
	if (flags & HAS_DEVICE)
		put_string(w, metric_device(m));
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

			if (!m->absent || w->seen[m->label->slot] || !is_kept(w, m) ||
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
	for (size_t i = 0; i < s->n + s->n_histograms; i++) {
		const struct metric *m = i < s->n ? snapshot_metric(s, i)
						  : snapshot_histogram(s, i - s->n);

		w->seen[m->label->slot] = true;
		if (n == LIMIT_SCOPE_METRICS || is_about(m) || !is_kept(w, m))
			continue;
		put_metric(w, m);
		n++;
	}
	return put_absent(w, s, n);
}

/* Behind @n others. */
static uint32_t put_about(
	struct checkpoint_writer *w, const struct snapshot *s, uint32_t n)
{
	for (size_t i = 0; i < s->n && n < LIMIT_SCOPE_METRICS; i++) {
		const struct metric *m = snapshot_metric(s, i);

		if (!is_about(m))
			continue;
		put_metric(w, m);
		n++;
	}
	return n;
}

/* ---- counters that no metric stands for ---- */

/* The next one from slot *@at on, which moves behind it. */
static bool next_counter(const struct checkpoint_writer *w, size_t *at, bool fell,
	struct counter_state *ret)
{
	for (size_t n = w->counters ? w->counters->n_slots : 0; *at < n;) {
		size_t i = (*at)++;

		if (!w->told[i] && counters_state(w->counters, i, ret) &&
			ret->fell == fell)
			return true;
	}
	return false;
}

static uint32_t put_counters(struct checkpoint_writer *w)
{
	struct counter_state c;
	uint32_t n = 0;

	for (size_t at = 0; next_counter(w, &at, false, &c); n++)
		put(w, &(struct checkpoint_counter){ c.key, c.reached },
			sizeof(struct checkpoint_counter));
	return n;
}

static uint32_t put_fallen(struct checkpoint_writer *w)
{
	struct counter_state c;
	uint32_t n = 0;

	for (size_t at = 0; next_counter(w, &at, true, &c); n++)
		put(w,
			&(struct checkpoint_fallen){
				c.key, c.reached, c.n_falls, c.low, c.base, c.floor },
			sizeof(struct checkpoint_fallen));
	return n;
}

static uint32_t put_histograms(struct checkpoint_writer *w)
{
	size_t n = w->counters ? w->counters->n_histograms : 0;

	for (size_t i = 0; i < n; i++) {
		struct checkpoint_histogram head = { 0 };
		const struct histogram *h =
			counters_histogram_at(w->counters, i, &head.key);

		head.sum = h->sum;
		head.bounds = histogram_fingerprint(h->kind);
		head.n_counts = (uint32_t)histogram_bounds(h->kind)->n + 1;
		put(w, &head, sizeof(head));
		for (size_t k = 0; k < head.n_counts; k++)
			put_varint(w, h->counts[k]);
	}
	return (uint32_t)n;
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

static void begin_scope(struct checkpoint_writer *w, const struct counters *counters)
{
	size_t n = counters ? counters->n_slots : 0;

	if (n > w->n_told) {
		w->told = xreallocarray(w->told, n, sizeof(*w->told));
		w->n_told = n;
	}
	if (n)
		memset(w->told, 0, n * sizeof(*w->told));
	w->counters = counters;
	w->device_hash = (struct device_hash){ 0 };
	w->device = w->index = NULL;
	w->n_times = 0;
}

/* As above: what is not is left out. */
static bool run_is_kept(const struct run *run)
{
	return run->ident.id >= 0 && *run->ident.name &&
		strlen(run->ident.name) <= LIMIT_CHECKPOINT_TEXT_BYTES;
}

static struct checkpoint_head head_of(const struct snapshot *s)
{
	return (struct checkpoint_head){ .shape = s->shape,
		.shape_ns = s->shape_ns,
		.time_ns = s->time_ns,
		.updated_mono_ns = s->updated_mono_ns };
}

/* What is written is whole. */
static void end_scope(struct checkpoint_writer *w, const struct run *run)
{
	if (w->full)
		return;
	w->kept = w->at;
	w->header.n_vms += run != NULL;
}

struct checkpoint_part checkpoint_writer_add(struct checkpoint_writer *w,
	const struct snapshot *s, const struct run *run, const struct counters *counters)
{
	struct checkpoint_head head = head_of(s);

	if (run && !run_is_kept(run))
		return (struct checkpoint_part){ 0 };
	if (run)
		put_vm(w, run);
	struct checkpoint_part part = { .at = w->at, .texts = w->texts_hash };

	begin_scope(w, counters);
	put(w, &head, sizeof(head));
	head.n_histograms = put_histograms(w);
	part.n_metrics = put_metrics(w, s);
	part.about = w->at;
	head.n_metrics = put_about(w, s, part.n_metrics);
	part.rest = w->at;
	head.n_counters = put_counters(w);
	head.n_fallen = put_fallen(w);
	part.end = w->at;
	put_again(w, part.at, &head, sizeof(head));
	end_scope(w, run);
	/* whoever brings a text must be there for those that refer to it */
	part.written = !w->full && w->texts_hash == part.texts;
	return part;
}

/* Moves a piece from where the last checkpoint has it.  Return: where it is now. */
static size_t put_piece(
	struct checkpoint_writer *w, const uint8_t *last, size_t from, size_t to)
{
	size_t at = w->at;

	put(w, last + from, to - from);
	return at;
}

bool checkpoint_writer_repeat(struct checkpoint_writer *w, const struct snapshot *s,
	const struct run *run, const void *last, struct checkpoint_part *part)
{
	struct checkpoint_head head = head_of(s), before;
	const struct checkpoint_part then = *part;

	if (!then.written || then.texts != w->texts_hash)
		return false;
	memcpy(&before, (const uint8_t *)last + then.at, sizeof(before));
	head.n_histograms = before.n_histograms;
	head.n_counters = before.n_counters;
	head.n_fallen = before.n_fallen;
	if (run)
		put_vm(w, run);
	part->at = put_piece(w, last, then.at, then.about);
	part->about = w->at;
	head.n_metrics = put_about(w, s, then.n_metrics);
	part->rest = put_piece(w, last, then.rest, then.end);
	part->end = w->at;
	put_again(w, part->at, &head, sizeof(head));
	end_scope(w, run);
	part->written = !w->full;
	return true;
}

size_t checkpoint_writer_finish(struct checkpoint_writer *w, size_t *ret_needed)
{
	size_t kept = w->kept;

	if (kept) {
		w->header.size = kept;
		memcpy(w->buf, &w->header, sizeof(w->header));
	}
	*ret_needed = w->at;
	free(w->told);
	free(w->seen);
	free((void *)w->texts);
	free(w);
	return kept;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/metric_list.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/catalogue.h"
#include "core/histogram.h"
#include "core/unit.h"
#include "util/cleanup.h"
#include "util/hash.h"
#include "util/mem.h"
#include "util/refs.h"
#include "util/strbuf.h"

/*
 * While building, strings that are not the spec's own lie in an arena that may move, and
 * histograms in another, so a draft holds offsets; NONE stands for NULL.
 */
#define NONE SIZE_MAX

struct draft {
	struct metric m;
	size_t number; /* in the order of adding */
	uint32_t slot;
	size_t name, unit; /* of a metric with a label of its own */
	size_t string, device, histogram;
};

struct metric_list_builder {
	struct spec_set *specs;
	int64_t time_ns;
	struct draft *drafts;
	size_t n, cap, n_own_labels;
	uint64_t owner;   /* of labels: spec_label() */
	size_t n_refused; /* there was no room for their labels */
	bool refused;     /* nor for that of the last one */
	bool unsorted;
	struct strbuf arena, histograms;
	size_t *devices; /* each that was named */
	size_t n_devices, cap_devices;
	size_t next_device; /* in devices: likely to be named next */
	size_t device;      /* of what is added */
};

/*
 * Most lists that are made at each beat have no more.  Room for many would be a large piece of memory,
 * for each of which malloc() puts all small ones in order that were freed.
 */
#define FIRST_DRAFTS 8u

struct metric_list_builder *metric_list_builder_new(
	struct spec_set *specs, int64_t time_ns)
{
	struct metric_list_builder *b = xcalloc(1, sizeof(*b));

	b->specs = spec_set_ref(specs);
	b->time_ns = time_ns;
	b->cap = FIRST_DRAFTS;
	b->drafts = xreallocarray(NULL, b->cap, sizeof(*b->drafts));
	b->device = NONE;
	return b;
}

void metric_list_builder_free(struct metric_list_builder *b)
{
	if (!b)
		return;
	spec_set_unref(b->specs);
	strbuf_done(&b->arena);
	strbuf_done(&b->histograms);
	free(b->devices);
	free(b->drafts);
	free(b);
}

size_t metric_list_builder_count(const struct metric_list_builder *b)
{
	return b->n;
}

void metric_list_builder_set_owner(struct metric_list_builder *b, uint64_t owner)
{
	b->owner = owner;
}

static size_t arena_add(struct metric_list_builder *b, const char *s)
{
	size_t at = b->arena.len;

	strbuf_add(&b->arena, s, strlen(s) + 1);
	return at;
}

void metric_list_builder_set_device(struct metric_list_builder *b, const char *device)
{
	b->device = NONE;
	if (!device || !*device)
		return;
	/* they are named one after another, again and again */
	for (size_t k = 0; k < b->n_devices; k++) {
		size_t i = (b->next_device + k) % b->n_devices;

		if (strcmp(b->arena.data + b->devices[i], device) != 0)
			continue;
		b->device = b->devices[i];
		b->next_device = i + 1;
		return;
	}
	b->devices =
		xgrow(b->devices, b->n_devices, &b->cap_devices, sizeof(*b->devices));
	b->device = arena_add(b, device);
	b->devices[b->n_devices++] = b->device;
	b->next_device = 0;
}

static struct draft *draft_new(struct metric_list_builder *b, uint32_t slot,
	enum metric_type type, const struct value *value)
{
	b->drafts = xgrow(b->drafts, b->n, &b->cap, sizeof(*b->drafts));
	struct draft *d = &b->drafts[b->n];

	b->refused = false;
	b->unsorted |= b->n && d[-1].slot > slot;
	*d = (struct draft){ .m = { .changed_ns = b->time_ns,
				     .available = value != NULL },
		.number = b->n++,
		.slot = slot,
		.name = NONE,
		.unit = NONE,
		.string = NONE,
		.device = b->device,
		.histogram = NONE };
	if (value)
		d->m.value = *value;
	d->m.value.type = type;
	if (value && type == METRIC_STRING)
		d->string = arena_add(b, value->s);
	if (value && type == METRIC_HISTOGRAM) {
		assert(value->type == METRIC_HISTOGRAM);
		d->histogram = b->histograms.len;
		strbuf_add(&b->histograms, (const char *)value->h, sizeof(*value->h));
	}
	return d;
}

void metric_list_builder_add(struct metric_list_builder *b, uint32_t slot,
	const char *index, const struct value *value)
{
	const struct metric_label *label = spec_label(b->specs, slot, index, b->owner);

	b->refused = !label;
	b->n_refused += b->refused;
	if (label)
		draft_new(b, slot, b->specs->specs[slot].type, value)->m.label = label;
}

void metric_list_builder_add_source(struct metric_list_builder *b, uint32_t slot,
	const char *index, const struct value *value)
{
	const struct metric_spec *spec = &b->specs->specs[slot];
	struct value v;
	int r = 0;

	if (value) {
		v = *value;
		if (spec->convert) {
			/* Through a real when the reader wants one, to keep the fraction. */
			if (metric_type_is_real(spec->type))
				r = value_cast(&v, METRIC_REAL64, &v);
			if (r == 0)
				r = unit_convert(&v, unit_find(spec->entry->unit),
					spec->convert, &v);
		}
		if (r == 0)
			r = value_cast(&v, spec->type, &v);
	}
	metric_list_builder_add(b, slot, index, value && r == 0 ? &v : NULL);
}

void metric_list_builder_set_changed(struct metric_list_builder *b, int64_t changed_ns)
{
	if (!b->refused)
		b->drafts[b->n - 1].m.changed_ns = changed_ns;
}

void metric_list_builder_add_absent(struct metric_list_builder *b, uint32_t slot)
{
	metric_list_builder_add(b, slot, NULL, NULL);
	b->drafts[b->n - 1].m.absent = true;
}

void metric_list_builder_add_fact(struct metric_list_builder *b, uint32_t slot,
	const char *index, const struct fact *fact)
{
	if (fact->absent)
		metric_list_builder_add_absent(b, slot);
	else
		metric_list_builder_add_source(
			b, slot, index, fact->have ? &fact->value : NULL);
}

void metric_list_builder_add_named(struct metric_list_builder *b, uint32_t slot,
	const char *name, const char *unit, enum metric_type type,
	const struct value *value)
{
	struct draft *d = draft_new(b, slot, type, value);

	d->name = arena_add(b, name);
	if (unit)
		d->unit = arena_add(b, unit);
	b->n_own_labels++;
}

/* Stable, so that metrics of one slot keep the order in which they were added. */
static int compare_drafts(const void *a, const void *b)
{
	const struct draft *x = a, *y = b;

	if (x->slot != y->slot)
		return x->slot < y->slot ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

static struct metric_label own_label(
	const struct metric_list_builder *b, const struct draft *d, const char *arena)
{
	return (struct metric_label){ .name = arena + d->name,
		.unit = d->unit == NONE ? NULL : arena + d->unit,
		.source = "action",
		.spec = &b->specs->specs[d->slot],
		.name_hash = siphash24(arena + d->name, strlen(arena + d->name)),
		.slot = d->slot };
}

struct metric_list *metric_list_builder_finish(struct metric_list_builder *b)
{
	size_t size = sizeof(struct metric_list) + b->n * sizeof(struct metric) +
		b->n_own_labels * sizeof(struct metric_label) + b->histograms.len +
		b->arena.len;
	struct metric_list *list = xmalloc(size);
	struct metric_label *labels = (struct metric_label *)(list->metrics + b->n);
	char *histograms = (char *)(labels + b->n_own_labels);
	char *arena = histograms + b->histograms.len;

	assert(size < 1u << 30); /* metric.device_at */
	if (b->unsorted)
		qsort(b->drafts, b->n, sizeof(*b->drafts), compare_drafts);
	refs_init(&list->refs);
	list->specs = spec_set_ref(b->specs);
	list->n = b->n;
	list->n_refused = b->n_refused;
	list->time_ns = b->time_ns;
	if (b->histograms.len)
		memcpy(histograms, b->histograms.data, b->histograms.len);
	if (b->arena.len)
		memcpy(arena, b->arena.data, b->arena.len);
	for (size_t i = 0; i < b->n; i++) {
		const struct draft *d = &b->drafts[i];
		struct metric *m = &list->metrics[i];

		*m = d->m;
		if (d->name != NONE) {
			*labels = own_label(b, d, arena);
			m->label = labels++;
		}
		if (d->string != NONE)
			m->value.s = arena + d->string;
		if (d->histogram != NONE)
			m->value.h = (const void *)(histograms + d->histogram);
		if (d->device != NONE)
			m->device_at = (uint32_t)(arena + d->device - (char *)m);
	}
	metric_list_builder_free(b);
	return list;
}

static bool same_value(const struct metric *a, const struct metric *b)
{
	if (a->available != b->available || a->absent != b->absent ||
		a->value.type != b->value.type)
		return false;
	if (!a->available)
		return true;
	switch (a->value.type) {
	case METRIC_STRING:
		return !strcmp(a->value.s, b->value.s);
	case METRIC_HISTOGRAM:
		return histogram_equal(a->value.h, b->value.h);
	case METRIC_REAL32:
	case METRIC_REAL64:
		return memcmp(&a->value.real, &b->value.real, sizeof(double)) == 0;
	default:
		return a->value.u == b->value.u;
	}
}

/* Labels of specs are made once; those of names of their own lie in their list. */
bool metric_list_alike(const struct metric_list *a, const struct metric_list *b)
{
	if (a == b)
		return true;
	if (a->specs != b->specs || a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++) {
		const struct metric *x = &a->metrics[i], *y = &b->metrics[i];

		if (x->label != y->label || x->absent != y->absent ||
			x->value.type != y->value.type)
			return false;
	}
	return true;
}

/* Both are sorted by slot; within a slot the order is that of the numbers, usually. */
void metric_list_carry(struct metric_list *list, const struct metric_list *before)
{
	size_t k = 0;

	for (size_t i = 0; i < list->n; i++) {
		struct metric *m = &list->metrics[i];

		while (k < before->n && before->metrics[k].label->slot < m->label->slot)
			k++;
		for (size_t j = k; j < before->n; j++) {
			const struct metric *old = &before->metrics[j];

			if (old->label->slot != m->label->slot)
				break;
			if (old->label->name_hash != m->label->name_hash)
				continue;
			if (same_value(m, old))
				m->changed_ns = old->changed_ns;
			if (j == k)
				k++; /* the usual case costs one look */
			break;
		}
	}
}

static size_t find_equal(const struct spec_set *specs, const struct metric_spec *spec)
{
	for (size_t i = 0; i < specs->n; i++)
		if (spec_equal(&specs->specs[i], spec))
			return i;
	return NONE;
}

static void add_copy(struct metric_list_builder *b, uint32_t slot, const struct metric *m)
{
	const struct metric_label *label = m->label;
	const struct value *value = m->available ? &m->value : NULL;

	metric_list_builder_set_device(b, metric_device(m));
	if (m->absent)
		metric_list_builder_add_absent(b, slot);
	else if (label->spec->kind == SPEC_GROUP || label->spec->kind == SPEC_XML)
		metric_list_builder_add_named(
			b, slot, label->name, label->unit, m->value.type, value);
	else
		metric_list_builder_add(b, slot, label->index, value);
	metric_list_builder_set_changed(b, m->changed_ns);
}

struct metric_list *metric_list_rebase(
	const struct metric_list *list, struct spec_set *specs)
{
	struct metric_list_builder *b = metric_list_builder_new(specs, list->time_ns);

	for (size_t i = 0; i < list->n; i++) {
		const struct metric *m = &list->metrics[i];
		size_t slot = find_equal(specs, m->label->spec);

		if (slot != NONE)
			add_copy(b, (uint32_t)slot, m);
	}
	if (b->n)
		return metric_list_builder_finish(b);
	metric_list_builder_free(b);
	return NULL;
}

/* Moves *@at to the first metric of @slot or behind.  Return: true if there is one. */
static bool has_slot(const struct metric_list *list, uint32_t slot, size_t *at)
{
	while (*at < list->n && list->metrics[*at].label->slot < slot)
		++*at;
	return *at < list->n && list->metrics[*at].label->slot == slot;
}

struct metric_list *metric_list_without(
	const struct metric_list *list, const struct metric_list *others)
{
	size_t at = 0, n_common = 0;

	for (size_t i = 0; i < list->n; i++)
		n_common += has_slot(others, list->metrics[i].label->slot, &at);
	if (!n_common)
		return NULL;
	_cleanup_free_ bool *drop = xcalloc(list->specs->n, sizeof(*drop));

	for (size_t i = 0; i < others->n; i++)
		drop[others->metrics[i].label->slot] = true;
	return metric_list_drop(list, drop);
}

struct metric_list *metric_list_drop(const struct metric_list *list, const bool *drop)
{
	struct metric_list_builder *b =
		metric_list_builder_new(list->specs, list->time_ns);

	for (size_t i = 0; i < list->n; i++) {
		const struct metric *m = &list->metrics[i];

		if (!drop[m->label->slot])
			add_copy(b, m->label->slot, m);
	}
	return metric_list_builder_finish(b);
}

struct metric_list *metric_list_ref(struct metric_list *list)
{
	refs_take(&list->refs);
	return list;
}

void metric_list_unref(struct metric_list *list)
{
	if (!list || !refs_drop(&list->refs))
		return;
	spec_set_unref(list->specs);
	free(list);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/metric_list.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/catalogue.h"
#include "core/unit.h"
#include "util/mem.h"
#include "util/strbuf.h"

/*
 * While building, strings that are not the spec's own lie in an arena that may move, so a
 * draft holds offsets; NONE stands for NULL.
 */
#define NONE SIZE_MAX

struct draft {
	struct metric m;
	size_t number; /* in the order of adding */
	size_t name, unit, source, index, string;
};

struct metric_list_builder {
	struct spec_set *specs;
	int64_t time_ns;
	struct draft *drafts;
	size_t n, cap;
	struct strbuf arena;
};

struct metric_list_builder *metric_list_builder_new(
	struct spec_set *specs, int64_t time_ns)
{
	struct metric_list_builder *b = xcalloc(1, sizeof(*b));

	b->specs = spec_set_ref(specs);
	b->time_ns = time_ns;
	return b;
}

void metric_list_builder_free(struct metric_list_builder *b)
{
	if (!b)
		return;
	spec_set_unref(b->specs);
	strbuf_done(&b->arena);
	free(b->drafts);
	free(b);
}

size_t metric_list_builder_count(const struct metric_list_builder *b)
{
	return b->n;
}

static size_t arena_add(struct metric_list_builder *b, const char *s)
{
	size_t at = b->arena.len;

	strbuf_add(&b->arena, s, strlen(s) + 1);
	return at;
}

/* Writes @pattern with each '*' replaced by the next '.'-separated part of @index. */
static size_t arena_expand(
	struct metric_list_builder *b, const char *pattern, const char *index)
{
	size_t at = b->arena.len;

	for (; *pattern; pattern++) {
		if (*pattern != '*') {
			strbuf_addc(&b->arena, *pattern);
			continue;
		}
		size_t part = strcspn(index, ".");

		strbuf_add(&b->arena, index, part);
		index += part + (index[part] == '.');
	}
	strbuf_addc(&b->arena, '\0');
	return at;
}

static struct draft *draft_new(struct metric_list_builder *b, uint32_t slot,
	enum metric_type type, const struct value *value)
{
	b->drafts = xgrow(b->drafts, b->n, &b->cap, sizeof(*b->drafts));
	struct draft *d = &b->drafts[b->n++];
	const struct metric_spec *spec = &b->specs->specs[slot];

	*d = (struct draft){
		.m = { .name = spec->name,
			.unit = spec->unit,
			.spec = spec,
			.source = spec->source ? spec->source : "action",
			.time_ns = b->time_ns,
			.slot = slot,
			.available = value != NULL },
		.number = b->n,
		.name = NONE,
		.unit = NONE,
		.source = NONE,
		.index = NONE,
		.string = NONE,
	};
	if (value)
		d->m.value = *value;
	d->m.value.type = type;
	if (value && type == METRIC_STRING)
		d->string = arena_add(b, value->s);
	return d;
}

void metric_list_builder_add(struct metric_list_builder *b, uint32_t slot,
	const char *index, const struct value *value)
{
	const struct metric_spec *spec = &b->specs->specs[slot];
	struct draft *d = draft_new(b, slot, spec->type, value);

	if (!index)
		return;
	d->index = arena_add(b, index);
	d->name = arena_expand(b, spec->name, index);
	if (spec->source)
		d->source = arena_expand(b, spec->source, index);
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
			if (spec->type == METRIC_REAL32 || spec->type == METRIC_REAL64)
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

void metric_list_builder_add_named(struct metric_list_builder *b, uint32_t slot,
	const char *name, const char *unit, enum metric_type type,
	const struct value *value)
{
	struct draft *d = draft_new(b, slot, type, value);

	d->name = arena_add(b, name);
	d->m.unit = NULL;
	if (unit)
		d->unit = arena_add(b, unit);
}

/* Stable, so that metrics of one slot keep the order in which they were added. */
static int compare_drafts(const void *a, const void *b)
{
	const struct draft *x = a, *y = b;

	if (x->m.slot != y->m.slot)
		return x->m.slot < y->m.slot ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

static const char *place(const char *arena, size_t offset, const char *otherwise)
{
	return offset == NONE ? otherwise : arena + offset;
}

struct metric_list *metric_list_builder_finish(struct metric_list_builder *b)
{
	size_t array = b->n * sizeof(struct metric);
	struct metric_list *list = xmalloc(sizeof(*list) + array + b->arena.len);
	char *arena = (char *)list->metrics + array;

	if (b->n)
		qsort(b->drafts, b->n, sizeof(*b->drafts), compare_drafts);
	atomic_init(&list->refs, 1);
	list->specs = spec_set_ref(b->specs);
	list->n = b->n;
	if (b->arena.len)
		memcpy(arena, b->arena.data, b->arena.len);
	for (size_t i = 0; i < b->n; i++) {
		const struct draft *d = &b->drafts[i];
		struct metric *m = &list->metrics[i];

		*m = d->m;
		m->name = place(arena, d->name, m->name);
		m->unit = place(arena, d->unit, m->unit);
		m->source = place(arena, d->source, m->source);
		m->index = place(arena, d->index, NULL);
		if (d->string != NONE)
			m->value.s = arena + d->string;
	}
	metric_list_builder_free(b);
	return list;
}

static size_t find_equal(const struct spec_set *specs, const struct metric_spec *spec)
{
	for (size_t i = 0; i < specs->n; i++)
		if (spec_equal(&specs->specs[i], spec))
			return i;
	return NONE;
}

struct metric_list *metric_list_rebase(
	const struct metric_list *list, struct spec_set *specs)
{
	struct metric_list_builder *b =
		metric_list_builder_new(specs, list->n ? list->metrics[0].time_ns : 0);

	for (size_t i = 0; i < list->n; i++) {
		const struct metric *m = &list->metrics[i];
		size_t slot = find_equal(specs, m->spec);

		if (slot == NONE)
			continue;
		struct draft *d = draft_new(b, (uint32_t)slot, m->value.type,
			m->available ? &m->value : NULL);

		d->name = arena_add(b, m->name);
		d->source = arena_add(b, m->source);
		d->m.unit = NULL;
		if (m->unit)
			d->unit = arena_add(b, m->unit);
		if (m->index)
			d->index = arena_add(b, m->index);
	}
	if (b->n)
		return metric_list_builder_finish(b);
	metric_list_builder_free(b);
	return NULL;
}

struct metric_list *metric_list_ref(struct metric_list *list)
{
	atomic_fetch_add_explicit(&list->refs, 1, memory_order_relaxed);
	return list;
}

void metric_list_unref(struct metric_list *list)
{
	if (!list || atomic_fetch_sub_explicit(&list->refs, 1, memory_order_acq_rel) != 1)
		return;
	spec_set_unref(list->specs);
	free(list);
}

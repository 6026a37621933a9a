/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model/checkpoint.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/catalogue.h"
#include "core/histogram.h"
#include "core/metric_list.h"
#include "core/sizes.h"
#include "model/checkpoint_format.h"
#include "model/plan.h"
#include "util/clock.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/parse.h"

/* The size of a disk may be told for a moment longer than it is so. */
#define SIZE_LATE_NS NS_PER_S

/* A generation beyond that was never counted up to. */
#define MAX_GENERATION (UINT64_C(1) << 62)

#define NO_SLOT UINT32_MAX

struct loader {
	const uint8_t *bytes;
	size_t size, at;
	bool bad;    /* nothing more is believed */
	bool before; /* it is of CHECKPOINT_VERSION_BEFORE */
	const struct plan *plan;
	uint32_t n_specs;
	uint32_t *slots;    /* of the plan, for each of the checkpoint's; NO_SLOT: none */
	const char **texts; /* the last one of each of the checkpoint's; NULL: none yet */
	int64_t real_ns, mono_ns;

	/* of the scope that is loaded */
	const char *device, *index; /* the last ones; NULL: none yet */
	int64_t times[CHECKPOINT_TIMES];
	size_t n_times; /* that came */
	struct device_hash device_hash;
};

/* ---- bytes ---- */

static bool need(struct loader *ld, bool ok)
{
	ld->bad |= !ok;
	return ok;
}

/* Where the next @n bytes lie; NULL if there are not so many. */
static const void *take_bytes(struct loader *ld, size_t n)
{
	if (ld->bad || !need(ld, ld->size - ld->at >= n))
		return NULL;
	const uint8_t *p = ld->bytes + ld->at;

	ld->at += n;
	return p;
}

/* All zero if it is not there. */
static void take(struct loader *ld, void *ret, size_t n)
{
	const void *p = take_bytes(ld, n);

	if (p)
		memcpy(ret, p, n);
	else
		memset(ret, 0, n);
}

/* 0 if it is not there, or too great. */
static uint64_t take_varint(struct loader *ld)
{
	uint64_t u = 0;

	for (unsigned i = 0; i < VARINT_BYTES_MAX; i++) {
		uint8_t byte = 0;

		take(ld, &byte, sizeof(byte));
		u |= (uint64_t)(byte & 0x7f) << 7 * i;
		if (byte < 0x80)
			return need(ld, i < VARINT_BYTES_MAX - 1 || byte < 2) ? u : 0;
	}
	need(ld, false);
	return 0;
}

/* Return: "" if it is not there, or none. */
static const char *take_string(struct loader *ld, size_t max)
{
	uint16_t len = 0;

	take(ld, &len, sizeof(len));
	const char *s = need(ld, len <= max) ? take_bytes(ld, (size_t)len + 1) : NULL;

	return s && need(ld, s[len] == '\0' && !memchr(s, 0, len)) ? s : "";
}

/* One that the flags ask for; NULL: they do not, or it is none. */
static const char *take_text(struct loader *ld, bool have, size_t max)
{
	const char *s = have ? take_string(ld, max) : NULL;

	return s && need(ld, utf8_valid(s, strlen(s))) ? s : NULL;
}

/* True if @n things of that size can follow. */
static bool can_follow(struct loader *ld, size_t n, size_t max, size_t size)
{
	return need(ld, n <= max) && need(ld, n <= (ld->size - ld->at) / size);
}

/* The clock may have been set back since. */
static int64_t past_real(struct loader *ld, int64_t ns)
{
	need(ld, ns >= 0);
	return ns > ld->real_ns ? ld->real_ns : ns;
}

/* This one is never set. */
static int64_t past_mono(struct loader *ld, int64_t ns)
{
	need(ld, ns >= 0 && ns <= ld->mono_ns);
	return ns;
}

/* ---- metrics ---- */

struct draft {
	struct checkpoint_metric head;
	int64_t changed_ns;
	uint64_t number;
	bool available;
	const char *index, *device, *name, *unit;
	struct value value;
};

/* @type: one that there is.  What does not fit it cannot have been written. */
static bool read_number(struct draft *d, enum metric_type type)
{
	struct value v = { .type = type == METRIC_INT32 || type == METRIC_INT64
			? METRIC_INT64
			: METRIC_UINT64 };

	v.u = d->number;
	if (metric_type_is_real(type)) {
		v.type = METRIC_REAL64;
		memcpy(&v.real, &d->number, sizeof(v.real));
	}
	return value_cast(&v, type, &d->value) == 0;
}

/* True if those flags can be together, and belong to that type. */
static bool can_be(unsigned flags, enum metric_type type)
{
	bool number = flags & HAS_NUMBER, text = flags & (HAS_TEXT | SAME_TEXT);

	if (flags > METRIC_FLAGS || (number && text) ||
		(flags & IS_ABSENT && (number || text)))
		return false;
	if ((number && (type == METRIC_STRING || type == METRIC_HISTOGRAM)) ||
		(text && type != METRIC_STRING))
		return false;
	if (flags & HAS_HISTOGRAM &&
		(number || text || flags & IS_ABSENT || type != METRIC_HISTOGRAM))
		return false;
	if ((flags & HAS_UNIT && !(flags & HAS_NAME)) ||
		(flags & HAS_NAME && flags & (HAS_INDEX | SAME_INDEX)))
		return false;
	return !(flags & IS_REACHED && !number) &&
		!(flags & HAS_DEVICE && flags & SAME_DEVICE) &&
		!(flags & HAS_INDEX && flags & SAME_INDEX) &&
		!(flags & HAS_TEXT && flags & SAME_TEXT);
}

static int64_t take_time(struct loader *ld, const struct checkpoint_metric *head)
{
	int64_t ns = 0;

	if (head->flags & HAS_TIME) {
		take(ld, &ns, sizeof(ns));
		need(ld, !head->time);
		ns = past_real(ld, ns);
		ld->times[ld->n_times++ % CHECKPOINT_TIMES] = ns;
		return ns;
	}
	if (!need(ld, head->time < CHECKPOINT_TIMES && head->time < ld->n_times))
		return 0;
	return ld->times[head->time];
}

/* One that may be the same as the last one, which it is from now on; NULL: there is none. */
static const char *take_text_or_same(
	struct loader *ld, bool have, bool same, size_t max, const char **last)
{
	const char *s = take_text(ld, have, max);

	if (same && need(ld, *last))
		return *last;
	if (s)
		*last = s;
	return s;
}

static bool is_type(uint8_t type)
{
	return type < METRIC_TYPE_COUNT || type == METRIC_HISTOGRAM;
}

/* Reads one and checks all of it that does not depend on its spec. */
static bool take_metric(struct loader *ld, struct draft *d)
{
	*d = (struct draft){ 0 };
	take(ld, &d->head, sizeof(d->head));
	unsigned flags = d->head.flags;
	bool text = flags & (HAS_TEXT | SAME_TEXT), number = flags & HAS_NUMBER;

	if (!need(ld, d->head.slot < ld->n_specs && is_type(d->head.type)) ||
		!need(ld, can_be(flags, (enum metric_type)d->head.type)))
		return false;
	d->available = text || number || flags & HAS_HISTOGRAM;
	d->changed_ns = take_time(ld, &d->head);
	if (number && metric_type_is_real((enum metric_type)d->head.type))
		take(ld, &d->number, sizeof(d->number));
	else if (number)
		d->number = take_varint(ld);
	d->index = take_text_or_same(
		ld, flags & HAS_INDEX, flags & SAME_INDEX, LIMIT_NAME_BYTES, &ld->index);
	d->device = take_text_or_same(ld, flags & HAS_DEVICE, flags & SAME_DEVICE,
		LIMIT_CHECKPOINT_TEXT_BYTES, &ld->device);
	d->name = take_text(ld, flags & HAS_NAME, LIMIT_NAME_BYTES);
	d->unit = take_text(ld, flags & HAS_UNIT, LIMIT_CHECKPOINT_TEXT_BYTES);
	const char *s = take_text_or_same(ld, flags & HAS_TEXT, flags & SAME_TEXT,
		LIMIT_CHECKPOINT_TEXT_BYTES, &ld->texts[d->head.slot]);

	need(ld, !d->index || *d->index);
	need(ld, !d->name || *d->name);
	if (text && s)
		d->value = value_string(s);
	return !ld->bad &&
		(!number || need(ld, read_number(d, (enum metric_type)d->head.type)));
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static bool has_variable(const struct metric_spec *spec, const struct draft *d)
{
	for (size_t i = 0; i < spec->n_variables; i++)
		if (!strcmp(spec->variables[i].name, d->name) &&
			same_text(spec->variables[i].unit, d->unit) &&
			(uint8_t)spec->variables[i].type == d->head.type)
			return true;
	return false;
}

/* True if the spec's collector could have brought this. */
static bool fits_spec(const struct metric_spec *spec, const struct draft *d, bool host)
{
	bool own = spec->kind == SPEC_GROUP || spec->kind == SPEC_XML;
	bool many =
		spec->kind == SPEC_SOURCE && spec->source && strchr(spec->source, '*');

	if ((spec->context == CONTEXT_HOST) != host)
		return false;
	if (spec->entry && spec->entry->collector == COLLECTOR_SNAPSHOT)
		return false; /* snapshots have it of themselves */
	if (d->head.flags & IS_ABSENT)
		return !d->name && !d->index;
	if (d->head.type == METRIC_HISTOGRAM && own)
		return false; /* no command prints one */
	if (own != !!d->name || many != !!d->index)
		return false;
	return spec->kind == SPEC_XML ||
		(own ? has_variable(spec, d) : (uint8_t)spec->type == d->head.type);
}

static void add(struct metric_list_builder *b, uint32_t slot, const struct draft *d)
{
	const struct value *value = d->available ? &d->value : NULL;

	metric_list_builder_set_device(b, d->device);
	if (d->head.flags & IS_ABSENT)
		metric_list_builder_add_absent(b, slot);
	else if (d->name)
		metric_list_builder_add_named(
			b, slot, d->name, d->unit, (enum metric_type)d->head.type, value);
	else
		metric_list_builder_add(b, slot, d->index, value);
	metric_list_builder_set_changed(b, d->changed_ns);
}

/* What a metric that was added stands for. */
static void add_counter(struct loader *ld, uint32_t slot, const struct draft *d,
	struct counters *counters)
{
	struct counter_state state = { .reached = d->number };

	if (!(d->head.flags & IS_REACHED))
		return;
	const struct metric_label *label = spec_label(ld->plan->specs, slot, d->index, 0);

	if (!label)
		return; /* no room for it; the metric was left out, too */
	state.key = counters_key(label, d->device, &ld->device_hash);
	need(ld, counters_restore(counters, &state) == 0);
}

/*
 * Finds the histogram that a metric shows.  Return: false if there is none any more: this build has
 * other bounds, or there is no room for the label.
 */
static bool find_histogram(struct loader *ld, uint32_t slot,
	const struct counters *counters, struct draft *d)
{
	if (!(d->head.flags & HAS_HISTOGRAM))
		return true;
	const struct metric_label *label = spec_label(ld->plan->specs, slot, d->index, 0);
	const struct histogram *h = label
		? counters_histogram(
			  counters, counters_key(label, d->device, &ld->device_hash))
		: NULL;

	if (h)
		d->value = value_histogram(h);
	return h;
}

/* ---- the metrics of a scope ---- */

/* A list of what the plan still has; NULL: nothing. */
static struct metric_list *load_metrics(struct loader *ld,
	const struct checkpoint_head *head, bool host, struct counters *counters)
{
	int64_t time_ns = past_real(ld, head->time_ns);
	struct draft d;

	if (!can_follow(ld, head->n_metrics, LIMIT_SCOPE_METRICS, sizeof(d.head)))
		return NULL;
	struct metric_list_builder *b = metric_list_builder_new(ld->plan->specs, time_ns);

	for (size_t i = 0; i < head->n_metrics && take_metric(ld, &d); i++) {
		uint32_t slot = ld->slots[d.head.slot];

		if (slot == NO_SLOT ||
			!fits_spec(&ld->plan->specs->specs[slot], &d, host) ||
			!find_histogram(ld, slot, counters, &d))
			continue;
		add(b, slot, &d);
		add_counter(ld, slot, &d, counters);
	}
	if (ld->bad || !metric_list_builder_count(b)) {
		metric_list_builder_free(b);
		return NULL;
	}
	return metric_list_builder_finish(b);
}

/* ---- counters ---- */

static void load_counters(
	struct loader *ld, const struct checkpoint_head *head, struct counters *ret)
{
	if (!can_follow(ld, head->n_counters, LIMIT_SERIES,
		    sizeof(struct checkpoint_counter)))
		return;
	for (size_t i = 0; i < head->n_counters && !ld->bad; i++) {
		struct checkpoint_counter c;

		take(ld, &c, sizeof(c));
		const struct counter_state state = { .key = c.key, .reached = c.reached };

		need(ld, counters_restore(ret, &state) == 0);
	}
	for (size_t i = 0; i < head->n_fallen && !ld->bad; i++) {
		struct checkpoint_fallen c;

		take(ld, &c, sizeof(c));
		need(ld, c.n_falls <= UINT32_MAX);
		const struct counter_state state = { .key = c.key,
			.reached = c.reached,
			.fell = true,
			.n_falls = (uint32_t)c.n_falls,
			.low = c.low,
			.base = c.base,
			.floor = c.floor };

		need(ld, counters_restore(ret, &state) == 0);
	}
}

static void load_histogram(struct loader *ld, struct counters *ret)
{
	struct checkpoint_histogram head;
	struct histogram h = { 0 };

	take(ld, &head, sizeof(head));
	need(ld, head.n_counts <= HISTOGRAM_BUCKETS && !head.reserved);
	for (size_t i = 0; !ld->bad && i < head.n_counts; i++)
		h.counts[i] = take_varint(ld);
	h.sum = head.sum;
	h.kind = histogram_find(head.bounds);
	if (!ld->bad && h.kind < HISTOGRAM_KINDS)
		need(ld, counters_restore_histogram(ret, head.key, &h) == 0);
}

static void load_histograms(
	struct loader *ld, const struct checkpoint_head *head, struct counters *ret)
{
	if (!can_follow(ld, head->n_histograms, LIMIT_SCOPE_HISTOGRAMS,
		    sizeof(struct checkpoint_histogram)))
		return;
	for (size_t i = 0; i < head->n_histograms && !ld->bad; i++)
		load_histogram(ld, ret);
}

/* ---- scopes ---- */

static void load_scope(struct loader *ld, struct checkpoint_scope *ret, bool host)
{
	struct checkpoint_head head;

	take(ld, &head, sizeof(head));
	need(ld, !ld->before || !head.n_histograms);
	ret->shape = head.shape;
	ret->shape_ns = past_real(ld, head.shape_ns);
	ret->updated_mono_ns = past_mono(ld, head.updated_mono_ns);
	if (ld->bad)
		return;
	ld->device = ld->index = NULL;
	ld->n_times = 0;
	ld->device_hash = (struct device_hash){ 0 };
	load_histograms(ld, &head, &ret->counters);
	if (ld->bad)
		return;
	ret->list = load_metrics(ld, &head, host, &ret->counters);
	load_counters(ld, &head, &ret->counters);
}

static void load_vm(struct loader *ld, struct checkpoint_scope *ret)
{
	struct checkpoint_vm vm;

	take(ld, &vm, sizeof(vm));
	need(ld, vm.id >= 0 && vm.pid <= INT32_MAX && !vm.reserved);
	need(ld, vm.hypervisor <= HYPERVISOR_QEMU && (vm.pid || !vm.start_ticks));
	memcpy(ret->ident.uuid.b, vm.uuid, sizeof(vm.uuid));
	ret->ident.id = vm.id;
	ret->ident.name = take_string(ld, LIMIT_CHECKPOINT_TEXT_BYTES);
	need(ld, *ret->ident.name); /* UTF-8 or not: it is libvirt's */
	ret->hypervisor = (enum hypervisor)vm.hypervisor;
	ret->pid = (int)vm.pid;
	ret->start_ticks = vm.start_ticks;
	ret->session = vm.session;
	ret->shares = vm.shares;
	ret->vcpus = vm.vcpus;
	ret->rss_kib = vm.rss_kib;
	ret->balloon_kib = vm.balloon_kib;
	ret->since_mono_ns = past_mono(ld, vm.since_mono_ns);
	ret->started_mono_ns = past_mono(ld, vm.started_mono_ns);
	ret->slow_mono_ns = past_mono(ld, vm.slow_mono_ns);
	load_scope(ld, ret, false);
}

static int compare_uuids(const void *a, const void *b)
{
	const struct checkpoint_scope *const *x = a, *const *y = b;

	return uuid_compare(&(*x)->ident.uuid, &(*y)->ident.uuid);
}

static int compare_names(const void *a, const void *b)
{
	const struct checkpoint_scope *const *x = a, *const *y = b;

	return strcmp((*x)->ident.name, (*y)->ident.name);
}

/* True if two are the same by @compare. */
static bool has_same(
	const struct checkpoint *cp, int (*compare)(const void *, const void *))
{
	const struct checkpoint_scope **all =
		xcalloc(cp->n_vms, sizeof(struct checkpoint_scope *));
	bool same = false;

	for (size_t i = 0; i < cp->n_vms; i++)
		all[i] = &cp->vms[i];
	qsort(all, cp->n_vms, sizeof(struct checkpoint_scope *), compare);
	for (size_t i = 1; i < cp->n_vms; i++)
		same |= compare(&all[i - 1], &all[i]) == 0;
	free((void *)all);
	return same;
}

/* ---- all of it ---- */

/* Finds each of the checkpoint's specs in the plan. */
static void load_specs(struct loader *ld, uint32_t n)
{
	if (!can_follow(ld, n, LIMIT_CONF_METRICS, sizeof(uint64_t)))
		return;
	ld->n_specs = n;
	ld->slots = xcalloc(n, sizeof(*ld->slots));
	ld->texts = xcalloc(n, sizeof(*ld->texts));
	for (size_t i = 0; i < n; i++) {
		uint64_t fingerprint = 0;

		take(ld, &fingerprint, sizeof(fingerprint));
		ld->slots[i] = NO_SLOT;
		for (uint32_t slot = 0; slot < ld->plan->specs->n; slot++)
			if (ld->plan->fingerprints[slot] == fingerprint)
				ld->slots[i] = slot;
	}
}

static bool is_size(const struct loader *ld, const struct past_size *size, bool last)
{
	return size->bytes >= LIMIT_DISK_BYTES_MIN &&
		size->bytes <= LIMIT_DISK_BYTES_MAX && size->until_ns >= 0 &&
		(last ? size->until_ns == INT64_MAX
		      : size->until_ns <= ld->mono_ns + SIZE_LATE_NS);
}

/* They rise with time, and the last is the one that was in force. */
static void load_sizes(struct loader *ld, struct checkpoint *cp, uint32_t n)
{
	if (!can_follow(ld, n, LIMIT_DISK_SIZES, sizeof(struct checkpoint_size)))
		return;
	cp->sizes = xcalloc(n, sizeof(*cp->sizes));
	cp->n_sizes = n;
	for (size_t i = 0; i < n && !ld->bad; i++) {
		struct past_size *size = &cp->sizes[i];
		struct checkpoint_size s;

		take(ld, &s, sizeof(s));
		*size = (struct past_size){ s.until_mono_ns, s.bytes };
		need(ld, is_size(ld, size, i == n - 1));
		need(ld,
			i == 0 ||
				(size->bytes > size[-1].bytes &&
					size->until_ns >= size[-1].until_ns));
	}
}

static void load_all(struct loader *ld, struct checkpoint *cp)
{
	struct checkpoint_header header;

	take(ld, &header, sizeof(header));
	need(ld, header.size == ld->size);
	ld->before = header.version == CHECKPOINT_VERSION_BEFORE;
	need(ld, header.generation < MAX_GENERATION);
	need(ld, header.vms_generation <= header.generation);
	cp->generation = header.generation;
	cp->vms_shape = header.vms_shape;
	cp->vms_generation = header.vms_generation;
	cp->vms_ns = past_real(ld, header.vms_ns);
	load_specs(ld, header.n_specs);
	if (!ld->bad)
		load_sizes(ld, cp, header.n_sizes);
	if (!ld->bad)
		load_scope(ld, &cp->host, true);
	if (ld->bad ||
		!can_follow(ld, header.n_vms, LIMIT_VMS,
			sizeof(struct checkpoint_vm) + sizeof(struct checkpoint_head)))
		return;
	cp->vms = xcalloc(header.n_vms, sizeof(*cp->vms));
	while (!ld->bad && cp->n_vms < header.n_vms)
		load_vm(ld, &cp->vms[cp->n_vms++]);
	need(ld, ld->at == ld->size);
	if (!ld->bad)
		need(ld, !has_same(cp, compare_uuids) && !has_same(cp, compare_names));
}

/* What any version begins with. */
static bool is_other_version(const void *bytes, size_t size)
{
	struct checkpoint_header header;

	if (size < sizeof(header))
		return false;
	memcpy(&header, bytes, sizeof(header));
	return header.magic == CHECKPOINT_MAGIC && header.version != CHECKPOINT_VERSION &&
		header.version != CHECKPOINT_VERSION_BEFORE;
}

static bool is_checkpoint(const void *bytes, size_t size)
{
	uint64_t magic = 0;

	if (size >= sizeof(struct checkpoint_header))
		memcpy(&magic, bytes, sizeof(magic));
	return magic == CHECKPOINT_MAGIC;
}

int checkpoint_load(
	const void *bytes, size_t size, const struct plan *plan, struct checkpoint **ret)
{
	struct loader ld = { .bytes = bytes,
		.size = size,
		.plan = plan,
		.real_ns = clock_real_ns(),
		.mono_ns = clock_mono_ns() };

	if (is_other_version(bytes, size))
		return -EPROTO;
	if (!is_checkpoint(bytes, size))
		return -EINVAL;
	struct checkpoint *cp = xcalloc(1, sizeof(*cp));

	load_all(&ld, cp);
	free(ld.slots);
	free((void *)ld.texts);
	if (ld.bad) {
		checkpoint_free(cp);
		return -EINVAL;
	}
	*ret = cp;
	return 0;
}

static void scope_done(struct checkpoint_scope *scope)
{
	metric_list_unref(scope->list);
	counters_done(&scope->counters);
}

void checkpoint_free(struct checkpoint *cp)
{
	if (!cp)
		return;
	scope_done(&cp->host);
	free(cp->sizes);
	for (size_t i = 0; i < cp->n_vms; i++)
		scope_done(&cp->vms[i]);
	free(cp->vms);
	free(cp);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/prom_samples.h"

#include <stdlib.h>
#include <string.h>

#include "core/catalogue.h"
#include "core/snapshot.h"
#include "core/unit.h"
#include "util/hash.h"
#include "util/mem.h"

enum { BUCKETS = 512 };

struct set_figures {
	const struct spec_set *specs;
	struct prom_figure **by_slot; /* NULL: not met yet */
};

struct collecting {
	struct prom_sample *samples; /* in the order of the view */
	size_t n, cap;
	struct set_figures *sets;
	size_t n_sets, cap_sets;
	struct prom_figure *own[BUCKETS], *figures;
	struct prom_family *by_name[BUCKETS], **families;
	size_t n_families, cap_families;
};

/* ---- figures and families ---- */

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
	while (b) {
		uint64_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

static void set_scale(struct prom_figure *f, const struct unit *unit)
{
	uint64_t mul = (unit ? unit->factor : 1) * f->name.factor;
	uint64_t div = unit ? unit->prom_divisor : 1, power = 1;
	uint64_t common = common_divisor(mul, div);

	f->mul = mul / common;
	f->div = div / common;
	for (f->decimals = 0; power < f->div; f->decimals++)
		power *= 10;
	if (power != f->div || f->mul != 1)
		f->decimals = -1;
}

/* The unit that the value is in: what a source was converted to, else what is shown. */
static const struct unit *value_unit(const struct metric_label *label, bool is_custom)
{
	if (is_custom)
		return label->unit ? unit_find(label->unit) : NULL;
	if (label->spec->convert)
		return label->spec->convert;
	return label->spec->entry->unit ? unit_find(label->spec->entry->unit) : NULL;
}

/* Puts a figure among those of its family, which is made if there is none. */
static void join_family(struct collecting *r, struct prom_figure *f)
{
	const char *name = f->name.family;
	struct prom_family **bucket =
		&r->by_name[siphash24(name, strlen(name)) % BUCKETS];
	struct prom_family *family = *bucket;

	while (family && strcmp(family->first->name.family, name) != 0)
		family = family->next;
	if (!family) {
		family = xcalloc(1, sizeof(*family));
		*family = (struct prom_family){ .next = *bucket, .first = f };
		*bucket = family;
		r->families = xgrow(r->families, r->n_families, &r->cap_families,
			sizeof(struct prom_family *));
		r->families[r->n_families++] = family;
	}
	family->n_figures++;
	f->family = family;
}

static struct prom_figure *figure_new(struct collecting *r, struct prom_name name)
{
	struct prom_figure *f = xcalloc(1, sizeof(*f));

	f->name = name;
	f->all = r->figures;
	r->figures = f;
	if (name.family)
		join_family(r, f);
	return f;
}

static struct prom_figure *figure_of_label(
	struct collecting *r, const struct metric_label *label, bool is_host)
{
	const struct metric_spec *spec = label->spec;
	const struct catalogue_entry *e = spec->entry;
	bool is_custom = !e || spec->kind != SPEC_SOURCE;
	const struct unit *unit = value_unit(label, is_custom);
	/* the pattern, so that all of one kind are one family */
	const char *shown = label->index ? spec->name : label->name;
	struct prom_figure *f = figure_new(r,
		is_custom ? prom_name_custom(is_host, shown, unit,
				    e && e->kind == KIND_COUNTER, e ? e->help : NULL)
			  : prom_name_source(e));

	if (spec->element)
		prom_name_tell_apart(&f->name, shown);
	f->label = label;
	f->is_host = is_host;
	f->is_custom = is_custom;
	set_scale(f, unit);
	return f;
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

/* Of a name that an action printed; each VM may have a label for it. */
static struct prom_figure *own_figure(
	struct collecting *r, const struct metric_label *label, bool is_host)
{
	struct prom_figure **bucket = &r->own[label->name_hash % BUCKETS];

	for (struct prom_figure *f = *bucket; f; f = f->next)
		if (f->is_host == is_host && !strcmp(f->label->name, label->name) &&
			same_text(f->label->unit, label->unit))
			return f;
	struct prom_figure *f = figure_of_label(r, label, is_host);

	f->next = *bucket;
	*bucket = f;
	return f;
}

static struct set_figures *figures_of_set(
	struct collecting *r, const struct spec_set *specs)
{
	for (size_t i = r->n_sets; i-- > 0;)
		if (r->sets[i].specs == specs)
			return &r->sets[i];
	r->sets = xgrow(r->sets, r->n_sets, &r->cap_sets, sizeof(*r->sets));
	r->sets[r->n_sets] = (struct set_figures){ .specs = specs,
		.by_slot = xcalloc(specs->n + 1, sizeof(struct prom_figure *)) };
	return &r->sets[r->n_sets++];
}

static const struct prom_figure *figure_of(struct collecting *r,
	const struct spec_set *specs, const struct metric_label *label, bool is_host)
{
	enum spec_kind kind = label->spec->kind;

	if (kind == SPEC_GROUP || kind == SPEC_XML)
		return own_figure(r, label, is_host);
	struct prom_figure **f = &figures_of_set(r, specs)->by_slot[label->slot];

	if (!*f)
		*f = figure_of_label(r, label, is_host);
	return *f;
}

/* ---- collecting ---- */

static void add_sample(struct collecting *r, const struct prom_figure *f,
	const struct metric *m, uint32_t scope)
{
	r->samples = xgrow(r->samples, r->n, &r->cap, sizeof(*r->samples));
	r->samples[r->n] = (struct prom_sample){
		.figure = f, .m = m, .scope = scope, .order = (uint32_t)r->n
	};
	r->n++;
	f->family->n++;
}

/* A text that an action prints may be anything, and is no sample. */
static bool fits_role(enum metric_type type, enum prom_role role)
{
	if ((type == METRIC_HISTOGRAM) != (role == PROM_HISTOGRAM))
		return false;
	return type != METRIC_STRING || role == PROM_INFO;
}

static void collect_one(struct collecting *r, const struct snapshot *s,
	const struct metric *m, struct metric_place place, uint32_t scope)
{
	if (!m->available)
		return;
	const struct prom_figure *f =
		figure_of(r, s->lists[place.list]->specs, m->label, s->is_host);

	if (f->family && fits_role(m->value.type, f->name.role))
		add_sample(r, f, m, scope);
}

static void collect(struct collecting *r, const struct snapshot *s, uint32_t scope)
{
	for (size_t i = 0; i < s->n; i++)
		collect_one(r, s, snapshot_metric(s, i), s->places->at[i], scope);
	for (size_t i = 0; i < s->n_histograms; i++)
		collect_one(r, s, snapshot_histogram(s, i), s->histograms[i], scope);
}

static void collect_all(struct collecting *r, const struct view *view)
{
	struct prom_figure *vm_info = NULL;

	collect(r, view->host, 0);
	for (size_t i = 0; i < view->n_vms; i++) {
		if (!vm_info)
			vm_info = figure_new(r,
				(struct prom_name){ .role = PROM_INFO,
					.family = xstrdup("vhostmd_vm_info"),
					.help = PROM_INFO_HELP,
					.unit = "" });
		add_sample(r, vm_info, NULL, (uint32_t)i + 1);
		collect(r, view->vms[i], (uint32_t)i + 1);
	}
}

static int compare_families(const void *a, const void *b)
{
	const struct prom_family *const *x = a, *const *y = b;

	return strcmp((*x)->first->name.family, (*y)->first->name.family);
}

/* Families by name; a family's samples keep the view's order. */
static void sort(struct collecting *r)
{
	struct prom_sample *sorted = xcalloc(r->n + 1, sizeof(*sorted));
	size_t at = 0;

	if (r->n_families)
		qsort(r->families, r->n_families, sizeof(struct prom_family *),
			compare_families);
	for (size_t i = 0; i < r->n_families; i++) {
		r->families[i]->at = at;
		at += r->families[i]->n;
		r->families[i]->n = 0;
	}
	for (size_t i = 0; i < r->n; i++) {
		struct prom_family *family = r->samples[i].figure->family;

		sorted[family->at + family->n++] = r->samples[i];
	}
	free(r->samples);
	r->samples = sorted;
}

struct prom_samples prom_samples_collect(const struct view *view)
{
	struct collecting r = { 0 };

	collect_all(&r, view);
	sort(&r);
	for (size_t i = 0; i < r.n_sets; i++)
		free(r.sets[i].by_slot);
	free(r.sets);
	return (struct prom_samples){ .at = r.samples,
		.n = r.n,
		.families = r.families,
		.n_families = r.n_families,
		.figures = r.figures };
}

void prom_samples_done(struct prom_samples *samples)
{
	while (samples->figures) {
		struct prom_figure *f = samples->figures;

		samples->figures = f->all;
		prom_name_done(&f->name);
		free(f);
	}
	for (size_t i = 0; i < samples->n_families; i++)
		free(samples->families[i]);
	free(samples->families);
	free(samples->at);
}

/* ---- which of several ---- */

bool prom_next_place(const char **pattern, const char **source, size_t *ret_len)
{
	while (**pattern && **pattern != '*' && **source) {
		++*pattern;
		++*source;
	}
	if (**pattern != '*')
		return false;
	++*pattern;
	*ret_len = strcspn(*source, ".");
	return true;
}

size_t prom_place(const struct prom_sample *sample, const char **ret)
{
	const struct prom_figure *f = sample->figure;
	size_t len = 0, n = 0;

	*ret = "";
	if (!sample->m)
		return 0;
	const struct metric_label *label = sample->m->label;

	if (sample->m->device_at && f->name.by_device) {
		*ret = metric_device(sample->m);
		return strlen(*ret);
	}
	if (f->is_custom)
		*ret = label->index ? label->index : "";
	else
		*ret = label->source;
	if (f->is_custom || f->name.role != PROM_INFO)
		return strlen(*ret);
	/* a line's labels may come from several sources: as far as the last number they agree */
	const char *pattern = label->spec->entry->name, *at = *ret;

	while (prom_next_place(&pattern, &at, &len)) {
		at += len;
		n = (size_t)(at - *ret);
	}
	return n;
}

int prom_compare_places(const struct prom_sample *x, const struct prom_sample *y)
{
	const char *a = NULL, *b = NULL;
	size_t len_a = prom_place(x, &a), len_b = prom_place(y, &b);
	int c = memcmp(a, b, len_a < len_b ? len_a : len_b);

	return c ? c : (len_a > len_b) - (len_a < len_b);
}

static int compare_samples(const void *a, const void *b)
{
	const struct prom_sample *x = a, *y = b;
	int c = prom_compare_places(x, y);

	return c ? c : (x->order > y->order) - (x->order < y->order);
}

void prom_sort_places(struct prom_sample *at, size_t n)
{
	if (n > 1)
		qsort(at, n, sizeof(*at), compare_samples);
}

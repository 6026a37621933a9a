/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/render_prom.h"

#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/blob.h"
#include "core/catalogue.h"
#include "core/histogram.h"
#include "core/prom_label.h"
#include "core/prom_samples.h"
#include "core/render_stolen.h"
#include "core/snapshot.h"
#include "util/cleanup.h"
#include "util/mem.h"
#include "util/strbuf.h"

/* Integers up to here are doubles, too. */
#define EXACT_MAX (UINT64_C(1) << 53)

struct rendering {
	const struct view *view;
	struct prom_samples samples;
	struct strbuf vms; /* what all labels of a VM begin with, one VM after another */
	size_t *vms_at;    /* where each VM's start; one more than VMs */
	struct strbuf value; /* scratch */
	/* of a figure's histograms, one behind the other */
	struct strbuf bounds;
	size_t bounds_at[HISTOGRAM_BUCKETS + 1];
	const struct prom_figure *bounds_of; /* NULL: of none yet */
	uint32_t bounds_kind;
	bool is_open; /* OpenMetrics */
};

/* ---- lines ---- */

static void add_vm_labels(struct rendering *r)
{
	const struct view *view = r->view;

	r->vms_at = xcalloc(view->n_vms + 1, sizeof(*r->vms_at));
	for (size_t i = 0; i < view->n_vms; i++) {
		const struct snapshot *vm = view->vms[i];
		char separator = '{';

		prom_add_label("uuid", vm->uuid_text, strlen(vm->uuid_text), &separator,
			&r->vms);
		prom_add_label(
			"name", vm->vm.name, strlen(vm->vm.name), &separator, &r->vms);
		r->vms_at[i + 1] = r->vms.len;
	}
}

/* Whose it is, and which one of several. */
static void add_labels(struct rendering *r, const struct prom_sample *sample,
	char *separator, struct strbuf *out)
{
	const struct prom_figure *f = sample->figure;
	const struct metric *m = sample->m;

	*separator = '{';
	if (sample->scope) {
		size_t at = r->vms_at[sample->scope - 1];

		strbuf_add(out, r->vms.data + at, r->vms_at[sample->scope] - at);
		*separator = ',';
	}
	if (!m)
		return;
	if (f->is_custom) {
		const char *place = NULL;
		size_t len = prom_place(sample, &place);

		if (len)
			prom_add_label(PROM_INDEX, place, len, separator, out);
		return;
	}
	const char *pattern = m->label->spec->entry->name, *at = m->label->source;
	size_t len = 0;

	for (size_t i = 0; prom_next_place(&pattern, &at, &len); at += len, i++) {
		const char *device = metric_device(m);

		if (!f->name.by_device || i + 1 < f->name.n_places)
			prom_add_label(f->name.places[i], at, len, separator, out);
		else if (device)
			prom_add_label(f->name.places[i], device, strlen(device),
				separator, out);
		else
			prom_add_label(PROM_INDEX, at, len, separator, out);
	}
}

static void add_u64(uint64_t u, int min_digits, struct strbuf *out)
{
	char digits[24], *at = digits + sizeof(digits);

	while (u || min_digits > 0) {
		*--at = (char)('0' + u % 10);
		u /= 10;
		min_digits--;
	}
	strbuf_add(out, at, (size_t)(digits + sizeof(digits) - at));
}

static bool never_falls(const struct prom_figure *f)
{
	return f->name.is_counter || f->name.role == PROM_HISTOGRAM;
}

/*
 * Return: false if nothing is to be written.  What never falls must not fall by rounding,
 * either: fifteen digits hold every integer that is less than 10^15.
 */
static bool add_real(const struct prom_figure *f, double real, struct strbuf *out)
{
	double v = real * (double)f->mul / (double)f->div, size = fabs(v);

	if (!isfinite(v) || (size > (double)EXACT_MAX && !never_falls(f)))
		return false;
	if (size <= (double)EXACT_MAX && size - floor(size) <= 0)
		strbuf_addf(out, "%.0f", v);
	else
		strbuf_addf(out, size < 1e15 ? "%.15g" : "%.17g", v);
	return true;
}

static bool add_integer(
	const struct prom_figure *f, bool negative, uint64_t size, struct strbuf *out)
{
	bool is_exact = size <= EXACT_MAX / f->mul;

	if (!is_exact && !never_falls(f))
		return false;
	/* a counter goes on, rounded; in seconds all digits are written */
	if (f->div == 1 ? !is_exact : f->decimals < 0)
		return add_real(f, negative ? -(double)size : (double)size, out);
	if (negative)
		strbuf_addc(out, '-');
	add_u64(f->div > 1 ? size / f->div : size * f->mul, 1, out);
	if (f->div > 1 && size % f->div) {
		strbuf_addc(out, '.');
		add_u64(size % f->div, f->decimals, out);
		while (out->data[out->len - 1] == '0')
			out->data[--out->len] = '\0';
	}
	return true;
}

/* Return: false if it is not to be written: no limit, or more than a double holds. */
static bool add_value(
	const struct prom_figure *f, const struct value *v, struct strbuf *out)
{
	switch (v->type) {
	case METRIC_INT32:
	case METRIC_INT64:
		return add_integer(
			f, v->i < 0, v->i < 0 ? 0 - (uint64_t)v->i : (uint64_t)v->i, out);
	case METRIC_UINT32:
	case METRIC_UINT64:
		return add_integer(f, false, v->u, out);
	case METRIC_REAL32:
	case METRIC_REAL64:
		return add_real(f, v->real, out);
	default:
		return false;
	}
}

/* ---- what is said of a family ---- */

/*
 * What OpenMetrics has in front of the suffix that it asks the samples of a type for.  No other
 * family is called so: test-prom-names walks the catalogue, and what has no source is a gauge.
 */
static int stem_length(const struct prom_name *name)
{
	const char *suffix = name->role == PROM_INFO ? "_info"
		: name->is_counter                   ? "_total"
						     : "";

	return (int)(strlen(name->family) - strlen(suffix));
}

static void add_header(
	const struct rendering *r, const struct prom_figure *f, struct strbuf *out)
{
	const struct prom_name *name = &f->name;
	const char *help = name->help, *family = name->family;
	const char *type = name->is_counter             ? "counter"
		: name->role == PROM_HISTOGRAM          ? "histogram"
		: r->is_open && name->role == PROM_INFO ? "info"
							: "gauge";
	int n = r->is_open ? stem_length(name) : (int)strlen(family);

	strbuf_addf(out, "# HELP %.*s ", n, family);
	if (!help) {
		prom_add_escaped(f->label->name, strlen(f->label->name), r->is_open, out);
		help = ", as the configuration calls it";
	}
	prom_add_escaped(help, strlen(help), r->is_open, out);
	strbuf_addf(out, ".\n# TYPE %.*s %s\n", n, family, type);
	if (r->is_open && *name->unit)
		strbuf_addf(out, "# UNIT %.*s %s\n", n, family, name->unit);
}

/* ---- histograms ---- */

#define NO_BUCKET SIZE_MAX

/* As OpenMetrics has bounds: with a point, or an exponent. */
static void add_bound(const struct prom_figure *f, uint64_t bound, struct strbuf *out)
{
	size_t at = out->len;

	strbuf_addf(out, "%.15g", (double)bound * (double)f->mul / (double)f->div);
	if (!strpbrk(out->data + at, ".e"))
		strbuf_adds(out, ".0");
}

/* The label of each bucket of a figure, once: they cost more than the rest of their lines. */
static void find_bounds(struct rendering *r, const struct prom_figure *f, uint32_t kind)
{
	const struct histogram_bounds *bounds = histogram_bounds(kind);

	if (r->bounds_of == f && r->bounds_kind == kind)
		return;
	r->bounds_of = f;
	r->bounds_kind = kind;
	strbuf_clear(&r->bounds);
	for (size_t i = 0; i <= bounds->n; i++) {
		r->bounds_at[i] = r->bounds.len;
		strbuf_adds(&r->bounds, "le=\"");
		if (i < bounds->n)
			add_bound(f, bounds->at[i], &r->bounds);
		else
			strbuf_adds(&r->bounds, "+Inf");
		strbuf_adds(&r->bounds, "\"} ");
	}
	r->bounds_at[bounds->n + 1] = r->bounds.len;
}

/*
 * A line but for its value, which follows.  @labels: of all lines; @separator: what follows them;
 * @bucket: NO_BUCKET: it is of none.
 */
static void begin_line(const struct rendering *r, const char *family, const char *suffix,
	const struct strbuf *labels, char separator, size_t bucket, struct strbuf *out)
{
	strbuf_adds(out, family);
	strbuf_adds(out, suffix);
	strbuf_add(out, strbuf_str(labels), labels->len);
	if (bucket == NO_BUCKET) {
		strbuf_adds(out, separator == ',' ? "} " : " ");
		return;
	}
	strbuf_addc(out, separator);
	strbuf_add(out, r->bounds.data + r->bounds_at[bucket],
		r->bounds_at[bucket + 1] - r->bounds_at[bucket]);
}

/* The lines of one: `le` as it rises, each with all of the one before. */
static void add_histogram(
	struct rendering *r, const struct prom_sample *sample, struct strbuf *out)
{
	const struct prom_figure *f = sample->figure;
	const struct histogram *h = sample->m->value.h;
	const char *family = f->name.family;
	struct strbuf *labels = &r->value;
	char separator = 0;
	uint64_t n = 0;

	find_bounds(r, f, h->kind);
	strbuf_clear(labels);
	add_labels(r, sample, &separator, labels);
	for (size_t i = 0; i <= histogram_bounds(h->kind)->n; i++) {
		begin_line(r, family, "_bucket", labels, separator, i, out);
		add_u64(n += h->counts[i], 1, out);
		strbuf_addc(out, '\n');
	}
	begin_line(r, family, "_sum", labels, separator, NO_BUCKET, out);
	add_integer(f, false, h->sum, out);
	strbuf_addc(out, '\n');
	begin_line(r, family, "_count", labels, separator, NO_BUCKET, out);
	add_u64(n, 1, out);
	strbuf_addc(out, '\n');
}

/* ---- samples ---- */

/* Samples of one scope and family, each thing once. */
static void add_samples(struct rendering *r, const struct prom_sample *at, size_t n,
	bool *has_header, struct strbuf *out)
{
	char separator = 0;

	for (size_t i = 0; i < n; i++) {
		const struct prom_figure *f = at[i].figure;

		strbuf_clear(&r->value);
		if (f->name.role != PROM_HISTOGRAM &&
			!add_value(f, &at[i].m->value, &r->value))
			continue;
		if (!*has_header)
			add_header(r, f, out);
		*has_header = true;
		if (f->name.role == PROM_HISTOGRAM) {
			add_histogram(r, &at[i], out);
			continue;
		}
		strbuf_adds(out, f->name.family);
		add_labels(r, &at[i], &separator, out);
		if (separator == ',')
			strbuf_addc(out, '}');
		strbuf_addc(out, ' ');
		strbuf_add(out, r->value.data, r->value.len);
		strbuf_addc(out, '\n');
	}
}

static bool has_label_before(const struct prom_sample *at, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (at[k].m &&
			!strcmp(at[k].figure->name.info_label,
				at[i].figure->name.info_label))
			return true;
	return false;
}

/* One line of an info: all labels of one thing. */
static void add_info(struct rendering *r, const struct prom_sample *at, size_t n,
	bool *has_header, struct strbuf *out)
{
	const struct view *view = r->view;
	char separator = 0;

	if (!*has_header)
		add_header(r, at->figure, out);
	*has_header = true;
	strbuf_adds(out, at->figure->name.family);
	add_labels(r, at, &separator, out);
	if (!at->m) {
		int id = view->vms[at->scope - 1]->vm.id;

		strbuf_clear(&r->value);
		strbuf_addf(&r->value, "%d", id);
		/* a guest may not know it */
		if (id || !view->second_hand)
			prom_add_label("id", strbuf_str(&r->value), r->value.len,
				&separator, out);
	}
	for (size_t i = 0; i < n; i++) {
		if (!at[i].m || has_label_before(at, i))
			continue;
		strbuf_clear(&r->value);
		value_format(&at[i].m->value, &r->value);
		prom_add_label(at[i].figure->name.info_label, strbuf_str(&r->value),
			r->value.len, &separator, out);
	}
	strbuf_adds(out, "} 1\n");
}

/* How many from @at on are the same thing. */
static size_t same_place(const struct prom_sample *at, size_t n)
{
	size_t k = 1;

	while (k < n && prom_compare_places(at, &at[k]) == 0)
		k++;
	return k;
}

/* All of one scope and family. */
static void add_scope(struct rendering *r, struct prom_sample *at, size_t n,
	bool *has_header, struct strbuf *out)
{
	const struct prom_figure *f = at->figure;
	bool is_info = f->name.role == PROM_INFO;

	/* one spec's own metrics differ, but for disks that share a name */
	if (!is_info &&
		(n == 1 ||
			(f->family->n_figures == 1 && !f->is_custom &&
				!f->name.by_device))) {
		add_samples(r, at, n, has_header, out);
		return;
	}
	prom_sort_places(at, n);
	for (size_t i = 0; i < n;) {
		size_t k = same_place(&at[i], n - i);

		if (is_info)
			add_info(r, &at[i], k, has_header, out);
		else
			add_samples(r, &at[i], 1, has_header, out);
		i += k;
	}
}

static void add_families(struct rendering *r, struct strbuf *out)
{
	for (size_t i = 0; i < r->samples.n_families; i++) {
		const struct prom_family *family = r->samples.families[i];
		struct prom_sample *at = &r->samples.at[family->at];
		bool has_header = false;

		for (size_t first = 0, k = 0; first < family->n; first = k) {
			for (k = first + 1; k < family->n; k++)
				if (at[k].scope != at[first].scope)
					break;
			add_scope(r, &at[first], k - first, &has_header, out);
		}
	}
}

/* About vhostmd itself: who only repeats what it told cannot say that. */
static void add_self(bool is_open, struct strbuf *out)
{
	const char *build = is_open ? "vhostmd_build" : "vhostmd_build_info";

	strbuf_adds(out,
		"# HELP vhostmd_up 1: vhostmd serves this.\n"
		"# TYPE vhostmd_up gauge\n"
		"vhostmd_up 1\n");
	strbuf_addf(out,
		"# HELP %s Version of vhostmd, as a label.\n"
		"# TYPE %s %s\n"
		"vhostmd_build_info{version=\"" VHOSTMD_VERSION "\"} 1\n",
		build, build, is_open ? "info" : "gauge");
}

static struct blob *render(struct view *view, bool is_open, struct blob *_Atomic *cache)
{
	struct blob *cached = atomic_load_explicit(cache, memory_order_acquire);
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct rendering r = { .view = view, .is_open = is_open };
	int64_t time_ns = view->host->time_ns;

	if (cached)
		return cached;
	for (size_t i = 0; i < view->n_vms; i++)
		if (view->vms[i]->time_ns > time_ns)
			time_ns = view->vms[i]->time_ns;
	if (!view->second_hand)
		add_self(is_open, &out);
	add_vm_labels(&r);
	r.samples = prom_samples_collect(view);
	add_families(&r, &out);
	render_stolen(view, is_open, &out);
	if (is_open)
		strbuf_adds(&out, "# EOF\n");
	prom_samples_done(&r.samples);
	free(r.vms_at);
	strbuf_done(&r.vms);
	strbuf_done(&r.value);
	strbuf_done(&r.bounds);
	return blob_cache_set(
		cache, blob_new(out.data, out.len, view->generation, time_ns));
}

struct blob *render_prom_view(struct view *view)
{
	return render(view, false, &view->prom);
}

struct blob *render_openmetrics_view(struct view *view)
{
	return render(view, true, &view->openmetrics);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/render_prom.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/blob.h"
#include "core/catalogue.h"
#include "core/snapshot.h"
#include "core/unit.h"
#include "util/cleanup.h"
#include "util/mem.h"
#include "util/strbuf.h"

/* One line to be: a metric of a scope under its family's name. */
struct sample {
	char *family; /* owned */
	const struct snapshot *s;
	const struct metric *m;
	size_t order;
};

static bool is_upper(char c)
{
	return c >= 'A' && c <= 'Z';
}

static bool is_lower(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* A new word starts at an upper-case letter after a lower-case one or before one. */
static bool word_starts(const char *name, const char *p)
{
	return p > name && is_upper(*p) &&
		(is_lower(p[-1]) ||
			(is_upper(p[-1]) && p[1] >= 'a' && p[1] <= 'z' && p[1] != 's'));
}

/* Words that the naming rules take for abbreviated units or for types, or reserve as a
 * name's last word. */
static const struct {
	const char *word, *instead;
	bool last_only;
} reworded[] = {
	{ "count", "number", true },
	{ "sum", "all", true },
	{ "bucket", "group", true },
	{ "total", "all", true },
	{ "info", "text", true },
	{ "s", "second", false },
	{ "ms", "millisecond", false },
	{ "us", "microsecond", false },
	{ "ns", "nanosecond", false },
	{ "sec", "second", false },
	{ "b", "byte", false },
	{ "kb", "kilobyte", false },
	{ "mb", "megabyte", false },
	{ "gb", "gigabyte", false },
	{ "tb", "terabyte", false },
	{ "pb", "petabyte", false },
	{ "m", "minute", false },
	{ "h", "hour", false },
	{ "d", "day", false },
	{ "gauge", "value", false },
	{ "counter", "value", false },
	{ "histogram", "value", false },
	{ "summary", "value", false },
	{ "untyped", "value", false },
};

static void add_word(const char *word, bool last, struct strbuf *out)
{
	if (!*word)
		return;
	for (size_t i = 0; i < ARRAY_LEN(reworded); i++)
		if (!strcmp(word, reworded[i].word) && (last || !reworded[i].last_only))
			word = reworded[i].instead;
	if (out->len)
		strbuf_addc(out, '_');
	strbuf_adds(out, word);
}

void render_prom_name(const char *name, struct strbuf *out)
{
	_cleanup_strbuf_ struct strbuf word = STRBUF_INIT;

	for (const char *p = name; *p; p++) {
		bool keep = is_upper(*p) || is_lower(*p);

		if (!keep || word_starts(name, p)) {
			add_word(strbuf_str(&word), false, out);
			strbuf_clear(&word);
		}
		if (keep)
			strbuf_addc(&word, is_upper(*p) ? (char)(*p - 'A' + 'a') : *p);
	}
	add_word(strbuf_str(&word), true, out);
}

/* The unit that the value is in: what a source was converted to, else what is shown. */
static const struct unit *value_unit(const struct metric *m)
{
	if (m->label->spec->kind == SPEC_SOURCE)
		return m->label->spec->convert ? m->label->spec->convert
			: m->label->spec->entry->unit
			? unit_find(m->label->spec->entry->unit)
			: NULL;
	return m->label->unit ? unit_find(m->label->unit) : NULL;
}

static bool is_counter(const struct metric *m)
{
	return m->label->spec->entry && m->label->spec->entry->kind == KIND_COUNTER;
}

static char *family_name(const struct snapshot *s, const struct metric *m)
{
	const struct unit *unit = value_unit(m);
	/* The pattern, so that all of vcpu.*.delay are one family. */
	const char *name = m->label->index ? m->label->spec->name : m->label->name;
	_cleanup_strbuf_ struct strbuf plain = STRBUF_INIT;
	struct strbuf out = STRBUF_INIT;

	render_prom_name(name, &plain);
	/* vhostmd's own figures are not the host's */
	if (s->is_host && !strncmp(strbuf_str(&plain), "vhostmd_", 8))
		strbuf_adds(&out, strbuf_str(&plain));
	else
		strbuf_addf(&out, "vhostmd_%s_%s", s->is_host ? "host" : "vm",
			strbuf_str(&plain));
	if (m->value.type == METRIC_STRING) {
		strbuf_adds(&out, "_info");
		return strbuf_steal(&out);
	}
	if (unit && *unit->prom_base) {
		size_t n = strlen(unit->prom_base);

		/* rd.bytes is already named for its unit */
		if (out.len < n || strcmp(out.data + out.len - n, unit->prom_base))
			strbuf_addf(&out, "_%s", unit->prom_base);
	}
	if (is_counter(m))
		strbuf_adds(&out, "_total");
	return strbuf_steal(&out);
}

static void add_label(
	const char *name, const char *value, bool *first, struct strbuf *out)
{
	strbuf_addf(out, "%s%s=\"", *first ? "{" : ",", name);
	*first = false;
	for (; *value; value++) {
		if (*value == '\\' || *value == '"')
			strbuf_addc(out, '\\');
		if (*value == '\n')
			strbuf_adds(out, "\\n");
		else
			strbuf_addc(out, *value);
	}
	strbuf_addc(out, '"');
}

/* Which of the metrics of its name it is; NULL: the only one.  A device's number may change. */
static const char *place_of(const struct metric *m)
{
	return m->device_at ? metric_device(m) : m->label->index;
}

static void add_labels(const struct sample *sample, struct strbuf *out)
{
	const struct metric *m = sample->m;
	bool first = true;

	if (!sample->s->is_host) {
		_cleanup_free_ char *id = xasprintf("%d", sample->s->vm.id);

		add_label("name", sample->s->vm.name, &first, out);
		add_label("uuid", sample->s->uuid_text, &first, out);
		add_label("id", id, &first, out);
	}
	if (place_of(m))
		add_label(m->device_at ? "device" : "index", place_of(m), &first, out);
	if (m->value.type == METRIC_STRING) {
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

		value_format(&m->value, &text);
		add_label("value", strbuf_str(&text), &first, out);
	}
	if (!first)
		strbuf_addc(out, '}');
}

static void add_value(const struct metric *m, struct strbuf *out)
{
	const struct unit *unit = value_unit(m);
	struct value real;

	if (m->value.type == METRIC_STRING) {
		strbuf_addc(out, '1');
	} else if (!unit || unit->factor == unit->prom_divisor) {
		value_format(&m->value, out);
	} else {
		value_cast(&m->value, METRIC_REAL64, &real);
		strbuf_addf(out, "%.17g",
			real.real * (double)unit->factor / (double)unit->prom_divisor);
	}
}

static void add_header(const struct sample *sample, struct strbuf *out)
{
	const struct catalogue_entry *e = sample->m->label->spec->entry;

	strbuf_addf(out, "# HELP %s ", sample->family);
	if (e)
		strbuf_adds(out, e->help);
	else
		strbuf_adds(out, "Printed by an action of the configuration");
	strbuf_addf(out, ".\n# TYPE %s %s\n", sample->family,
		is_counter(sample->m) ? "counter" : "gauge");
}

static int compare_samples(const void *a, const void *b)
{
	const struct sample *x = a, *y = b;
	int c = strcmp(x->family, y->family);

	if (c)
		return c;
	return x->order < y->order ? -1 : x->order > y->order;
}

struct samples {
	struct sample *at;
	size_t n, cap;
};

static void collect(const struct snapshot *s, struct samples *all)
{
	for (size_t i = 0; i < s->n; i++) {
		if (!snapshot_metric(s, i)->available)
			continue;
		all->at = xgrow(all->at, all->n, &all->cap, sizeof(*all->at));
		all->at[all->n] =
			(struct sample){ .family = family_name(s, snapshot_metric(s, i)),
				.s = s,
				.m = snapshot_metric(s, i),
				.order = all->n };
		all->n++;
	}
}

/* Metrics that differ only in what the names here drop must not come out twice. */
static bool is_duplicate(const struct sample *a, const struct sample *b)
{
	const char *pa = place_of(a->m), *pb = place_of(b->m);

	return a->s == b->s && !strcmp(pa ? pa : "", pb ? pb : "");
}

static void add_samples(const struct samples *all, struct strbuf *out)
{
	const char *family = "";
	size_t first = 0;

	for (size_t i = 0; i < all->n; i++) {
		const struct sample *sample = &all->at[i];
		bool duplicate = false;

		if (strcmp(family, sample->family) != 0) {
			family = sample->family;
			first = i;
			add_header(sample, out);
		}
		/* One scope's samples of a family stand together. */
		for (size_t k = i; k > first && all->at[k - 1].s == sample->s; k--)
			duplicate |= is_duplicate(&all->at[k - 1], sample);
		if (duplicate)
			continue;
		strbuf_adds(out, sample->family);
		add_labels(sample, out);
		strbuf_addc(out, ' ');
		add_value(sample->m, out);
		strbuf_addc(out, '\n');
	}
}

struct blob *render_prom_view(struct view *view)
{
	struct blob *cached = atomic_load_explicit(&view->prom, memory_order_acquire);
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct samples all = { 0 };
	int64_t time_ns = view->host->time_ns;

	if (cached)
		return cached;
	collect(view->host, &all);
	for (size_t i = 0; i < view->n_vms; i++) {
		collect(view->vms[i], &all);
		if (view->vms[i]->time_ns > time_ns)
			time_ns = view->vms[i]->time_ns;
	}
	if (all.n)
		qsort(all.at, all.n, sizeof(*all.at), compare_samples);
	add_samples(&all, &out);
	for (size_t i = 0; i < all.n; i++)
		free(all.at[i].family);
	free(all.at);
	return blob_cache_set(
		&view->prom, blob_new(out.data, out.len, view->generation, time_ns));
}

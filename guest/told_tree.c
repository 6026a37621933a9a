/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Names, units, types and help are those of the catalogue where a figure is known by its name and
 * unit, so that it is called the same on both sides.  What the document does not tell (where a metric is from) is told by its name: it is
 * a source's, or one that the default configuration gives to a source.
 */
#include <stdlib.h>
#include <string.h>

#include "core/blob.h"
#include "core/catalogue.h"
#include "core/metric_list.h"
#include "core/render_prom.h"
#include "core/snapshot.h"
#include "core/spec.h"
#include "core/unit.h"
#include "told.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/mem.h"
#include "util/strbuf.h"

/* conf/vhostmd.conf: "the host, under the names that guests know" */
static const struct {
	const char *name, *source;
	bool is_host;
} usual[] = {
	{ "HostName", "host.name", true },
	{ "VirtualizationVendor", "host.virt.vendor", true },
	{ "VirtualizationProductInfo", "host.virt.product", true },
	{ "TotalPhyCPUs", "host.cpu.count", true },
	{ "NumCPUs", "host.cpu.count", true },
	{ "TotalPhyMem", "host.mem.total", true },
	{ "UsedMem", "host.mem.used", true },
	{ "FreeMem", "host.mem.available", true },
	{ "PagedInMemory", "host.page.in", true },
	{ "PagedOutMemory", "host.page.out", true },
	{ "PageInRate", "host.page.in.rate", true },
	{ "PageFaultRate", "host.page.fault.rate", true },
	{ "TotalCPUTime", "host.cpu.time", true },
	{ "TotalCPUTime", "cpu.time", false },
};

static const struct catalogue_entry *entry_of(const struct told_metric *m)
{
	const char *source = m->name;

	for (size_t i = 0; i < ARRAY_LEN(usual); i++)
		if (usual[i].is_host == m->is_host && !strcmp(usual[i].name, m->name))
			source = usual[i].source;
	const struct catalogue_entry *e = catalogue_find(source);

	/* a histogram is told to no guest */
	return e && (e->context == CONTEXT_HOST) == m->is_host &&
			e->type != METRIC_HISTOGRAM
		? e
		: NULL;
}

/* What stands for each '*' of @pattern in @name, separated by '.'.  Return: false if it is none. */
static bool index_of(const char *pattern, const char *name, struct strbuf *out)
{
	for (; *pattern; pattern++) {
		if (*pattern != '*') {
			if (*pattern != *name++)
				return false;
			continue;
		}
		size_t n = strcspn(name, ".");

		if (!n)
			return false;
		if (out->len)
			strbuf_addc(out, '.');
		strbuf_add(out, name, n);
		name += n;
	}
	return !*name;
}

/* Says of a spec what the host's own has.  @index: gets what replaces '*'. */
static void describe(
	struct metric_spec *spec, const struct told_metric *m, struct strbuf *index)
{
	const struct catalogue_entry *e = entry_of(m);
	const struct unit *shown = *m->unit ? unit_find(m->unit) : NULL;
	const struct unit *native = e && e->unit ? unit_find(e->unit) : NULL;
	bool has_stars = e && strchr(e->name, '*');

	*spec = (struct metric_spec){ .context = m->is_host ? CONTEXT_HOST : CONTEXT_VM,
		.kind = SPEC_ACTION,
		.type = (enum metric_type)m->type,
		.unit = *m->unit ? xstrdup(m->unit) : NULL,
		.guest = true };
	if (has_stars && !index_of(e->name, m->name, index)) {
		strbuf_clear(index);
		e = NULL;
	}
	spec->name = xstrdup(e && has_stars ? e->name : m->name);
	spec->entry = e;
	/* a figure without a unit may be in any that the host's configuration converts to */
	bool known = e &&
		(native ? (shown ? shown->dimension == native->dimension
				 : !strcmp(e->unit, "1"))
			: spec->type == METRIC_STRING);

	if (known) {
		spec->kind = SPEC_SOURCE;
		spec->source = xstrdup(e->name);
		spec->convert = shown;
	}
}

static struct value value_of(const struct told_metric *m)
{
	struct value v = { .type = (enum metric_type)m->type };

	switch (v.type) {
	case METRIC_INT32:
	case METRIC_INT64:
		v.i = m->i;
		break;
	case METRIC_UINT32:
	case METRIC_UINT64:
		v.u = m->u;
		break;
	case METRIC_REAL32:
	case METRIC_REAL64:
		v.real = m->real;
		break;
	default:
		v.s = m->text;
		break;
	}
	return v;
}

/* What is shown of the host, or of the VM. */
struct scope {
	struct spec_set *specs;
	struct metric_list *list; /* NULL: nothing was shown yet */
	uint64_t shape;
	int64_t shape_ns;
};

struct told_tree {
	struct tree *tree;
	uint64_t generation;
	struct scope host, vm;
};

struct told_tree *told_tree_new(void)
{
	struct told_tree *t = xcalloc(1, sizeof(*t));

	t->tree = tree_new();
	/* nobody else has it yet */
	_cleanup_view_ struct view *empty = tree_view(t->tree);

	empty->second_hand = true;
	return t;
}

static void scope_done(struct scope *scope)
{
	metric_list_unref(scope->list);
	spec_set_unref(scope->specs);
	*scope = (struct scope){ 0 };
}

void told_tree_free(struct told_tree *t)
{
	if (!t)
		return;
	scope_done(&t->host);
	scope_done(&t->vm);
	tree_free(t->tree);
	free(t);
}

struct tree *told_tree_readers(const struct told_tree *t)
{
	return t->tree;
}

static bool same_specs(const struct spec_set *a, const struct spec_set *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (!spec_equal(&a->specs[i], &b->specs[i]))
			return false;
	return true;
}

/* A metric's specs are those of the reading before if they say the same. */
static struct spec_set *specs_of(const struct scope *scope,
	const struct told_metric *const *metrics, size_t n, struct strbuf *indexes)
{
	struct spec_set *specs = spec_set_new(n);

	for (size_t i = 0; i < n; i++)
		describe(&specs->specs[i], metrics[i], &indexes[i]);
	if (!scope->specs || !same_specs(specs, scope->specs))
		return specs;
	spec_set_unref(specs);
	return spec_set_ref(scope->specs);
}

static struct metric_list *list_of(struct spec_set *specs,
	const struct told_metric *const *metrics, size_t n, const struct strbuf *indexes,
	int64_t time_ns)
{
	struct metric_list_builder *b = metric_list_builder_new(specs, time_ns);

	for (size_t i = 0; i < n; i++) {
		struct value v = value_of(metrics[i]);

		metric_list_builder_add(b, (uint32_t)i,
			indexes[i].len ? strbuf_str(&indexes[i]) : NULL, &v);
	}
	return metric_list_builder_finish(b);
}

static int compare_names(const void *a, const void *b)
{
	const struct told_metric *const *m = a, *const *n = b;
	int r = strcmp((*m)->name, (*n)->name);

	return r ? r : (*m > *n) - (*m < *n);
}

static int compare_places(const void *a, const void *b)
{
	const struct told_metric *const *m = a, *const *n = b;

	return (*m > *n) - (*m < *n);
}

/* Those of one context, in their order, each name once. */
static size_t choose(const struct told_metric *metrics, size_t n, bool is_host,
	const struct told_metric **ret)
{
	size_t n_all = 0, n_once = 0;

	for (size_t i = 0; i < n; i++)
		if (metrics[i].is_host == is_host)
			ret[n_all++] = &metrics[i];
	qsort(ret, n_all, sizeof(*ret), compare_names);
	for (size_t i = 0; i < n_all; i++)
		if (!n_once || strcmp(ret[n_once - 1]->name, ret[i]->name) != 0)
			ret[n_once++] = ret[i];
	qsort(ret, n_once, sizeof(*ret), compare_places);
	return n_once;
}

static struct snapshot *snapshot_of(struct told_tree *t, struct scope *scope,
	const struct told_metric *metrics, size_t n_metrics, const struct vm_ident *vm,
	int64_t time_ns)
{
	_cleanup_free_ const struct told_metric **chosen =
		xcalloc(n_metrics + 1, sizeof(struct told_metric *));
	size_t n = choose(metrics, n_metrics, !vm, chosen);
	_cleanup_free_ struct strbuf *indexes = xcalloc(n + 1, sizeof(*indexes));
	struct spec_set *specs = specs_of(scope, chosen, n, indexes);
	struct metric_list *list = list_of(specs, chosen, n, indexes, time_ns);

	for (size_t i = 0; i < n; i++)
		strbuf_done(&indexes[i]);
	if (specs == scope->specs)
		metric_list_carry(list, scope->list);
	metric_list_unref(scope->list);
	spec_set_unref(scope->specs);
	scope->list = list;
	scope->specs = specs;
	struct snapshot *s = snapshot_new(vm, t->generation, &list, 1, clock_mono_ns());

	if (!scope->shape_ns || scope->shape != s->shape)
		scope->shape_ns = time_ns;
	scope->shape = s->shape;
	s->shape_ns = scope->shape_ns;
	return s;
}

void told_tree_show(struct told_tree *t, const struct told_metric *metrics, size_t n,
	const char *uuid, int64_t time_ns)
{
	struct vm_ident ident = { .name = uuid ? uuid : "" };
	struct snapshot *host, *vm = NULL;
	bool has_vm = false;

	if (uuid)
		(void)uuid_parse(uuid, &ident.uuid);
	for (size_t i = 0; i < n; i++) {
		has_vm |= !metrics[i].is_host;
		if (!metrics[i].is_host && !strcmp(metrics[i].name, "domain.name"))
			ident.name = metrics[i].text;
		if (!metrics[i].is_host && !strcmp(metrics[i].name, "domain.id"))
			ident.id = (int)metrics[i].i;
	}
	t->generation++;
	if (has_vm)
		vm = snapshot_of(t, &t->vm, metrics, n, &ident, time_ns);
	else
		scope_done(&t->vm);
	host = snapshot_of(t, &t->host, metrics, n, NULL, time_ns);
	struct view *view = tree_prepare(t->tree, t->generation, host, &vm, has_vm);

	view->second_hand = true;
	tree_set(t->tree, view);
}

void told_tree_prometheus(const struct told_tree *t, struct strbuf *out)
{
	_cleanup_view_ struct view *view = tree_view(t->tree);
	const struct blob *text = render_prom_view(view);

	strbuf_add(out, text->data, text->size);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Metrics of a guest as the host's own metrics.prom has them: names, units, types and help are
 * those of the catalogue, so that a figure is called the same on both sides.  What the document
 * does not tell (where a metric is from) is told by its name: it is a source's, or one that the
 * default configuration gives to a source.
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
#include "dump.h"
#include "util/cleanup.h"
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

static const struct catalogue_entry *entry_of(const struct dump_metric *m)
{
	const char *source = m->name;

	for (size_t i = 0; i < ARRAY_LEN(usual); i++)
		if (usual[i].is_host == m->is_host && !strcmp(usual[i].name, m->name))
			source = usual[i].source;
	const struct catalogue_entry *e = catalogue_find(source);

	return e && (e->context == CONTEXT_HOST) == m->is_host ? e : NULL;
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
	struct metric_spec *spec, const struct dump_metric *m, struct strbuf *index)
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
	if (e && native &&
		(shown ? shown->dimension == native->dimension : !strcmp(e->unit, "1"))) {
		spec->kind = SPEC_SOURCE;
		spec->source = xstrdup(e->name);
		spec->convert = shown;
	}
}

static struct value value_of(const struct dump_metric *m)
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

static struct snapshot *snapshot_of(const struct dump_metric *metrics, size_t n,
	bool is_host, const struct vm_ident *vm)
{
	struct spec_set *specs = spec_set_new(n);
	struct metric_list_builder *b = metric_list_builder_new(specs, 0);

	for (size_t i = 0; i < n; i++) {
		_cleanup_strbuf_ struct strbuf index = STRBUF_INIT;
		struct value v = value_of(&metrics[i]);

		describe(&specs->specs[i], &metrics[i], &index);
		if (metrics[i].is_host == is_host)
			metric_list_builder_add(b, (uint32_t)i,
				index.len ? strbuf_str(&index) : NULL, &v);
	}
	_cleanup_metric_list_ struct metric_list *list = metric_list_builder_finish(b);

	spec_set_unref(specs);
	return snapshot_new(vm, 1, &list, 1, 0);
}

void dump_prom(
	const struct dump_metric *metrics, size_t n, const char *uuid, struct strbuf *out)
{
	struct vm_ident ident = { .name = "" };
	struct snapshot *vm = NULL;
	struct tree *tree = tree_new();
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
	if (has_vm)
		vm = snapshot_of(metrics, n, false, &ident);
	tree_publish(tree, 1, snapshot_of(metrics, n, true, NULL), &vm, has_vm);
	_cleanup_view_ struct view *view = tree_view(tree);
	const struct blob *text = render_prom_view(view);

	strbuf_add(out, text->data, text->size);
	tree_free(tree);
}

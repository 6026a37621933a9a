/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libvirt's statistics of a domain, in which QEMU names figures of its own.  A line each: a
 * letter for the type, the name, '=', and the value; an empty line is followed by the next
 * sample.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "collect/libvirt/stats.h"
#include "core/blob.h"
#include "core/catalogue.h"
#include "core/metric_list.h"
#include "core/render_prom.h"
#include "core/render_xml.h"
#include "core/snapshot.h"
#include "fuzz.h"
#include "model/plan.h"
#include "model/run.h"
#include "model/vm_sample.h"
#include "specs.h"
#include "util/cleanup.h"
#include "util/mem.h"
#include "util/parse.h"

#define MAX_PARAMS 64

static struct plan *everything(void)
{
	static struct plan *plan;
	const struct plan_settings settings = { .period_ns = 1 };

	if (!plan) {
		struct spec_set *specs = spec_set_new(512);

		specs->n = 0;
		add_all_of(specs, COLLECTOR_LIBVIRT);
		add_all_of(specs, COLLECTOR_USAGE);
		plan = plan_new(NULL, specs, &settings);
		spec_set_unref(specs);
	}
	return plan;
}

/* Return: false if there is no value. */
static bool set_value(virTypedParameter *p, char type, char *text)
{
	uint64_t u = strtoull(text, NULL, 10);

	switch (type) {
	case 'i':
		p->type = VIR_TYPED_PARAM_INT;
		p->value.i = (int)u;
		return true;
	case 'u':
		p->type = VIR_TYPED_PARAM_UINT;
		p->value.ui = (unsigned)u;
		return true;
	case 'l':
		p->type = VIR_TYPED_PARAM_LLONG;
		p->value.l = (long long)u;
		return true;
	case 'U':
		p->type = VIR_TYPED_PARAM_ULLONG;
		p->value.ul = u;
		return true;
	case 'd':
		p->type = VIR_TYPED_PARAM_DOUBLE;
		p->value.d = strtod(text, NULL);
		return true;
	case 'b':
		p->type = VIR_TYPED_PARAM_BOOLEAN;
		p->value.b = (char)u;
		return true;
	default:
		p->type = type == 's' ? VIR_TYPED_PARAM_STRING : 99;
		p->value.s = text;
		return true;
	}
}

/* Takes the lines of one sample. */
static int take_sample(char **rest, virTypedParameter *params)
{
	int n = 0;

	for (char *line = strsep(rest, "\n"); line && *line; line = strsep(rest, "\n")) {
		char *value = strchr(line, '=');

		if (!value || value - line < 2 || n == MAX_PARAMS)
			continue;
		*value++ = '\0';
		memset(&params[n], 0, sizeof(*params));
		strncpy(params[n].field, line + 1, sizeof(params[n].field) - 1);
		n += set_value(&params[n], line[0], value);
	}
	return n;
}

/* @text: where string values are: such an address is nobody's figure. */
static void check(const struct metric_list *list, const char *text, size_t size)
{
	for (size_t i = 0; i < list->n; i++) {
		const struct metric *m = &list->metrics[i];

		if (!m->available)
			continue;
		if (m->value.type == METRIC_UINT64 && m->value.u >= (uintptr_t)text &&
			m->value.u <= (uintptr_t)text + size)
			abort();
		if (m->value.type == METRIC_STRING &&
			!utf8_valid(m->value.s, strlen(m->value.s)))
			abort();
		if (m->label->spec->entry->collector == COLLECTOR_USAGE &&
			m->value.type == METRIC_REAL64 && !isfinite(m->value.real))
			abort();
	}
}

/* Prometheus takes nothing at all of a text that is not UTF-8. */
static void check_text(struct metric_list *list)
{
	const struct vm_ident ident = { .id = 4, .name = "vm" };
	struct snapshot *vm = snapshot_new(&ident, 1, &list, 1, 1);
	struct tree *tree = tree_new();

	tree_publish(tree, 1, snapshot_new(NULL, 1, NULL, 0, 1), &vm, 1);
	struct view *view = tree_view(tree);
	const struct blob *prom = render_prom_view(view);
	const struct blob *xml = render_xml_view(view);

	if (!utf8_valid(prom->data, prom->size) ||
		memmem(xml->data, xml->size, "\n\n", 2))
		abort();
	view_unref(view);
	tree_free(tree);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = xstrndup((const char *)data, size);
	struct run *vm =
		run_new(&(struct vm_ident){ .id = 4, .name = "vm" }, HYPERVISOR_OTHER);
	virTypedParameter params[MAX_PARAMS];
	virDomainStatsRecord record = { .params = params };
	struct vm_counters last = { 0 };
	char *rest = text;

	for (int64_t now = 1000000000; rest; now += 1000000000) {
		record.nparams = take_sample(&rest, params);
		struct metric_list *list = virt_stats_convert(
			everything(), vm, &record, 0, true, &last, now, now);

		check(list, text, size);
		check_text(list);
		metric_list_unref(list);
	}
	vm_counters_done(&last);
	run_unref(vm);
	return 0;
}

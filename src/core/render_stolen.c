/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/render_stolen.h"

#include <inttypes.h>
#include <string.h>

#include "core/blame.h"
#include "core/prom_label.h"
#include "core/snapshot.h"
#include "util/strbuf.h"

#define FAMILY "vhostmd_vm_stolen_seconds"

static void add_header(bool is_open, struct strbuf *out)
{
	const char *name = is_open ? FAMILY : FAMILY "_total";

	strbuf_addf(out,
		"# HELP %s How long virtual CPUs waited while the VM 'by' had their processor.\n"
		"# TYPE %s counter\n",
		name, name);
	if (is_open)
		strbuf_addf(out, "# UNIT %s seconds\n", name);
}

static void add_text(
	const char *name, const char *value, char *separator, struct strbuf *out)
{
	prom_add_label(name, value, strlen(value), separator, out);
}

static void add_seconds(uint64_t ns, struct strbuf *out)
{
	uint64_t part = ns % 1000000000;
	int digits = 9;

	strbuf_addf(out, "%" PRIu64, ns / 1000000000);
	if (!part)
		return;
	for (; part % 10 == 0; part /= 10)
		digits--;
	strbuf_addf(out, ".%0*" PRIu64, digits, part);
}

static void add_pair(const struct snapshot *vm, const struct snapshot *by, uint64_t ns,
	struct strbuf *out)
{
	char separator = '{';

	strbuf_adds(out, FAMILY "_total");
	add_text("uuid", vm->uuid_text, &separator, out);
	add_text("name", vm->vm.name, &separator, out);
	add_text("by", by->vm.name, &separator, out);
	add_text("by_uuid", by->uuid_text, &separator, out);
	strbuf_adds(out, "} ");
	add_seconds(ns, out);
	strbuf_addc(out, '\n');
}

/* What can be told of @vm.  @has_header: of the family, which has been added. */
static void add_vm(const struct view *view, const struct snapshot *vm, bool is_open,
	bool *has_header, struct strbuf *out)
{
	const struct blame_vm *victim = blame_find(view->blame, &vm->vm.uuid);
	size_t n = 0;
	const struct blame_pair *pairs =
		victim ? blame_pairs_of(view->blame, victim, &n) : NULL;

	for (size_t i = 0; i < n; i++) {
		const struct snapshot *by =
			view_find_uuid(view, &view->blame->vms[pairs[i].by].uuid);

		if (!by || pairs[i].time.all_ns < RENDER_STOLEN_LEAST_NS)
			continue;
		if (!*has_header)
			add_header(is_open, out);
		*has_header = true;
		add_pair(vm, by, pairs[i].time.all_ns, out);
	}
}

void render_stolen(const struct view *view, bool is_open, struct strbuf *out)
{
	bool has_header = false;

	for (size_t i = 0; view->blame && i < view->n_vms; i++)
		add_vm(view, view->vms[i], is_open, &has_header, out);
}

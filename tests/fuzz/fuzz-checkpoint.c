/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a process inherits: refused, or taken in; what was taken in can be published, shown to
 * Prometheus, and written again.
 */
#include <stdlib.h>
#include <string.h>

#include "checkpoint-specs.h"
#include "core/render_prom.h"
#include "core/sizes.h"
#include "core/snapshot.h"
#include "fuzz.h"
#include "model/checkpoint.h"
#include "util/cleanup.h"
#include "util/limits.h"
#include "util/mem.h"

static struct snapshot *publish(const struct vm_ident *vm, struct checkpoint_scope *scope)
{
	return snapshot_new(vm, 1, &scope->list, 1, scope->updated_mono_ns);
}

static void add_again(struct checkpoint_writer *w, const struct snapshot *s,
	const struct checkpoint_scope *scope)
{
	_cleanup_run_ struct run *run =
		s->is_host ? NULL : run_new(&s->vm, HYPERVISOR_QEMU);

	checkpoint_writer_add(w, s, run, &scope->counters);
}

/* They are taken over, and written as they were. */
static void add_sizes_again(struct checkpoint_writer *w, const struct checkpoint *cp)
{
	_cleanup_free_ struct past_size *all = NULL;
	struct sizes sizes;

	sizes_init(&sizes, LIMIT_DISK_BYTES_MIN);
	sizes_inherit(&sizes, cp->sizes, cp->n_sizes);
	size_t n = sizes_copy(&sizes, &all);

	if (cp->n_sizes && (n != cp->n_sizes || memcmp(all, cp->sizes, n * sizeof(*all))))
		abort();
	checkpoint_writer_add_sizes(w, all, n);
	sizes_done(&sizes);
}

static const struct checkpoint_scope *scope_of(
	const struct checkpoint *cp, const struct snapshot *vm)
{
	for (size_t i = 0; i < cp->n_vms; i++)
		if (uuid_compare(&cp->vms[i].ident.uuid, &vm->vm.uuid) == 0)
			return &cp->vms[i];
	abort();
}

/* All that was taken in, as views show it. */
static void use(struct checkpoint *cp, const struct plan *plan)
{
	static uint8_t buf[1u << 16];
	_cleanup_free_ struct snapshot **vms = xcalloc(cp->n_vms, sizeof(*vms));
	struct tree *tree = tree_new();

	for (size_t i = 0; i < cp->n_vms; i++)
		vms[i] = publish(&cp->vms[i].ident, &cp->vms[i]);
	tree_inherit(tree, cp->vms_shape, cp->vms_generation, cp->vms_ns);
	tree_publish(tree, cp->generation + 1, publish(NULL, &cp->host), vms, cp->n_vms);
	_cleanup_view_ struct view *view = tree_view(tree);
	struct checkpoint_writer *w = checkpoint_writer_new(buf, sizeof(buf), plan, view);
	_cleanup_checkpoint_ struct checkpoint *again = NULL;
	size_t needed = 0;

	add_sizes_again(w, cp);
	add_again(w, view->host, &cp->host);
	for (size_t i = 0; i < view->n_vms; i++)
		add_again(w, view->vms[i], scope_of(cp, view->vms[i]));
	size_t size = checkpoint_writer_finish(w, &needed);

	if (size > needed || (needed <= sizeof(buf) && size != needed))
		abort();
	if (size && checkpoint_load(buf, size, plan, &again) < 0)
		abort();
	if (!render_openmetrics_view(view))
		abort();
	tree_free(tree);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_checkpoint_ struct checkpoint *cp = NULL;
	_cleanup_plan_ struct plan *plan = checkpoint_plan();

	if (checkpoint_load(data, size, plan, &cp) < 0) {
		if (cp)
			abort();
		return 0;
	}
	if (cp->n_vms > LIMIT_VMS)
		abort();
	use(cp, plan);
	return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where lanes put what they sample, and where it is seen. */
#pragma once

#include "test.h"

#include <string.h>

#include "core/fact.h"
#include "core/snapshot.h"
#include "model/board.h"
#include "model/registry.h"

struct stage {
	struct tree *tree;
	struct registry *registry;
	struct board *board;
};

static inline void stage_init(struct stage *s, struct plan *plan)
{
	s->tree = tree_new();
	s->registry = registry_new();
	s->board = board_new(s->tree, s->registry, plan);
}

static inline void stage_done(struct stage *s)
{
	board_free(s->board);
	registry_free(s->registry);
	tree_free(s->tree);
}

static inline struct snapshot *find_vm(const struct view *view, const char *name)
{
	for (size_t i = 0; i < view->n_vms; i++)
		if (!strcmp(view->vms[i]->vm.name, name))
			return view->vms[i];
	return NULL;
}

/* For sampler_start(): the daemon knows its VMs, and nothing of itself. */
static inline bool fill_nothing(void *ctx, struct fact *facts, struct strbuf *product)
{
	(void)ctx;
	(void)facts;
	(void)product;
	return true;
}

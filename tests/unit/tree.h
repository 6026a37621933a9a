/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Trees of a host and VMs that all have the metrics "n" and "a/b"; the latter has no value. */
#pragma once

#include "test.h"
#include "specs.h"

#include <stdio.h>

#include "core/metric_list.h"
#include "core/snapshot.h"
#include "fs/node.h"

#define N_VMS 50u

static struct spec_set *specs;
static const struct node_config all = { .shared_disk = true, .disks = true };

static int make_specs(void **state)
{
	(void)state;
	specs = specs_named(METRIC_UINT64, (const char *const[]){ "n", "a/b", NULL });
	return 0;
}

static int drop_specs(void **state)
{
	(void)state;
	spec_set_unref(specs);
	return 0;
}

/* The time that the value came is one of its own. */
static struct metric_list *make_list(uint64_t n)
{
	struct metric_list_builder *b = metric_list_builder_new(specs, 1000 + (int64_t)n);
	struct value v = value_u64(n);

	metric_list_builder_add(b, 0, NULL, &v);
	metric_list_builder_add(b, 1, NULL, NULL);
	return metric_list_builder_finish(b);
}

/* A host and VMs "vm<first>" to "vm<first + n - 1>", all with metric n = @value. */
static void publish(struct tree *tree, uint64_t generation, unsigned first, unsigned n,
	uint64_t value)
{
	struct metric_list *list = make_list(value);
	struct snapshot *vms[N_VMS];

	for (unsigned i = 0; i < n; i++) {
		char name[16];
		struct vm_ident vm = { .id = (int)(first + i) + 1, .name = name };

		snprintf(name, sizeof(name), "vm%u", first + i);
		vm.uuid.b[15] = (uint8_t)(first + i);
		vms[i] = snapshot_new(&vm, generation, &list, 1, 1);
	}
	tree_publish(
		tree, generation, snapshot_new(NULL, generation, &list, 1, 1), vms, n);
	metric_list_unref(list);
}

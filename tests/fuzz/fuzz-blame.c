/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who waited for whom, as the daemon says it or who poses as it: whatever it is, names and uuids are
 * whole, and what was waited since the same moment is nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "blame_text.h"
#include "fuzz.h"
#include "util/cleanup.h"
#include "util/mem.h"

static void check_who(const char *uuid, const char *name)
{
	struct uuid parsed;

	if (uuid_parse(uuid, &parsed) < 0 || !name)
		abort();
}

static void check(const struct told *t)
{
	if (!t->state || strchr(t->state, '\n'))
		abort();
	for (size_t i = 0; i < t->n; i++) {
		const struct told_vm *vm = &t->vms[i];

		check_who(vm->uuid, vm->name);
		if (!told_find(t, vm->uuid))
			abort();
		for (size_t k = 0; k < vm->n; k++)
			check_who(vm->pairs[k].uuid, vm->pairs[k].name);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = xstrndup((const char *)data, size);
	_cleanup_told_ struct told t = { 0 }, again = { 0 };

	told_parse(text, &t);
	told_parse(text, &again);
	check(&t);
	(void)told_since(&again, &t);
	told_sort(&again);
	if (again.n != t.n)
		abort();
	check(&again);
	return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/vm.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "util/mem.h"

struct vm *vm_new(const struct vm_ident *ident)
{
	struct vm *vm = xcalloc(1, sizeof(*vm));

	atomic_init(&vm->refs, 1);
	vm->ident = *ident;
	vm->ident.name = xstrdup(ident->name);
	return vm;
}

struct vm *vm_ref(struct vm *vm)
{
	atomic_fetch_add_explicit(&vm->refs, 1, memory_order_relaxed);
	return vm;
}

void vm_unref(struct vm *vm)
{
	if (!vm || atomic_fetch_sub_explicit(&vm->refs, 1, memory_order_acq_rel) != 1)
		return;
	free((void *)(uintptr_t)vm->ident.name);
	free(vm);
}

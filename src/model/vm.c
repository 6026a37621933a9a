/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model/vm.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/fileio.h"
#include "util/mem.h"

struct vm *vm_new(const struct vm_ident *ident)
{
	struct vm *vm = xcalloc(1, sizeof(*vm));

	atomic_init(&vm->refs, 1);
	vm->ident = *ident;
	vm->ident.name = xstrdup(ident->name);
	atomic_init(&vm->stat_fd, -1);
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
	if (vm->stat_fd >= 0)
		close(vm->stat_fd);
	free((void *)(uintptr_t)vm->ident.name);
	free(vm);
}

void vm_set_process(struct vm *vm, int stat_fd)
{
	int none = -1;

	if (stat_fd >= 0 && !atomic_compare_exchange_strong(&vm->stat_fd, &none, stat_fd))
		close(stat_fd);
}

/* Third field of proc(5)'s stat, behind the name, which may hold anything. */
bool vm_is_stopped(const struct vm *vm)
{
	char text[512];
	int fd = atomic_load(&vm->stat_fd);

	if (fd < 0 || pread_text(fd, text, sizeof(text)) < 0)
		return false;
	const char *p = strrchr(text, ')');

	return p && p[1] == ' ' && (p[2] == 'T' || p[2] == 'D');
}

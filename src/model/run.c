/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model/run.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/description.h"
#include "util/clock.h"
#include "util/fileio.h"
#include "util/mem.h"
#include "util/refs.h"

struct run *run_new(const struct vm_ident *ident, enum hypervisor hypervisor)
{
	struct run *run = xcalloc(1, sizeof(*run));

	refs_init(&run->refs);
	run->ident = *ident;
	run->ident.name = xstrdup(ident->name);
	run->key = uuid_key(&ident->uuid);
	run->hypervisor = hypervisor;
	run->since_mono_ns = clock_mono_ns();
	if (hypervisor == HYPERVISOR_OTHER)
		atomic_init(&run->started_mono_ns, run->since_mono_ns);
	atomic_init(&run->stat_fd, -1);
	return run;
}

struct run *run_ref(struct run *run)
{
	refs_take(&run->refs);
	return run;
}

void run_unref(struct run *run)
{
	if (!run || !refs_drop(&run->refs))
		return;
	for (int i = 0; i < RUN_PLACE_COUNT; i++)
		if (run->places[i].state)
			run->places[i].free(run->places[i].state);
	description_unref(run->description);
	if (run->stat_fd >= 0)
		close(run->stat_fd);
	free((void *)(uintptr_t)run->ident.name);
	free(run);
}

bool run_is(const struct run *run, const struct vm_ident *ident)
{
	return run->ident.id == ident->id &&
		!uuid_compare(&run->ident.uuid, &ident->uuid) &&
		!strcmp(run->ident.name, ident->name);
}

void *run_place(const struct run *run, enum run_place place)
{
	return atomic_load_explicit(&run->places[place].state, memory_order_acquire);
}

void run_set_place(
	struct run *run, enum run_place place, void *state, void (*free)(void *state))
{
	assert(!run_place(run, place));
	run->places[place].free = free;
	atomic_store_explicit(&run->places[place].state, state, memory_order_release);
}

void run_set_process(struct run *run, int pid, uint64_t start_ticks, int stat_fd)
{
	int none = -1;

	atomic_store(&run->start_ticks, start_ticks);
	atomic_store(&run->pid, pid);
	if (stat_fd >= 0 &&
		!atomic_compare_exchange_strong(&run->stat_fd, &none, stat_fd))
		close(stat_fd);
}

/* Third field of proc(5)'s stat, behind the name, which may hold anything; 0: not known. */
static char state_of(const struct run *run)
{
	char text[512];
	int fd = atomic_load(&run->stat_fd);

	if (fd < 0 || pread_text(fd, text, sizeof(text)) < 0)
		return 0;
	const char *p = strrchr(text, ')');

	return p && p[1] == ' ' ? p[2] : 0;
}

bool run_is_stopped(const struct run *run)
{
	char state = state_of(run);

	return state == 'T' || state == 'D';
}

bool run_has_process(const struct run *run)
{
	char state = state_of(run);

	return state && state != 'Z' && state != 'X';
}

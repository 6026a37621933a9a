/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * model: who runs, where reports of it are late, lost, or cross each other.  A libvirt of few VMs and
 * few names tells of them by events and by lists; the registry is never to show two of one name.
 */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "model/registry.h"
#include "model/run.h"
#include "util/cleanup.h"
#include "util/mem.h"

#define VMS 4u
#define NAMES 3u
#define EVENTS 64u
#define STEPS 20000

static const char *const names[NAMES] = { "a", "b", "c" };

struct event {
	bool start;
	struct vm_ident vm;
};

/* A list is asked for, made, and comes. */
enum list_state { LIST_NONE, LIST_ASKED, LIST_MADE };

struct world {
	uint64_t random;
	int last_id;
	struct vm_ident vms[VMS];    /* no id: it does not run */
	struct event events[EVENTS]; /* under way */
	size_t n_events;
	enum list_state list;
	uint64_t list_order;
	struct vm_ident listed[VMS];
	size_t n_listed;
	struct registry *registry;
};

static unsigned one_of(struct world *w, unsigned n)
{
	w->random = w->random * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (unsigned)(w->random >> 33) % n;
}

static struct vm_ident *find_name(struct world *w, const char *name)
{
	for (size_t i = 0; i < VMS; i++)
		if (w->vms[i].id && w->vms[i].name == name)
			return &w->vms[i];
	return NULL;
}

/* One in eight is lost. */
static void send(struct world *w, bool start, const struct vm_ident *vm)
{
	if (w->n_events < EVENTS && one_of(w, 8))
		w->events[w->n_events++] = (struct event){ start, *vm };
}

static void start_or_stop(struct world *w)
{
	size_t i = one_of(w, VMS);
	struct vm_ident *vm = &w->vms[i];

	if (vm->id) {
		send(w, false, vm);
		vm->id = 0;
		return;
	}
	const char *name = names[one_of(w, NAMES)];

	if (find_name(w, name))
		return;
	*vm = (struct vm_ident){
		.uuid = { { (uint8_t)(i + 1) } }, .id = ++w->last_id, .name = name
	};
	send(w, true, vm);
}

static void deliver(struct world *w)
{
	if (!w->n_events)
		return;
	const struct event e = w->events[0];
	uint64_t order = registry_order(w->registry);

	memmove(w->events, w->events + 1, --w->n_events * sizeof(e));
	if (e.start)
		run_unref(registry_report(w->registry, order, &e.vm, HYPERVISOR_OTHER));
	else
		registry_report_gone(w->registry, order, &e.vm.uuid);
}

static void go_on_with_list(struct world *w)
{
	switch (w->list) {
	case LIST_NONE:
		w->list_order = registry_list_order(w->registry);
		w->list = LIST_ASKED;
		break;
	case LIST_ASKED:
		w->n_listed = 0;
		for (size_t i = 0; i < VMS; i++)
			if (w->vms[i].id)
				w->listed[w->n_listed++] = w->vms[i];
		w->list = LIST_MADE;
		break;
	case LIST_MADE:
		registry_report_all(w->registry, w->list_order, w->listed, w->n_listed,
			HYPERVISOR_OTHER);
		w->list = LIST_NONE;
		break;
	}
}

static void assert_names_are_unique(const struct world *w)
{
	_cleanup_roster_ struct roster *roster = registry_roster(w->registry);

	for (size_t i = 0; i < roster->n; i++)
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(
				roster->runs[i]->ident.name, roster->runs[k]->ident.name);
}

/* A list that nothing crosses says it all. */
static void assert_found_out(struct world *w)
{
	size_t n = 0;

	while (w->n_events)
		deliver(w);
	while (w->list != LIST_NONE)
		go_on_with_list(w);
	do
		go_on_with_list(w);
	while (w->list != LIST_NONE);
	_cleanup_roster_ struct roster *roster = registry_roster(w->registry);

	for (size_t i = 0; i < VMS; i++) {
		if (!w->vms[i].id)
			continue;
		const struct run *run = roster_find(roster, &w->vms[i].uuid);

		assert_true(run && run_is(run, &w->vms[i]));
		n++;
	}
	assert_int_equal(roster->n, n);
}

static void no_two_vms_have_one_name(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 10; seed++) {
		struct world w = { .random = seed, .registry = registry_new() };

		for (unsigned i = 0; i < STEPS; i++) {
			unsigned what = one_of(&w, 8);

			if (what < 3)
				start_or_stop(&w);
			else if (what < 6)
				deliver(&w);
			else
				go_on_with_list(&w);
			assert_names_are_unique(&w);
			if (i % 500 == 499)
				assert_found_out(&w);
		}
		registry_free(w.registry);
	}
}

static const struct vm_ident first = { .uuid = { { 1 } }, .id = 1, .name = "a" };
static const struct vm_ident second = { .uuid = { { 2 } }, .id = 2, .name = "a" };

static bool runs(struct registry *registry, const struct vm_ident *vm)
{
	_cleanup_roster_ struct roster *roster = registry_roster(registry);
	const struct run *run = roster_find(roster, &vm->uuid);

	return run && run_is(run, vm);
}

/* That it ended was not told; a list that still has it comes behind the other's start. */
static void who_lost_his_name_does_not_come_back(void **state)
{
	(void)state;
	struct registry *registry = registry_new();
	struct run *run = registry_report(
		registry, registry_order(registry), &first, HYPERVISOR_OTHER);

	run_unref(run);
	uint64_t order = registry_list_order(registry);

	run_unref(registry_report(
		registry, registry_order(registry), &second, HYPERVISOR_OTHER));
	registry_report_all(registry, order, &first, 1, HYPERVISOR_OTHER);
	assert_true(runs(registry, &second));
	assert_false(runs(registry, &first));
	/* not even if that has ended, too */
	registry_report_gone(registry, registry_order(registry), &second.uuid);
	registry_report_all(registry, order, &first, 1, HYPERVISOR_OTHER);
	assert_false(runs(registry, &first));
	registry_free(registry);
}

/* Nor does one that was never known. */
static void a_late_report_takes_no_name(void **state)
{
	(void)state;
	struct registry *registry = registry_new();
	uint64_t order = registry_list_order(registry), later;

	later = registry_order(registry);
	run_unref(registry_report(registry, later, &second, HYPERVISOR_OTHER));
	assert_null(registry_report(registry, order, &first, HYPERVISOR_OTHER));
	registry_report_all(registry, order, &first, 1, HYPERVISOR_OTHER);
	assert_true(runs(registry, &second));
	assert_false(runs(registry, &first));
	/* the next list knows better */
	registry_report_all(
		registry, registry_list_order(registry), &first, 1, HYPERVISOR_OTHER);
	assert_true(runs(registry, &first));
	assert_false(runs(registry, &second));
	registry_free(registry);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_two_vms_have_one_name),
		cmocka_unit_test(who_lost_his_name_does_not_come_back),
		cmocka_unit_test(a_late_report_takes_no_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A program with the fake libvirt as its only finder, in the fake time, and looking into it.
 */
#pragma once

#include "fake-libvirt.h"
#include "fake-time.h"
#include "samples.h"

#include <stdatomic.h>
#include <string.h>

#include "collect/libvirt/connection.h"
#include "model/board.h"
#include "model/description.h"
#include "model/plan.h"
#include "model/registry.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/strbuf.h"

#define PERIOD_NS NS_PER_S

struct program {
	int root_fd; /* without proc unless a test gives one */
	struct spec_set *specs;
	struct tree *tree;
	struct registry *registry;
	struct board *board;
	struct virt *virt;
};

static unsigned n_connected; /* told by on_connected() */

static inline void on_connected(void *ctx)
{
	(void)ctx;
	n_connected++;
}

/* Until all threads wait: for time, or for calls that are held. */
static inline void start_program(struct program *p, const char *uri)
{
	struct virt_params params = { .uri = uri, .on_connected = on_connected };

	fake_time_reset();
	n_connected = 0;
	params.board = p->board;
	params.registry = p->registry;
	params.root_fd = p->root_fd;
	assert_int_equal(virt_start(&params, &p->virt), 0);
	fake_settle();
}

/* @specs: taken over; @balloon_ns: that period, 0: there is none */
static inline int setup_apart(
	void **state, struct spec_set *specs, int64_t period_ns, int64_t balloon_ns)
{
	static struct program p;

	fake_libvirt_reset();
	p.root_fd = -1;
	p.specs = specs;
	p.tree = tree_new();
	p.registry = registry_new();
	const struct plan_settings settings = { .period_ns = period_ns,
		.slow_period_ns = period_ns,
		.balloon_period_ns = balloon_ns };
	_cleanup_plan_ struct plan *plan = plan_new(NULL, p.specs, &settings);

	p.board = board_new(p.tree, p.registry, plan);
	*state = &p;
	return 0;
}

static inline int setup_with(void **state, struct spec_set *specs, int64_t period_ns)
{
	return setup_apart(state, specs, period_ns, 0);
}

static inline int setup(void **state)
{
	return setup_with(state, all_of(COLLECTOR_LIBVIRT), PERIOD_NS);
}

/* Ends all, and nobody has kept anything. */
static inline int teardown(void **state)
{
	struct program *p = *state;

	for (int call = 0; call < FAKE_CALL_COUNT; call++)
		fake_release((enum fake_call)call, FAKE_ALL);
	assert_true(virt_stop(p->virt));
	/* a reader of the status file that does not end may be in the middle of it */
	_cleanup_strbuf_ struct strbuf status = STRBUF_INIT;

	virt_status(p->virt, &status);
	assert_non_null(strstr(strbuf_str(&status), "libvirt.descriptions: "));
	virt_free(p->virt);
	board_free(p->board);
	registry_free(p->registry);
	tree_free(p->tree);
	spec_set_unref(p->specs);
	assert_int_equal(fake_objects(), 0);
	return 0;
}

/* ---- looking ---- */

/* With a reference for the caller; NULL if it does not run. */
static inline struct run *run_of(struct program *p, unsigned vm)
{
	_cleanup_roster_ struct roster *roster = registry_roster(p->registry);
	struct uuid uuid;

	fake_uuid(vm, &uuid);
	struct run *run = roster_find(roster, &uuid);

	return run ? run_ref(run) : NULL;
}

static inline bool runs(struct program *p, unsigned vm)
{
	_cleanup_run_ struct run *run = run_of(p, vm);

	return run != NULL;
}

/* What is known of its description; 0: nothing. */
static inline uint64_t memory_kib(struct program *p, unsigned vm)
{
	_cleanup_run_ struct run *run = run_of(p, vm);
	_cleanup_description_ struct description *d =
		run ? registry_description(p->registry, run) : NULL;

	return d ? d->limits[DOMAIN_MEMORY] : 0;
}

/* Of its newest slow figures. */
static inline int64_t age_ns(struct program *p, unsigned vm)
{
	_cleanup_run_ struct run *run = run_of(p, vm);

	assert_non_null(run);
	return clock_mono_ns() - atomic_load(&run->slow_mono_ns);
}

static inline bool is_silent(struct program *p, unsigned vm)
{
	_cleanup_run_ struct run *run = run_of(p, vm);

	assert_non_null(run);
	return atomic_load(&run->silent);
}

/* Whether a metric of a VM is there, and whether it has a value. */
static inline bool has_metric(
	struct program *p, unsigned vm, const char *name, bool *ret_available)
{
	_cleanup_view_ struct view *view = tree_view(p->tree);
	struct uuid uuid;

	fake_uuid(vm, &uuid);
	const struct snapshot *s = view_find_uuid(view, &uuid);
	const struct metric *m = s ? snapshot_find(s, name) : NULL;

	*ret_available = m && m->available;
	return m;
}

/* True if guests see what its monitor alone knows. */
static inline bool has_requests(struct program *p, unsigned vm)
{
	bool available = false;

	has_metric(p, vm, "block.0.rd.reqs", &available);
	return available;
}

static inline uint64_t abandoned(struct program *p)
{
	struct fact facts[FLEET_KEY_COUNT] = { 0 };
	_cleanup_strbuf_ struct strbuf product = STRBUF_INIT;

	(void)virt_fill(p->virt, facts, &product);
	return facts[FLEET_SELF_SLOW_ABANDONED].value.u;
}

static inline void assert_state(struct program *p, const char *state)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	_cleanup_free_ char *line = xasprintf("libvirt.state: %s\n", state);

	virt_status(p->virt, &text);
	if (!strstr(strbuf_str(&text), line))
		fail_msg("not %s: %s", state, strbuf_str(&text));
}

/* The oldest figures of VMs @first to @last at any time while @ns go by. */
static inline int64_t worst_age_ns(
	struct program *p, unsigned first, unsigned last, int64_t ns)
{
	const int64_t step_ns = 10 * NS_PER_MS;
	int64_t worst = 0;

	for (int64_t at = 0; at < ns; at += step_ns) {
		fake_advance(step_ns);
		for (unsigned vm = first; vm <= last; vm++)
			if (age_ns(p, vm) > worst)
				worst = age_ns(p, vm);
	}
	return worst;
}

static inline void start_vms(unsigned n)
{
	for (unsigned vm = 0; vm < n; vm++)
		fake_start_silently(vm);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

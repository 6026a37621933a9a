/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* model: the registry of runs, the board, the beat. */
#include "test.h"
#include "plans.h"
#include "stage.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/grants.h"
#include "model/cycle.h"
#include "model/description.h"
#include "model/vm_sample.h"
#include "samples.h"
#include "util/clock.h"
#include "util/limits.h"

/* Reports as an event that comes in now.  Return: the run, with a reference. */
static struct run *starts(struct registry *registry, const struct vm_ident *vm)
{
	return registry_report(registry, registry_order(registry), vm, HYPERVISOR_OTHER);
}

static void ends(struct registry *registry, const struct vm_ident *vm)
{
	registry_report_gone(registry, registry_order(registry), &vm->uuid);
}

/* ---- the registry ---- */

static bool runs(struct registry *registry, const struct vm_ident *vm)
{
	struct roster *roster = registry_roster(registry);
	struct run *run = roster_find(roster, &vm->uuid);
	bool found = run && run_is(run, vm);

	roster_unref(roster);
	return found;
}

static size_t count_runs(struct registry *registry)
{
	struct roster *roster = registry_roster(registry);
	size_t n = roster->n;

	roster_unref(roster);
	return n;
}

/* What listeners were told, a letter each. */
struct heard {
	char text[64];
	size_t n, settled;
};

static void hear(void *ctx, enum registry_event event, struct run *run)
{
	static const char letters[] = { [RUN_APPEARED] = '+',
		[RUN_DESCRIBED] = 'd',
		[RUN_GONE] = '-',
		[REGISTRY_SETTLED] = '.' };
	struct heard *heard = ctx;

	assert_true((event == REGISTRY_SETTLED) == !run);
	heard->settled += event == REGISTRY_SETTLED;
	if (heard->n + 1 < sizeof(heard->text))
		heard->text[heard->n++] = letters[event];
}

static const struct vm_ident vm_a = { .uuid = { { 1 } }, .id = 1, .name = "a" };
static const struct vm_ident vm_b = { .uuid = { { 2 } }, .id = 2, .name = "b" };

static void listeners_hear_each_change_once(void **state)
{
	(void)state;
	struct registry *registry = registry_new();
	struct heard heard = { 0 };

	registry_subscribe(registry, (struct registry_listener){ hear, &heard });
	struct run *a = starts(registry, &vm_a);

	run_unref(starts(registry, &vm_a));
	registry_describe(registry, a, description_new());
	struct vm_ident again = vm_a;

	again.id = 5;
	run_unref(starts(registry, &again));
	registry_describe(registry, a, description_new()); /* too late: it is gone */
	ends(registry, &again);
	ends(registry, &again);
	assert_string_equal(heard.text, "+.d-+.-.");
	run_unref(a);
	registry_free(registry);
}

/* A list that was asked for before an event came is older than the event. */
static void a_late_list_undoes_no_event(void **state)
{
	(void)state;
	struct registry *registry = registry_new();

	run_unref(starts(registry, &vm_a));
	uint64_t order = registry_list_order(registry);

	/* while the list, which has a and not b, is on its way: */
	ends(registry, &vm_a);
	run_unref(starts(registry, &vm_b));
	registry_report_all(registry, order, &vm_a, 1, HYPERVISOR_OTHER);
	assert_false(runs(registry, &vm_a));
	assert_true(runs(registry, &vm_b));

	/* another run of a began meanwhile: the list's is the one before */
	struct vm_ident again = vm_a;

	again.id = 7;
	order = registry_list_order(registry);
	run_unref(starts(registry, &again));
	registry_report_all(registry, order, &vm_a, 1, HYPERVISOR_OTHER);
	assert_true(runs(registry, &again));
	/* b was reported before that list was asked for, and is not in it */
	assert_false(runs(registry, &vm_b));
	registry_free(registry);
}

/* What events missed a list finds, both ways. */
static void a_list_finds_what_events_missed(void **state)
{
	(void)state;
	struct registry *registry = registry_new();

	run_unref(starts(registry, &vm_a));
	uint64_t order = registry_list_order(registry);

	registry_report_all(registry, order, &vm_b, 1, HYPERVISOR_OTHER);
	assert_false(runs(registry, &vm_a));
	assert_true(runs(registry, &vm_b));
	assert_int_equal(count_runs(registry), 1);
	registry_free(registry);
}

/* Reports that come in another order than libvirt made them. */
static void an_earlier_report_never_wins(void **state)
{
	(void)state;
	struct registry *registry = registry_new();
	uint64_t first = registry_order(registry), second = registry_order(registry);
	struct vm_ident again = vm_a;

	again.id = 2;
	run_unref(registry_report(registry, second, &again, HYPERVISOR_OTHER));
	assert_null(registry_report(registry, first, &vm_a, HYPERVISOR_OTHER));
	registry_report_gone(registry, first, &vm_a.uuid);
	assert_true(runs(registry, &again));
	first = registry_order(registry);
	ends(registry, &again);
	assert_null(registry_report(registry, first, &again, HYPERVISOR_OTHER));
	assert_int_equal(count_runs(registry), 0);
	registry_free(registry);
}

/* A name belongs to one running VM: a namesake's start is the end of who had it. */
static void a_name_has_one_owner(void **state)
{
	(void)state;
	struct registry *registry = registry_new();
	struct vm_ident twin = { .uuid = { { 9 } }, .id = 3, .name = "a" };

	run_unref(starts(registry, &vm_a));
	run_unref(starts(registry, &twin));
	assert_false(runs(registry, &vm_a));
	assert_true(runs(registry, &twin));
	registry_free(registry);
}

static void many_vms_start_with_one_publication(void **state)
{
	(void)state;
	struct registry *registry = registry_new();
	struct heard heard = { 0 };
	struct vm_ident *idents = xcalloc(LIMIT_VMS + 1, sizeof(*idents));

	registry_subscribe(registry, (struct registry_listener){ hear, &heard });
	for (size_t i = 0; i <= LIMIT_VMS; i++) {
		idents[i] =
			(struct vm_ident){ .id = (int)i, .name = xasprintf("vm%zu", i) };
		memcpy(idents[i].uuid.b, &i, sizeof(i));
	}
	int64_t start = clock_mono_ns();

	registry_report_all(registry, registry_list_order(registry), idents,
		LIMIT_VMS + 1, HYPERVISOR_OTHER);
	assert_int_equal(heard.settled, 1);
	assert_int_equal(count_runs(registry), LIMIT_VMS);
	/* one more has no room */
	assert_null(starts(registry, &idents[LIMIT_VMS]));
	registry_report_all(registry, registry_list_order(registry), idents,
		LIMIT_VMS + 1, HYPERVISOR_OTHER);
	assert_int_equal(heard.settled, 1);
	/* seconds, were it the square */
	assert_true(clock_mono_ns() - start < 5 * NS_PER_S);
	for (size_t i = 0; i <= LIMIT_VMS; i++)
		free((void *)(uintptr_t)idents[i].name);
	free(idents);
	registry_free(registry);
}

static struct spec_set *two_actions(const char *second)
{
	struct spec_set *specs = spec_set_new(2);

	specs->specs[0] = (struct metric_spec){ .name = xstrdup("a"),
		.kind = SPEC_ACTION,
		.type = METRIC_INT32,
		.guest = true,
		.action = xstrdup("echo 1") };
	specs->specs[1] = (struct metric_spec){ .name = xstrdup("b"),
		.kind = SPEC_ACTION,
		.context = CONTEXT_VM,
		.type = METRIC_INT32,
		.guest = true,
		.action = xstrdup(second) };
	return specs;
}

/* What a VM is made of changes no figure by itself: nothing is published for it. */
static void a_description_publishes_nothing(void **state)
{
	(void)state;
	struct spec_set *specs = two_actions("echo 2");
	struct tree *tree = tree_new();
	struct registry *registry = registry_new();
	_cleanup_plan_ struct plan *plan = plan_of(specs);
	struct board *board = board_new(tree, registry, plan);
	struct run *a = starts(registry, &vm_a);
	uint64_t generation = tree_generation(tree);

	registry_describe(registry, a, description_new());
	assert_int_equal(tree_generation(tree), generation);
	ends(registry, &vm_a);
	assert_int_equal(tree_generation(tree), generation + 1);
	run_unref(a);
	board_free(board);
	registry_free(registry);
	tree_free(tree);
	spec_set_unref(specs);
}

static size_t count_shown(struct board *board, struct tree *tree)
{
	board_publish(board);
	struct view *view = tree_view(tree);
	size_t n = view->n_vms;

	view_unref(view);
	return n;
}

/* Its process is gone, which libvirt finds out later, or not: it runs again by the same id. */
static void a_run_that_has_ended_is_not_shown(void **state)
{
	(void)state;
	struct spec_set *specs = two_actions("echo 2");
	struct tree *tree = tree_new();
	struct registry *registry = registry_new();
	_cleanup_plan_ struct plan *plan = plan_of(specs);
	struct board *board = board_new(tree, registry, plan);
	struct run *a = starts(registry, &vm_a);
	const struct vm_ident both[] = { vm_a, vm_b };

	run_unref(starts(registry, &vm_b));
	assert_int_equal(count_shown(board, tree), 2);
	atomic_store(&a->ended_mono_ns, clock_mono_ns());
	assert_int_equal(count_shown(board, tree), 1);
	registry_report_all(
		registry, registry_list_order(registry), both, 2, HYPERVISOR_OTHER);
	run_unref(starts(registry, &vm_a));
	assert_false(atomic_load(&a->gone));
	assert_int_equal(count_shown(board, tree), 1);
	atomic_store(&a->ended_mono_ns, clock_mono_ns() - 60 * NS_PER_S);
	registry_report_all(
		registry, registry_list_order(registry), both, 2, HYPERVISOR_OTHER);
	assert_true(atomic_load(&a->gone));
	assert_int_equal(count_shown(board, tree), 2);
	run_unref(a);
	board_free(board);
	registry_free(registry);
	tree_free(tree);
	spec_set_unref(specs);
}

static int freed;

static void count_freed(void *state)
{
	assert_string_equal(state, "kept");
	freed++;
}

/* What is kept of a run lives as long as anybody refers to it. */
static void places_live_as_long_as_their_run(void **state)
{
	(void)state;
	struct registry *registry = registry_new();
	struct run *a = starts(registry, &vm_a);
	static char kept[] = "kept";

	assert_null(run_place(a, PLACE_SLOW));
	run_set_place(a, PLACE_SLOW, kept, count_freed);
	ends(registry, &vm_a);
	assert_true(atomic_load(&a->gone));
	assert_ptr_equal(run_place(a, PLACE_SLOW), kept);
	assert_int_equal(freed, 0);
	run_unref(a);
	assert_int_equal(freed, 1);
	registry_free(registry);
}

/* ---- the board ---- */

static void board_update_one(
	struct board *board, struct spec_set *specs, struct run *run, uint32_t slot)
{
	struct metric_list_builder *b = metric_list_builder_new(specs, 1);
	struct value v = { .type = METRIC_INT32, .i = 5 };

	metric_list_builder_add(b, slot, NULL, &v);
	board_update(board, run, LANE_ACTION_0 + slot, metric_list_builder_finish(b));
	board_publish(board);
}

static size_t vm_metrics(struct tree *tree, const char *name)
{
	struct view *view = tree_view(tree);
	struct snapshot *s = find_vm(view, name);
	size_t n = s ? s->n : SIZE_MAX;

	view_unref(view);
	return n;
}

static void update_lane(struct board *board, struct spec_set *specs, struct run *run,
	size_t lane, uint32_t slot, uint64_t value)
{
	struct metric_list_builder *b = metric_list_builder_new(specs, 1);
	struct value v = value_u64(value);

	metric_list_builder_add_source(b, slot, NULL, value ? &v : NULL);
	board_update(board, run, lane, metric_list_builder_finish(b));
	board_publish(board);
}

/* Where two lanes know a metric the first serves it; what a snapshot says of itself. */
static void the_first_lane_serves_a_metric(void **state)
{
	(void)state;
	struct spec_set *specs = spec_set_new(8);
	const struct vm_ident ident = { .id = 1, .name = "a", .uuid = { { 1 } } };

	specs->n = 0;
	want(specs, "generation", "sample.generation", METRIC_UINT64, NULL);
	want(specs, "cpu", "cpu.time", METRIC_UINT64, NULL);
	want(specs, "blocks", "block.count", METRIC_UINT64, NULL);
	want(specs, "no one", "sample.unavailable", METRIC_STRING, NULL);
	struct tree *tree = tree_new();
	struct registry *registry = registry_new();
	_cleanup_plan_ struct plan *plan = plan_of(specs);
	struct board *board = board_new(tree, registry, plan);
	struct run *run = starts(registry, &ident);

	update_lane(board, specs, run, LANE_LIBVIRT, 1, 5);
	update_lane(board, specs, run, LANE_FAST, 1, 7);
	update_lane(board, specs, run, LANE_ABOUT, 2, 0);
	struct view *view = tree_view(tree);
	const struct snapshot *vm = find_vm(view, "a");

	assert_int_equal(vm->n, 4);
	assert_int_equal(snapshot_find(vm, "generation")->value.u, vm->generation);
	assert_int_equal(snapshot_find(vm, "cpu")->value.u, 7);
	assert_string_equal(snapshot_find(vm, "no one")->value.s, "blocks");
	view_unref(view);
	run_unref(run);
	board_free(board);
	registry_free(registry);
	tree_free(tree);
	spec_set_unref(specs);
}

static const struct plan *heard;

/* Whoever hears of a plan finds it in force, and may ask the board. */
static void hear_plan(void *ctx, const struct plan *plan)
{
	_cleanup_plan_ struct plan *now = board_plan(ctx);

	assert_ptr_equal(now, plan);
	heard = plan;
}

static void board_knows_runs_and_configurations(void **state)
{
	(void)state;
	struct tree *tree = tree_new();
	struct spec_set *specs = two_actions("echo 2"), *same = two_actions("echo 2"),
			*other = two_actions("echo 3");
	struct registry *registry = registry_new();
	_cleanup_plan_ struct plan *plan = plan_of(specs);
	struct board *board = board_new(tree, registry, plan);
	struct vm_ident vm = { .uuid = { { 1 } }, .id = 1, .name = "vm" };
	struct run *run = starts(registry, &vm), *same_run = starts(registry, &vm);

	assert_ptr_equal(run, same_run);
	board_update_one(board, specs, run, 1);
	board_update_one(board, specs, NULL, 0);
	assert_int_equal(vm_metrics(tree, "vm"), 1);

	/* a reload keeps what is still asked for, and drops late results of the old one */
	_cleanup_plan_ struct plan *same_plan = plan_after(plan, same);
	_cleanup_plan_ struct plan *other_plan = plan_after(plan, other);

	board_subscribe(board, (struct plan_listener){ hear_plan, board });
	board_set_plan(board, same_plan);
	assert_ptr_equal(heard, same_plan);
	assert_ptr_equal(same_plan->specs, specs);
	assert_int_equal(vm_metrics(tree, "vm"), 1);
	board_update_one(board, specs, run, 1);
	board_set_plan(board, other_plan);
	assert_ptr_equal(heard, other_plan);
	assert_int_equal(vm_metrics(tree, "vm"), 0);
	board_update_one(board, specs, run, 1);
	assert_int_equal(vm_metrics(tree, "vm"), 0);
	board_update_one(board, other, run, 1);
	assert_int_equal(vm_metrics(tree, "vm"), 1);

	/* another run of the same VM starts empty; results of the old run are dropped */
	vm.id = 2;
	struct run *next = starts(registry, &vm);

	assert_ptr_not_equal(next, run);
	assert_int_equal(vm_metrics(tree, "vm"), 0);
	board_update_one(board, other, run, 1);
	assert_int_equal(vm_metrics(tree, "vm"), 0);
	ends(registry, &vm);
	assert_int_equal(vm_metrics(tree, "vm"), SIZE_MAX);
	run_unref(run);
	run_unref(same_run);
	run_unref(next);
	board_free(board);
	registry_free(registry);
	tree_free(tree);
	spec_set_unref(specs);
	spec_set_unref(same);
	spec_set_unref(other);
}

/* The same metrics for other eyes: nothing is sampled anew, and the host is shown anew. */
static void other_grants_are_published_at_once(void **state)
{
	(void)state;
	struct tree *tree = tree_new();
	struct spec_set *specs = two_actions("echo 2");
	struct registry *registry = registry_new();
	struct grants *grants = grants_new();
	_cleanup_plan_ struct plan *plan = plan_of(specs);
	struct plan_settings settings = plan->settings;
	struct board *board = board_new(tree, registry, plan);

	settings.grants = grants;
	_cleanup_plan_ struct plan *granting = plan_new(plan, specs, &settings);
	_cleanup_plan_ struct plan *same = plan_new(granting, specs, &settings);

	board_update_one(board, specs, NULL, 0);
	_cleanup_view_ struct view *before = tree_view(tree);

	board_set_plan(board, granting);
	_cleanup_view_ struct view *after = tree_view(tree);

	assert_null(before->host->grants);
	assert_ptr_equal(after->host->grants, grants);
	assert_true(after->host->generation > before->host->generation);
	assert_int_equal(after->host->n, before->host->n);
	assert_int_equal(after->host->time_ns, before->host->time_ns);
	board_set_plan(board, same);
	_cleanup_view_ struct view *still = tree_view(tree);

	assert_ptr_equal(still, after);
	board_update_one(board, specs, NULL, 0);
	_cleanup_view_ struct view *later = tree_view(tree);

	assert_ptr_equal(later->host->grants, grants);
	board_set_plan(board, plan);
	_cleanup_view_ struct view *again = tree_view(tree);

	assert_null(again->host->grants);
	assert_true(again->host->generation > later->host->generation);
	board_free(board);
	registry_free(registry);
	tree_free(tree);
	grants_unref(grants);
	spec_set_unref(specs);
}

/* Beats neither drift nor pile up. */
static void missed_beats_are_skipped_and_counted(void **state)
{
	(void)state;
	struct cycle c;

	cycle_init(&c, 10 * NS_PER_MS);
	assert_int_equal(cycle_wait(&c), CYCLE_BEAT);
	int64_t first = c.next_mono_ns;

	poll(NULL, 0, 35); /* a cycle that takes three and a half periods */
	assert_int_equal(cycle_wait(&c), CYCLE_BEAT);
	assert_true(c.overruns >= 2);
	assert_int_equal((c.next_mono_ns - first) % (10 * NS_PER_MS), 0);
	assert_true(c.next_mono_ns > clock_mono_ns() - 10 * NS_PER_MS);
	cycle_kick(&c);
	assert_int_equal(cycle_wait(&c), CYCLE_KICK);
	cycle_stop(&c);
	assert_int_equal(cycle_wait(&c), CYCLE_STOPPED);
	cycle_done(&c);
}

/* A rate from two samples, the second with vCPU 1 as told. */
static void derive_with_vcpu_1(
	struct vm_sample *s, struct vm_counters *last, bool have, uint64_t delay_ns)
{
	int64_t mono_ns = s->mono_ns + NS_PER_S;

	vm_sample_clear(s);
	s->mono_ns = mono_ns;
	fact_set(&s->facts[VM_VCPU_CURRENT], value_u64(2));
	*vm_sample_add_vcpu(s, 0) =
		(struct vcpu_sample){ .delay_ns = (uint64_t)mono_ns / 10,
			.have_delay = true };
	*vm_sample_add_vcpu(s, 1) = (struct vcpu_sample){
		.number = 1, .delay_ns = delay_ns, .have_delay = have
	};
	vm_sample_derive(s, last);
}

static void a_vcpu_missing_for_a_moment_makes_no_spike(void **state)
{
	(void)state;
	struct vm_sample s = { 0 };
	struct vm_counters last = { 0 };
	const uint64_t hours = UINT64_C(3600) * NS_PER_S;

	derive_with_vcpu_1(&s, &last, true, hours);
	derive_with_vcpu_1(&s, &last, true, hours);
	assert_int_equal((int)(s.facts[VM_USAGE_STEAL].value.real + 0.5), 5);
	/* what is called a counter does not fall */
	derive_with_vcpu_1(&s, &last, false, 0);
	assert_false(s.facts[VM_VCPUS_DELAY].have);
	assert_false(s.facts[VM_USAGE_STEAL].have);
	for (int i = 0; i < 3; i++) {
		derive_with_vcpu_1(&s, &last, true, hours);
		assert_true(s.facts[VM_VCPUS_DELAY].have);
		assert_true(!s.facts[VM_USAGE_STEAL].have ||
			s.facts[VM_USAGE_STEAL].value.real < 6);
	}
	assert_true(s.facts[VM_USAGE_STEAL].have);
	vm_counters_done(&last);
	vm_sample_done(&s);
}

/* It stops all processors of all that are below it. */
static void a_quota_of_many_throttles_at_most_all_the_time(void **state)
{
	(void)state;
	struct vm_sample s = { 0 };
	struct vm_counters last = { 0 };

	for (uint64_t i = 1; i <= 3; i++) {
		vm_sample_clear(&s);
		s.mono_ns = (int64_t)i * NS_PER_S;
		fact_set(&s.facts[VM_VCPU_CURRENT], value_u64(2));
		fact_set(&s.facts[VM_THROTTLED_TIME],
			value_u64(i == 3 ? 64 * NS_PER_S : i * NS_PER_S));
		vm_sample_derive(&s, &last);
		assert_int_equal((int)s.facts[VM_USAGE_THROTTLED].value.real,
			i == 1           ? 0
				: i == 2 ? 50
					 : 100);
	}
	vm_counters_done(&last);
	vm_sample_done(&s);
}

/* A vCPU's hours of waiting are no growth, whether it goes or comes back. */
static void a_vcpu_that_comes_or_goes_shows_in_no_rate(void **state)
{
	(void)state;
	struct vm_sample s = { 0 };
	struct vm_counters last = { 0 };
	const uint64_t hours = UINT64_C(3600) * NS_PER_S;
	uint64_t sum = 0;

	for (int i = 0; i < 12; i++) {
		bool there = i % 4 < 2;

		s.mono_ns += NS_PER_S;
		vm_sample_clear(&s);
		fact_set(&s.facts[VM_VCPU_CURRENT], value_u64(there ? 2 : 1));
		*vm_sample_add_vcpu(&s, 0) =
			(struct vcpu_sample){ .delay_ns = (uint64_t)s.mono_ns / 10,
				.have_delay = true };
		if (there)
			*vm_sample_add_vcpu(&s, 1) = (struct vcpu_sample){
				.number = 1, .delay_ns = hours, .have_delay = true
			};
		vm_sample_derive(&s, &last);
		assert_true(s.facts[VM_VCPUS_DELAY].value.u >= sum);
		sum = s.facts[VM_VCPUS_DELAY].value.u;
		if (!s.facts[VM_USAGE_STEAL].have)
			/* what it waited since it was last there is not known */
			assert_true(i == 0 || i % 4 == 0);
		else
			assert_in_range((int)s.facts[VM_USAGE_STEAL].value.real,
				there ? 4 : 9, there ? 5 : 10);
	}
	assert_true(sum < hours + 2 * NS_PER_S);
	vm_counters_done(&last);
	vm_sample_done(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(listeners_hear_each_change_once),
		cmocka_unit_test(a_late_list_undoes_no_event),
		cmocka_unit_test(a_list_finds_what_events_missed),
		cmocka_unit_test(an_earlier_report_never_wins),
		cmocka_unit_test(a_name_has_one_owner),
		cmocka_unit_test(many_vms_start_with_one_publication),
		cmocka_unit_test(a_description_publishes_nothing),
		cmocka_unit_test(a_run_that_has_ended_is_not_shown),
		cmocka_unit_test(places_live_as_long_as_their_run),
		cmocka_unit_test(the_first_lane_serves_a_metric),
		cmocka_unit_test(board_knows_runs_and_configurations),
		cmocka_unit_test(other_grants_are_published_at_once),
		cmocka_unit_test(missed_beats_are_skipped_and_counted),
		cmocka_unit_test(a_vcpu_missing_for_a_moment_makes_no_spike),
		cmocka_unit_test(a_vcpu_that_comes_or_goes_shows_in_no_rate),
		cmocka_unit_test(a_quota_of_many_throttles_at_most_all_the_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

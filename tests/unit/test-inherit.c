/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* model: what a process takes over from the one before. */
#include "handed-on.h"
#include "test.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>

#include "core/sizes.h"
#include "model/board.h"
#include "model/registry.h"
#include "util/cleanup.h"
#include "util/limits.h"
#include "util/log.h"

/* A process, as far as this is concerned. */
struct process {
	struct plan *plan;
	struct registry *registry;
	struct tree *tree;
	struct board *board;
	struct sizes sizes; /* of disks */
	char heard[64];     /* what the registry told, a letter each */
};

static void hear(void *ctx, enum registry_event event, struct run *run)
{
	static const char letters[] = { [RUN_APPEARED] = '+',
		[RUN_DESCRIBED] = 'd',
		[RUN_GONE] = '-',
		[REGISTRY_SETTLED] = '.' };
	struct process *p = ctx;
	size_t n = strlen(p->heard);

	(void)run;
	assert_true(n + 1 < sizeof(p->heard));
	p->heard[n] = letters[event];
}

static void process_start(struct process *p, struct plan *plan)
{
	*p = (struct process){
		.plan = plan, .registry = registry_new(), .tree = tree_new()
	};
	p->board = board_new(p->tree, p->registry, p->plan);
	sizes_init(&p->sizes, 65536);
	board_set_sizes(p->board, &p->sizes);
}

static void process_end(struct process *p)
{
	board_free(p->board);
	sizes_done(&p->sizes);
	registry_free(p->registry);
	tree_free(p->tree);
	plan_unref(p->plan);
}

/* Where VMs' processes are: pid 100 + id, started then; @gone: this one ended. */
struct host {
	int gone, reused;
};

static bool still_runs(void *ctx, int pid, uint64_t start_ticks)
{
	const struct host *host = ctx;

	return pid != host->gone && start_ticks == (pid == host->reused ? 1 : 5555);
}

static void bring(
	struct process *p, struct run *run, size_t lane, struct metric_list *list)
{
	board_update(p->board, run, lane, list);
}

/* Two VMs that were sampled by all lanes, and the host. */
static void first_process(struct process *p)
{
	static const struct vm_ident *const idents[] = { &vm_a, &vm_b };

	fake_ns = 2 * NS_PER_S;
	process_start(p, checkpoint_plan());
	for (size_t i = 0; i < ARRAY_LEN(idents); i++) {
		_cleanup_run_ struct run *run = registry_report(p->registry,
			registry_order(p->registry), idents[i], HYPERVISOR_QEMU);

		run_set_process(run, 100 + idents[i]->id, 5555, -1);
		atomic_store(&run->session, 77);
		atomic_store(&run->started_mono_ns, NS_PER_S);
		atomic_store(&run->slow_mono_ns, fake_ns);
		bring(p, run, LANE_FAST, fast_list_of(p->plan, 1000));
		bring(p, run, LANE_LIBVIRT, slow_list(p->plan, 50));
		bring(p, run, LANE_ACTION_0 + ACT, act_list(p->plan, 4));
		bring(p, run, LANE_ACTION_0 + XML, xml_list(p->plan));
	}
	bring(p, NULL, LANE_HOST, host_list(p->plan, 1));
	board_publish(p->board);
}

static uint8_t shared[1u << 16]; /* between the two */

/* Ends @p and starts the next one, a second later, on what it left. */
static int replace(struct process *p, struct plan *plan, struct host *host)
{
	size_t needed = 0,
	       size = board_checkpoint(p->board, shared, sizeof(shared), &needed);
	const struct board_inheritance from = {
		.bytes = shared, .size = size, .runs = still_runs, .ctx = host
	};

	assert_int_equal(size, needed);
	process_end(p);
	fake_ns += NS_PER_S;
	process_start(p, plan);
	return board_inherit(p->board, &from);
}

static void first_and_second(struct process *p)
{
	struct host host = { 0 };

	first_process(p);
	assert_int_equal(replace(p, checkpoint_plan(), &host), 0);
	registry_subscribe(p->registry, (struct registry_listener){ hear, p });
}

static struct run *run_of(struct process *p, const struct vm_ident *vm)
{
	_cleanup_roster_ struct roster *roster = registry_roster(p->registry);
	struct run *run = roster_find(roster, &vm->uuid);

	return run ? run_ref(run) : NULL;
}

/* A copy of what readers see of it; @vm: NULL for the host. */
static struct metric shown(struct process *p, const struct vm_ident *vm, const char *name)
{
	_cleanup_view_ struct view *view = tree_view(p->tree);
	const struct snapshot *s = vm ? view_find_uuid(view, &vm->uuid) : view->host;
	const struct metric *m = s ? snapshot_find(s, name) : NULL;

	return m ? *m : (struct metric){ 0 };
}

#define assert_shown(p, vm, name, number)                                                \
	do {                                                                             \
		struct metric m_ = shown(p, vm, name);                                   \
                                                                                         \
		assert_true(m_.available);                                               \
		assert_int_equal(m_.value.u, number);                                    \
	} while (0)

static void vms_are_there_at_once_with_their_times(void **state)
{
	(void)state;
	struct process p;
	struct host host = { 0 };

	first_process(&p);
	_cleanup_view_ struct view *before = tree_view(p.tree);

	assert_int_equal(replace(&p, checkpoint_plan(), &host), 0);
	_cleanup_view_ struct view *after = tree_view(p.tree);

	assert_int_equal(after->generation, before->generation + 1);
	assert_int_equal(after->vms_ns, before->vms_ns);
	assert_int_equal(after->vms_generation, before->vms_generation);
	assert_int_equal(after->n_vms, 2);
	for (size_t i = 0; i <= 2; i++) {
		const struct snapshot *a = i < 2 ? before->vms[i] : before->host;
		const struct snapshot *b = i < 2 ? after->vms[i] : after->host;

		assert_int_equal(a->n, b->n);
		for (size_t k = 0; k < a->n; k++)
			assert_same_metric(snapshot_metric(a, k), snapshot_metric(b, k));
		assert_int_equal(b->time_ns, a->time_ns);
		assert_int_equal(b->shape_ns, a->shape_ns);
		assert_int_equal(b->updated_mono_ns, a->updated_mono_ns);
		assert_true(b->collected);
	}
	_cleanup_run_ struct run *run = run_of(&p, &vm_a);

	assert_int_equal(atomic_load(&run->session), 77);
	assert_int_equal(atomic_load(&run->started_mono_ns), NS_PER_S);
	assert_int_equal(after->vms[0]->started_mono_ns, NS_PER_S);
	assert_int_equal(atomic_load(&run->slow_mono_ns), 2 * NS_PER_S);
	process_end(&p);
}

/* Who opened a disk before its size was raised goes by that one, whoever serves it. */
static void the_sizes_that_disks_had_are_known(void **state)
{
	(void)state;
	struct process p;
	struct host host = { 0 };

	first_process(&p);
	sizes_set(&p.sizes, 4 * 65536, 1500 * NS_PER_MS);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(replace(&p, checkpoint_plan(), &host), 0);
		assert_int_equal(sizes_now(&p.sizes), 4 * 65536);
		assert_int_equal(sizes_since(&p.sizes, NS_PER_S), 65536);
		assert_int_equal(sizes_since(&p.sizes, 2 * NS_PER_S), 4 * 65536);
	}
	process_end(&p);
}

/* What readers see of the VM's waits: how many in each bucket but the first; 0: none. */
static uint64_t shown_waits(struct process *p)
{
	_cleanup_view_ struct view *view = tree_view(p->tree);
	const struct snapshot *s = view_find_uuid(view, &vm_a.uuid);

	assert_true(s->n_histograms <= 1 && !snapshot_find(s, "waits"));
	if (!s->n_histograms || !snapshot_histogram(s, 0)->available)
		return 0;
	const struct histogram *h = snapshot_histogram(s, 0)->value.h;

	assert_int_equal(h->counts[0], 0);
	assert_int_equal(h->sum, h->counts[1] << 33);
	for (size_t i = 2; i <= histogram_bounds(h->kind)->n; i++)
		assert_int_equal(h->counts[i], h->counts[1]);
	return h->counts[1];
}

static void bring_waits(struct process *p, uint64_t n, uint64_t origin)
{
	_cleanup_run_ struct run *run = run_of(p, &vm_a);

	bring(p, run, LANE_FAST, waits_list(p->plan, n, origin));
	board_publish(p->board);
}

/* Each process counts its own from nothing; what is told goes on over two deaths. */
static void a_histogram_goes_on(void **state)
{
	(void)state;
	struct process p;
	struct host host = { 0 };
	uint64_t before = 0;

	first_process(&p);
	for (uint64_t death = 1; death < 4; death++) {
		assert_int_equal(shown_waits(&p), before);
		/* less than there was, as much, and more */
		for (uint64_t n = 0; n < 20; n += 5) {
			bring_waits(&p, n, death);
			assert_int_equal(shown_waits(&p), before + n);
		}
		/* what is looked at again, and for a while cannot be had */
		bring_waits(&p, 15, death);
		_cleanup_run_ struct run *run = run_of(&p, &vm_a);

		bring(&p, run, LANE_FAST, fast_list_of(p.plan, 1000));
		bring_waits(&p, 20, death);
		assert_int_equal(shown_waits(&p), before + 20);
		before += 20;
		assert_int_equal(replace(&p, checkpoint_plan(), &host), 0);
	}
	assert_int_equal(shown_waits(&p), 60);
	process_end(&p);
}

/* Nobody asks for it any more when the process ends, but again later. */
static void without_waits(struct spec_set *specs)
{
	spec_done(&specs->specs[--specs->n]);
}

static void a_histogram_that_nobody_asks_for_is_remembered(void **state)
{
	(void)state;
	struct process p;
	struct host host = { 0 };

	first_process(&p);
	bring_waits(&p, 7, 1);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(replace(&p, changed_plan(without_waits), &host), 0);
		assert_int_equal(shown_waits(&p), 0);
	}
	assert_int_equal(replace(&p, checkpoint_plan(), &host), 0);
	assert_int_equal(shown_waits(&p), 0);
	bring_waits(&p, 1, 2);
	assert_int_equal(shown_waits(&p), 8);
	process_end(&p);
}

static void readers_may_have_seen_a_later_generation(void **state)
{
	(void)state;
	struct process p;
	const struct board_inheritance from = { .generation = 1000 };

	process_start(&p, checkpoint_plan());
	assert_int_equal(board_inherit(p.board, &from), 0);
	board_publish(p.board);
	assert_int_equal(tree_generation(p.tree), 1001);
	process_end(&p);
}

static void a_damaged_checkpoint_is_not_used_at_all(void **state)
{
	(void)state;
	struct process p;
	size_t needed = 0;

	first_process(&p);
	size_t size = board_checkpoint(p.board, shared, sizeof(shared), &needed);
	const struct board_inheritance from = {
		.bytes = shared, .size = size - 1, .generation = 9, .runs = still_runs
	};

	process_end(&p);
	process_start(&p, checkpoint_plan());
	assert_int_equal(board_inherit(p.board, &from), -EINVAL);
	board_publish(p.board);
	_cleanup_view_ struct view *view = tree_view(p.tree);

	assert_int_equal(view->generation, 10);
	assert_int_equal(view->n_vms, 0);
	assert_int_equal(view->host->n, 0);
	process_end(&p);
}

/* Its process is gone, or the pid is another one's. */
static void a_vm_whose_process_ended_does_not_go_on(void **state)
{
	(void)state;
	struct host hosts[] = { { .gone = 101 }, { .reused = 101 } };

	for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
		struct process p;

		first_process(&p);
		assert_int_equal(replace(&p, checkpoint_plan(), &hosts[i]), 0);
		_cleanup_view_ struct view *view = tree_view(p.tree);

		assert_int_equal(view->n_vms, 1);
		assert_null(view_find_uuid(view, &vm_a.uuid));
		assert_non_null(view_find_uuid(view, &vm_b.uuid));
		assert_int_equal(view->vms_generation, view->generation);
		process_end(&p);
	}
}

static void the_first_list_keeps_what_it_names(void **state)
{
	(void)state;
	struct process p;
	const struct vm_ident both[] = { vm_a, vm_b };

	first_and_second(&p);
	assert_string_equal(p.heard, "++."); /* the listener is new */
	_cleanup_run_ struct run *run = run_of(&p, &vm_a);

	registry_report_all(
		p.registry, registry_list_order(p.registry), both, 2, HYPERVISOR_QEMU);
	_cleanup_run_ struct run *event = registry_report(
		p.registry, registry_order(p.registry), &vm_a, HYPERVISOR_QEMU);

	assert_ptr_equal(event, run);
	assert_string_equal(p.heard, "++.");
	/* what it does not name has ended */
	registry_report_all(p.registry, registry_list_order(p.registry), &both[1], 1,
		HYPERVISOR_QEMU);
	assert_string_equal(p.heard, "++.-.");
	assert_null(run_of(&p, &vm_a));
	/* another run of the same VM is another one */
	struct vm_ident again = vm_b;

	again.id = 12;
	registry_report_all(
		p.registry, registry_list_order(p.registry), &again, 1, HYPERVISOR_QEMU);
	assert_string_equal(p.heard, "++.-.-+.");
	_cleanup_run_ struct run *other = run_of(&p, &vm_b);

	assert_int_equal(atomic_load(&other->session), 0);
	assert_false(shown(&p, &vm_b, "cpu.time").available);
	process_end(&p);
}

/* The kernel's lane works; libvirt hangs. */
static void what_libvirt_told_stays_while_it_does_not_answer(void **state)
{
	(void)state;
	struct process p;

	first_and_second(&p);
	_cleanup_run_ struct run *run = run_of(&p, &vm_a);

	for (unsigned i = 0; i < 100; i++) {
		struct metric_list_builder *b =
			metric_list_builder_new(p.plan->specs, fake_ns);

		/* the sampler says so of libvirt's figures when they are late */
		metric_list_builder_add(b, STATE, NULL, NULL);
		bring(&p, run, LANE_FAST, fast_list_of(p.plan, 1001 + i));
		bring(&p, run, LANE_ABOUT, metric_list_builder_finish(b));
		board_publish(p.board);
		fake_ns += NS_PER_S;
	}
	assert_shown(&p, &vm_a, "cpu.time", 1100);
	assert_shown(&p, &vm_a, "block.0.rd.bytes", 50);
	assert_true(shown(&p, &vm_a, "state").available);
	/* and looks as old as it is */
	assert_int_equal(shown(&p, &vm_a, "state").changed_ns, 2 * NS_PER_S);
	assert_shown(&p, &vm_b, "cpu.time", 1000);
	process_end(&p);
}

static void a_value_that_is_the_same_is_as_old_as_it_was(void **state)
{
	(void)state;
	struct process p;

	first_and_second(&p);
	_cleanup_run_ struct run *run = run_of(&p, &vm_a);

	bring(&p, run, LANE_FAST, fast_list_of(p.plan, 1000));
	board_publish(p.board);
	assert_int_equal(shown(&p, &vm_a, "cpu.time").changed_ns, 2 * NS_PER_S);
	bring(&p, run, LANE_FAST, fast_list_of(p.plan, 1001));
	board_publish(p.board);
	assert_int_equal(shown(&p, &vm_a, "cpu.time").changed_ns, fake_ns);
	process_end(&p);
}

/* Libvirt's lane, that has one disk less and cannot tell a figure yet. */
static void bring_less(struct process *p, struct run *run)
{
	struct metric_list_builder *b = metric_list_builder_new(p->plan->specs, fake_ns);

	metric_list_builder_add(b, STATE, NULL, NULL);
	bring(p, run, LANE_LIBVIRT, metric_list_builder_finish(b));
	board_publish(p->board);
}

/* Rates need two samples; what is there no more goes with its lane's turns. */
static void what_a_lane_lacks_stays_for_two_of_its_periods(void **state)
{
	(void)state;
	struct process p;

	first_and_second(&p);
	_cleanup_run_ struct run *run = run_of(&p, &vm_a);

	/* however late the first turn is */
	fake_ns += 600 * NS_PER_S;
	bring_less(&p, run);
	assert_true(shown(&p, &vm_a, "state").available);
	assert_shown(&p, &vm_a, "block.0.rd.bytes", 50);
	fake_ns += p.plan->settings.slow_period_ns;
	bring_less(&p, run);
	assert_true(shown(&p, &vm_a, "state").available);
	assert_shown(&p, &vm_a, "block.0.rd.bytes", 50);
	fake_ns += p.plan->settings.slow_period_ns;
	bring_less(&p, run);
	assert_non_null(shown(&p, &vm_a, "state").label);
	assert_false(shown(&p, &vm_a, "state").available);
	assert_null(shown(&p, &vm_a, "block.0.rd.bytes").label);
	/* others' figures are none of its business */
	assert_shown(&p, &vm_a, "act", 4);
	assert_shown(&p, &vm_b, "block.0.rd.bytes", 50);
	process_end(&p);
}

static void an_actions_figures_stay_until_it_ran(void **state)
{
	(void)state;
	struct process p;

	first_and_second(&p);
	_cleanup_run_ struct run *run = run_of(&p, &vm_a);

	for (unsigned i = 0; i < 10; i++) {
		fake_ns += 600 * NS_PER_S;
		bring(&p, run, LANE_FAST, fast_list_of(p.plan, 2000));
		bring(&p, run, LANE_LIBVIRT, slow_list(p.plan, 60));
		board_publish(p.board);
	}
	assert_shown(&p, &vm_a, "act", 4);
	assert_true(shown(&p, &vm_a, "x.r").available);
	/* it failed, so that there is no value; another one printed nothing */
	struct metric_list_builder *b = metric_list_builder_new(p.plan->specs, fake_ns);

	metric_list_builder_add(b, ACT, NULL, NULL);
	bring(&p, run, LANE_ACTION_0 + ACT, metric_list_builder_finish(b));
	b = metric_list_builder_new(p.plan->specs, fake_ns);
	bring(&p, run, LANE_ACTION_0 + XML, metric_list_builder_finish(b));
	board_publish(p.board);
	assert_non_null(shown(&p, &vm_a, "act").label);
	assert_false(shown(&p, &vm_a, "act").available);
	assert_null(shown(&p, &vm_a, "x.r").label);
	process_end(&p);
}

/* A lane's own counters start anew: of vCPUs that were unplugged it knows nothing. */
static void a_counter_does_not_fall(void **state)
{
	(void)state;
	struct process p;
	struct host host = { 0 };
	uint64_t last = 1000;

	first_process(&p);
	for (unsigned change = 0; change < 3; change++) {
		assert_int_equal(replace(&p, checkpoint_plan(), &host), 0);
		assert_shown(&p, &vm_a, "cpu.time", last);
		_cleanup_run_ struct run *run = run_of(&p, &vm_a);

		for (unsigned i = 0; i < 6; i++) {
			fake_ns += NS_PER_S;
			bring(&p, run, LANE_FAST, fast_list_of(p.plan, 300 + 10 * i));
			board_publish(p.board);
			uint64_t now = shown(&p, &vm_a, "cpu.time").value.u;

			assert_true(now >= last);
			last = now;
		}
	}
	/* and goes on: 30 and more with each process */
	assert_true(last > 1090 && last < 1300);
	process_end(&p);
}

/* What was held lower before is held in the next process, too. */
static void a_counter_that_fell_goes_on(void **state)
{
	(void)state;
	struct process p;
	struct host host = { 0 };

	first_process(&p);
	_cleanup_run_ struct run *run = run_of(&p, &vm_a);

	for (unsigned i = 0; i < 5; i++)
		bring(&p, run, LANE_FAST, fast_list_of(p.plan, 10));
	board_publish(p.board);
	uint64_t held = shown(&p, &vm_a, "cpu.time").value.u;

	assert_true(held >= 1000);
	assert_int_equal(replace(&p, checkpoint_plan(), &host), 0);
	_cleanup_run_ struct run *next = run_of(&p, &vm_a);

	bring(&p, next, LANE_FAST, fast_list_of(p.plan, 15));
	board_publish(p.board);
	assert_shown(&p, &vm_a, "cpu.time", held + 5);
	process_end(&p);
}

/* A reload while things are inherited, and a process that ends before it collected. */
static void what_is_inherited_can_be_left_again(void **state)
{
	(void)state;
	struct process p;
	struct host host = { 0 };

	first_and_second(&p);
	_cleanup_plan_ struct plan *plan = changed_plan(change_specs);

	board_set_plan(p.board, plan);
	assert_null(shown(&p, NULL, "TotalCPUTime").label);
	assert_shown(&p, &vm_a, "vcpu.0.time", 1000);
	assert_int_equal(replace(&p, plan_ref(plan), &host), 0);
	assert_shown(&p, &vm_a, "vcpu.0.time", 1000);
	assert_shown(&p, &vm_b, "act", 4);
	assert_int_equal(shown(&p, &vm_b, "act").changed_ns, 2 * NS_PER_S);
	_cleanup_run_ struct run *run = run_of(&p, &vm_a);

	assert_int_equal(atomic_load(&run->session), 77);
	assert_int_equal(atomic_load(&run->pid), 101);
	process_end(&p);
}

static unsigned n_warnings;

void __wrap_log_write(
	enum log_level level, const struct log_about *about, const char *fmt, ...);
void __wrap_log_write(
	enum log_level level, const struct log_about *about, const char *fmt, ...)
{
	(void)about;
	(void)fmt;
	n_warnings += level <= LOG_LEVEL_WARNING;
}

/* Names that a QEMU invents, new ones each time. */
static void names_without_end_are_said_once(void **state)
{
	(void)state;
	struct process p;

	n_warnings = 0;
	first_process(&p);
	_cleanup_run_ struct run *run = run_of(&p, &vm_a);

	for (unsigned round = 0; round < 5; round++) {
		struct metric_list_builder *b =
			metric_list_builder_new(p.plan->specs, fake_ns);
		struct value v = value_u64(7);

		metric_list_builder_set_owner(b, run->key);
		for (unsigned i = 0; i < LIMIT_VM_LABELS / 2; i++) {
			char index[16];

			snprintf(index, sizeof(index), "%u.%u", round, i);
			metric_list_builder_add(b, RD_BYTES, index, &v);
		}
		metric_list_builder_add(b, STATE, NULL, NULL);
		bring(&p, run, LANE_LIBVIRT, metric_list_builder_finish(b));
		board_publish(p.board);
		assert_int_equal(n_warnings, round > 1);
		assert_non_null(shown(&p, &vm_a, "state").label);
	}
	process_end(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vms_are_there_at_once_with_their_times),
		cmocka_unit_test(a_histogram_goes_on),
		cmocka_unit_test(a_histogram_that_nobody_asks_for_is_remembered),
		cmocka_unit_test(readers_may_have_seen_a_later_generation),
		cmocka_unit_test(a_damaged_checkpoint_is_not_used_at_all),
		cmocka_unit_test(a_vm_whose_process_ended_does_not_go_on),
		cmocka_unit_test(the_first_list_keeps_what_it_names),
		cmocka_unit_test(what_libvirt_told_stays_while_it_does_not_answer),
		cmocka_unit_test(a_value_that_is_the_same_is_as_old_as_it_was),
		cmocka_unit_test(what_a_lane_lacks_stays_for_two_of_its_periods),
		cmocka_unit_test(an_actions_figures_stay_until_it_ran),
		cmocka_unit_test(the_sizes_that_disks_had_are_known),
		cmocka_unit_test(a_counter_does_not_fall),
		cmocka_unit_test(a_counter_that_fell_goes_on),
		cmocka_unit_test(what_is_inherited_can_be_left_again),
		cmocka_unit_test(names_without_end_are_said_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What libvirt does once a year: events and lists that overtake each other, calls that do
 * not come back, or late, or fail, and connections that break meanwhile.
 */
#include "virt-program.h"

#include "collect/libvirt/slow_job.h"

/* ---- lists and events ---- */

static void a_list_does_not_undo_events_that_came_after_it_was_asked_for(void **state)
{
	struct program *p = *state;

	start_vms(3);
	fake_hold(FAKE_LIST, FAKE_ALL);
	start_program(p, NULL);
	assert_int_equal(fake_held(FAKE_LIST), 1);
	/* the list has 0, 1 and 2 on its way */
	fake_start(3);
	fake_stop(0);
	fake_stop(1);
	fake_start(1);
	fake_settle();
	_cleanup_run_ struct run *started = run_of(p, 3), *again = run_of(p, 1);

	assert_non_null(started);
	assert_non_null(again);
	fake_release(FAKE_LIST, FAKE_ALL);
	fake_settle();
	_cleanup_run_ struct run *started_now = run_of(p, 3), *again_now = run_of(p, 1);

	assert_ptr_equal(started, started_now);
	assert_ptr_equal(again, again_now);
	assert_false(runs(p, 0));
	assert_true(runs(p, 2));
	assert_int_equal(n_connected, 1);
}

static void what_events_did_not_tell_the_list_does(void **state)
{
	struct program *p = *state;

	start_vms(2);
	start_program(p, NULL);
	fake_start_silently(2);
	fake_stop_silently(0);
	fake_advance(15 * NS_PER_S);
	assert_false(runs(p, 0));
	assert_true(runs(p, 1) && runs(p, 2));
	assert_int_equal(memory_kib(p, 2), 1024);
}

/* Its interfaces have no names yet, and nobody listens on its channel. */
static void a_vm_that_is_listed_while_it_starts_is_described_when_it_runs(void **state)
{
	struct program *p = *state;

	fake_set_memory(0, 1000);
	start_program(p, NULL);
	fake_start_silently(0);
	fake_advance(15 * NS_PER_S);
	assert_int_equal(memory_kib(p, 0), 1000);
	fake_set_memory(0, 2000);
	fake_suspend(0); /* stands for any event of its life */
	fake_settle();
	assert_int_equal(memory_kib(p, 0), 2000);

	/* and no more often than once */
	unsigned before = fake_calls(FAKE_XML, 0);

	fake_suspend(0);
	fake_advance(15 * NS_PER_S);
	fake_suspend(0);
	fake_settle();
	assert_int_equal(fake_calls(FAKE_XML, 0), before);
}

static void a_list_that_fails_changes_nothing(void **state)
{
	struct program *p = *state;

	start_vms(2);
	start_program(p, NULL);
	fake_stop_silently(0);
	fake_fail(FAKE_LIST, FAKE_ALL, VIR_ERR_OPERATION_TIMEOUT);
	fake_advance(15 * NS_PER_S);
	assert_true(runs(p, 0) && runs(p, 1));
	fake_fail(FAKE_LIST, FAKE_ALL, VIR_ERR_OK);
	fake_advance(15 * NS_PER_S);
	assert_false(runs(p, 0));
	assert_true(runs(p, 1));
	assert_state(p, "connected");
}

/* ---- descriptions ---- */

static void a_change_while_it_is_described_is_seen(void **state)
{
	struct program *p = *state;

	start_vms(1);
	fake_hold(FAKE_XML, 0);
	start_program(p, NULL);
	assert_int_equal(fake_held(FAKE_XML), 1);
	fake_plug(0, 2048);
	fake_settle();
	fake_release(FAKE_XML, 0);
	fake_settle();
	assert_int_equal(memory_kib(p, 0), 2048);
	assert_int_equal(fake_calls(FAKE_XML, 0), 2);
}

static void a_vm_that_stops_while_it_is_described_is_gone(void **state)
{
	struct program *p = *state;

	start_vms(2);
	fake_hold(FAKE_XML, 0);
	start_program(p, NULL);
	fake_stop(0);
	fake_settle();
	assert_false(runs(p, 0));
	/* the answer comes; nobody is there to have it */
	fake_release(FAKE_XML, 0);
	fake_advance(3 * NS_PER_S);
	assert_false(runs(p, 0));
	assert_int_equal(fake_calls(FAKE_XML, 0), 1);
	assert_int_equal(fake_calls(FAKE_STATS, 0), 0);
	assert_int_equal(memory_kib(p, 1), 1024);
	/* nor does it go to the next run */
	fake_set_memory(0, 4096);
	fake_start(0);
	fake_settle();
	assert_int_equal(memory_kib(p, 0), 4096);
}

static void a_vm_that_starts_again_while_it_is_described_is_another(void **state)
{
	struct program *p = *state;

	start_vms(1);
	fake_hold(FAKE_XML, 0);
	start_program(p, NULL);
	fake_stop(0);
	fake_set_memory(0, 4096);
	fake_start(0);
	fake_settle();
	assert_true(runs(p, 0));
	assert_int_equal(memory_kib(p, 0), 0);
	fake_release(FAKE_XML, 0);
	fake_settle();
	assert_int_equal(memory_kib(p, 0), 4096);
	assert_int_equal(age_ns(p, 0), 0);
}

static void a_description_that_cannot_be_had_is_asked_for_again(void **state)
{
	struct program *p = *state;

	start_vms(2);
	fake_fail(FAKE_XML, 0, VIR_ERR_OPERATION_TIMEOUT);
	start_program(p, NULL);
	assert_int_equal(memory_kib(p, 0), 0);
	assert_int_equal(memory_kib(p, 1), 1024);
	/* its figures need no description */
	assert_int_equal(age_ns(p, 0), 0);
	fake_advance(10 * PERIOD_NS);
	assert_in_range(fake_calls(FAKE_XML, 0), 3, 11);
	/* nor would it help to ask all the time, or to say it again */
	fake_advance(3600 * NS_PER_S);
	assert_in_range(fake_calls(FAKE_XML, 0), 12, 24);
	assert_int_equal(fake_logged("its description cannot be read"), 1);
	fake_fail(FAKE_XML, 0, VIR_ERR_OK);
	fake_plug(0, 2048);
	fake_settle();
	assert_int_equal(memory_kib(p, 0), 2048);
}

static void a_description_that_failed_once_is_soon_there(void **state)
{
	struct program *p = *state;

	start_vms(1);
	fake_fail(FAKE_XML, 0, VIR_ERR_OPERATION_TIMEOUT);
	start_program(p, NULL);
	fake_fail(FAKE_XML, 0, VIR_ERR_OK);
	fake_advance(2 * PERIOD_NS);
	assert_int_equal(memory_kib(p, 0), 1024);
	fake_advance(100 * PERIOD_NS);
	assert_int_equal(fake_calls(FAKE_XML, 0), 2);
}

static void a_balloon_that_never_rests_is_described_once_a_period(void **state)
{
	struct program *p = *state;
	unsigned before, kib = 2048;

	start_vms(2);
	start_program(p, NULL);
	before = fake_calls(FAKE_XML, 0);
	for (unsigned i = 0; i < 200; i++) {
		fake_balloon(0, ++kib);
		fake_advance(PERIOD_NS / 20);
	}
	assert_in_range(fake_calls(FAKE_XML, 0) - before, 9, 10);
	/* and the last change is seen */
	fake_advance(PERIOD_NS);
	assert_int_equal(memory_kib(p, 0), kib);
	assert_int_equal(fake_calls(FAKE_XML, 1), 1);
}

/* ---- calls that do not come back ---- */

static void a_vm_that_hangs_costs_its_own_figures_alone(void **state)
{
	struct program *p = *state;

	start_vms(6);
	start_program(p, NULL);
	fake_hold(FAKE_STATS, 2);
	fake_advance(PERIOD_NS + PERIOD_NS / 2);
	assert_int_equal(fake_held(FAKE_STATS), 1);
	assert_int_equal(abandoned(p), 0);
	fake_advance(2 * NS_PER_S);
	assert_int_equal(abandoned(p), 1);
	fake_advance(2 * NS_PER_S);
	assert_true(is_silent(p, 2));
	assert_int_equal(fake_logged("VM 'vm2' does not answer"), 1);
	/* it is not asked any more, and the others are, as ever */
	unsigned asked = fake_calls(FAKE_STATS, 2);

	assert_in_range(worst_age_ns(p, 0, 1, 20 * NS_PER_S), 1, 3 * PERIOD_NS / 2);
	assert_in_range(worst_age_ns(p, 3, 5, 20 * NS_PER_S), 1, 3 * PERIOD_NS / 2);
	assert_int_equal(fake_calls(FAKE_STATS, 2), asked);
	assert_int_equal(abandoned(p), 1);
	assert_int_equal(fake_held(FAKE_STATS), 1);
	assert_int_equal(fake_logged("does not answer"), 1);
	/* until it answers */
	fake_release(FAKE_STATS, 2);
	fake_advance(2 * PERIOD_NS);
	assert_in_range(worst_age_ns(p, 0, 5, 5 * NS_PER_S), 1, 3 * PERIOD_NS / 2);
	assert_false(is_silent(p, 2));
	assert_int_equal(fake_logged("VM 'vm2' answers again"), 1);
}

static void so_many_calls_are_given_up_and_no_more(void **state)
{
	struct program *p = *state;

	start_vms(FAKE_VMS);
	start_program(p, NULL);
	/* nor do monitors tell why */
	fake_hold(FAKE_STATS, FAKE_ALL);
	fake_fail(FAKE_CONTROL, FAKE_ALL, VIR_ERR_OPERATION_UNSUPPORTED);
	fake_advance(60 * NS_PER_S);
	assert_in_range(fake_held(FAKE_STATS), 2, 4);
	assert_int_equal(abandoned(p), fake_held(FAKE_STATS));
	assert_int_equal(fake_logged("libvirt does not answer 4 calls"), 1);
	assert_state(p, "connected");
	fake_release(FAKE_STATS, FAKE_ALL);
	fake_advance(2 * PERIOD_NS);
	assert_in_range(
		worst_age_ns(p, 0, FAKE_VMS - 1, 5 * NS_PER_S), 1, 3 * PERIOD_NS / 2);
}

static void a_description_that_hangs_costs_others_no_figures(void **state)
{
	struct program *p = *state;

	start_vms(3);
	start_program(p, NULL);
	fake_hold(FAKE_XML, 1);
	fake_plug(1, 2048);
	fake_settle();
	assert_int_equal(fake_held(FAKE_XML), 1);
	assert_in_range(worst_age_ns(p, 0, 2, 10 * NS_PER_S), 1, 3 * PERIOD_NS / 2);
	fake_stop(2);
	fake_settle();
	assert_false(runs(p, 2));
}

/* ---- calls that fail ---- */

static void a_vm_whose_figures_fail_costs_its_own_alone(void **state)
{
	struct program *p = *state;

	start_vms(6);
	start_program(p, NULL);
	fake_fail(FAKE_STATS, 2, VIR_ERR_INTERNAL_ERROR);
	fake_advance(3 * PERIOD_NS);
	assert_in_range(worst_age_ns(p, 0, 1, 5 * NS_PER_S), 1, 3 * PERIOD_NS / 2);
	assert_in_range(worst_age_ns(p, 3, 5, 5 * NS_PER_S), 1, 3 * PERIOD_NS / 2);
	assert_int_equal(fake_logged("VM 'vm2': libvirt has no statistics"), 1);
	assert_int_equal(fake_logged("no statistics"), 1);
	assert_state(p, "connected");
	fake_fail(FAKE_STATS, 2, VIR_ERR_OK);
	fake_advance(2 * PERIOD_NS);
	assert_in_range(worst_age_ns(p, 0, 5, 5 * NS_PER_S), 1, 3 * PERIOD_NS / 2);
}

static void a_driver_without_nowait_is_asked_without(void **state)
{
	struct program *p = *state;

	start_vms(2);
	fake_forbid_nowait();
	start_program(p, NULL);
	assert_in_range(worst_age_ns(p, 0, 1, 5 * NS_PER_S), 1, 3 * PERIOD_NS / 2);
	assert_int_equal(fake_logged("no statistics"), 0);
	/* which is found out once */
	unsigned before = fake_calls(FAKE_STATS, 0);

	fake_advance(10 * PERIOD_NS);
	assert_in_range(fake_calls(FAKE_STATS, 0) - before, 9, 11);
}

/* ---- connections ---- */

static void a_connection_that_is_lost_is_made_again(void **state)
{
	struct program *p = *state;

	start_vms(3);
	start_program(p, NULL);
	assert_state(p, "connected");
	fake_fail(FAKE_OPEN, FAKE_ALL, VIR_ERR_SYSTEM_ERROR);
	fake_break(false);
	fake_settle();
	unsigned tries = fake_calls(FAKE_OPEN, FAKE_ALL);

	fake_advance(20 * NS_PER_S);
	assert_state(p, "failed");
	/* VMs stay, and libvirt is not pestered */
	assert_true(runs(p, 0) && runs(p, 1) && runs(p, 2));
	assert_in_range(fake_calls(FAKE_OPEN, FAKE_ALL) - tries, 2, 20);
	assert_int_equal(fake_logged("does not answer, what it tells"), 1);
	fake_stop_silently(0);
	fake_set_memory(1, 2048);
	fake_fail(FAKE_OPEN, FAKE_ALL, VIR_ERR_OK);
	fake_advance(2 * NS_PER_S);
	assert_state(p, "connected");
	assert_false(runs(p, 0));
	assert_int_equal(memory_kib(p, 1), 2048);
	assert_in_range(worst_age_ns(p, 1, 2, 5 * NS_PER_S), 1, 3 * PERIOD_NS / 2);
	assert_int_equal(fake_calls_in_vain(), 0);
}

static void connections_that_break_at_once_are_made_now_and_then(void **state)
{
	struct program *p = *state;

	start_vms(2);
	fake_break_each(true);
	start_program(p, NULL);
	fake_advance(20 * NS_PER_S);
	assert_in_range(fake_calls(FAKE_OPEN, FAKE_ALL), 2, 22);
	fake_break_each(false);
	fake_advance(3 * NS_PER_S);
	assert_state(p, "connected");
	assert_in_range(worst_age_ns(p, 0, 1, 5 * NS_PER_S), 1, 3 * PERIOD_NS / 2);
}

static void a_late_failure_of_the_old_connection_is_not_one_of_the_new(void **state)
{
	struct program *p = *state;

	start_vms(3);
	start_program(p, NULL);
	fake_hold(FAKE_STATS, 1);
	fake_advance(PERIOD_NS + PERIOD_NS / 2);
	assert_int_equal(fake_held(FAKE_STATS), 1);
	fake_break(false);
	fake_advance(NS_PER_S);
	assert_state(p, "connected");
	unsigned opened = fake_calls(FAKE_OPEN, FAKE_ALL);

	assert_int_equal(opened, 2);
	assert_int_equal(abandoned(p), 0);
	fake_release(FAKE_STATS, 1);
	fake_settle();
	assert_state(p, "connected");
	fake_advance(2 * PERIOD_NS);
	assert_state(p, "connected");
	assert_int_equal(fake_calls(FAKE_OPEN, FAKE_ALL), opened);
	assert_in_range(worst_age_ns(p, 0, 2, 5 * NS_PER_S), 1, 3 * PERIOD_NS / 2);
	assert_int_equal(fake_calls_in_vain(), 0);
}

static void a_late_description_of_the_old_connection_is_dropped(void **state)
{
	struct program *p = *state;

	start_vms(2);
	fake_hold(FAKE_XML, 0);
	start_program(p, NULL);
	assert_int_equal(fake_held(FAKE_XML), 1);
	fake_set_memory(0, 2048);
	fake_fail(FAKE_OPEN, FAKE_ALL, VIR_ERR_SYSTEM_ERROR);
	fake_break(true);
	fake_advance(2 * NS_PER_S);
	assert_state(p, "failed");
	fake_release(FAKE_XML, 0);
	fake_advance(2 * PERIOD_NS);
	assert_int_equal(memory_kib(p, 0), 0);
	fake_fail(FAKE_OPEN, FAKE_ALL, VIR_ERR_OK);
	fake_advance(2 * NS_PER_S);
	assert_state(p, "connected");
	assert_int_equal(memory_kib(p, 0), 2048);
	assert_int_equal(fake_calls_in_vain(), 0);
	assert_in_range(worst_age_ns(p, 0, 1, 5 * NS_PER_S), 1, 3 * PERIOD_NS / 2);
}

static void a_late_event_of_the_old_connection_brings_nothing_of_it(void **state)
{
	struct program *p = *state;

	start_vms(1);
	start_program(p, NULL);
	fake_hold(FAKE_IDENT, 1);
	fake_start(1);
	fake_settle();
	assert_int_equal(fake_held(FAKE_IDENT), 1);
	fake_fail(FAKE_OPEN, FAKE_ALL, VIR_ERR_SYSTEM_ERROR);
	fake_break(false);
	/* the thread that would be told is busy with the event: a call finds it out */
	fake_advance(3 * PERIOD_NS);
	assert_state(p, "failed");
	unsigned in_vain = fake_calls_in_vain();

	fake_release(FAKE_IDENT, 1);
	fake_advance(2 * PERIOD_NS);
	assert_true(runs(p, 1));
	fake_fail(FAKE_OPEN, FAKE_ALL, VIR_ERR_OK);
	fake_advance(2 * NS_PER_S);
	assert_state(p, "connected");
	assert_int_equal(memory_kib(p, 1), 1024);
	assert_in_range(worst_age_ns(p, 0, 1, 5 * NS_PER_S), 1, 3 * PERIOD_NS / 2);
	assert_int_equal(fake_calls_in_vain(), in_vain);
}

static void a_uri_that_nothing_serves_is_said_once_and_seldom_tried(void **state)
{
	struct program *p = *state;

	start_vms(1);
	fake_fail(FAKE_OPEN, FAKE_ALL, VIR_ERR_NO_CONNECT);
	start_program(p, "qemuu:///system");
	fake_advance(59 * NS_PER_S);
	assert_int_equal(fake_calls(FAKE_OPEN, FAKE_ALL), 1);
	assert_state(p, "hopeless");
	fake_advance(600 * NS_PER_S);
	assert_in_range(fake_calls(FAKE_OPEN, FAKE_ALL), 2, 12);
	assert_int_equal(fake_logged("nothing serves qemuu:///system"), 1);
	/* its driver is installed */
	fake_fail(FAKE_OPEN, FAKE_ALL, VIR_ERR_OK);
	fake_advance(61 * NS_PER_S);
	assert_state(p, "connected");
	assert_true(runs(p, 0));
}

static void without_a_uri_there_is_always_hope(void **state)
{
	struct program *p = *state;

	start_vms(1);
	fake_fail(FAKE_OPEN, FAKE_ALL, VIR_ERR_NO_CONNECT);
	start_program(p, NULL);
	fake_advance(10 * NS_PER_S);
	assert_state(p, "failed");
	fake_fail(FAKE_OPEN, FAKE_ALL, VIR_ERR_OK);
	fake_advance(2 * NS_PER_S);
	assert_state(p, "connected");
}

/* ---- the end ---- */

static void it_ends_with_events_and_calls_under_way(void **state)
{
	struct program *p = *state;

	start_vms(2);
	start_program(p, NULL);
	fake_suspend(0);
	fake_plug(1, 2048);
	fake_stop(1);
}

static void it_does_not_wait_for_ever_for_a_call_to_end(void **state)
{
	struct program *p = *state;

	start_vms(2);
	fake_hold(FAKE_LIST, FAKE_ALL);
	start_program(p, NULL);
	int64_t before = clock_mono_ns();

	assert_false(virt_stop(p->virt));
	assert_in_range(clock_mono_ns() - before, NS_PER_S, 10 * NS_PER_S);
}

/* Not since it was thought of: a busy machine may take its time in between. */
static void figures_are_as_old_as_the_question(void **state)
{
	struct program *p = *state;

	start_program(p, NULL);
	fake_start(0);
	fake_settle();
	_cleanup_run_ struct run *run = run_of(p, 0);
	_cleanup_plan_ struct plan *plan = board_plan(p->board);
	struct slow_job *job = slow_job_new(JOB_STATS, plan, ASK_ALL, 0);
	const struct slow_memory memory = { 0 };
	_Atomic bool no_nowait = false;
	virConnectPtr conn = virConnectOpenReadOnly(NULL);
	virDomainPtr *doms = NULL;

	assert_int_equal(
		virConnectListAllDomains(conn, &doms, VIR_CONNECT_LIST_DOMAINS_ACTIVE),
		1);
	slow_job_add(job, run, doms[0], &memory, false);
	fake_advance(PERIOD_NS / 4);
	slow_job_call(job, -1, &no_nowait);
	const int64_t asked_ns = clock_mono_ns();

	fake_advance(PERIOD_NS / 4);
	slow_job_store(job, p->board);
	assert_int_equal(atomic_load(&run->slow_mono_ns), asked_ns);
	assert_int_equal(job->items[0].memory.last.mono_ns, asked_ns);
	slow_job_free(job);
	virDomainFree(doms[0]);
	free(doms);
	virConnectClose(conn);
}

/* Each restart would have libvirt and all QEMUs work at once. */
static void who_was_asked_by_the_process_before_is_asked_again_in_time(void **state)
{
	struct program *p = *state;
	struct vm_ident ident = { 0 };

	start_vms(2);
	fake_time_reset();
	virConnectPtr conn = virConnectOpenReadOnly(NULL);
	virDomainPtr *doms = NULL;

	assert_int_equal(
		virConnectListAllDomains(conn, &doms, VIR_CONNECT_LIST_DOMAINS_ACTIVE),
		2);
	ident.id = (int)virDomainGetID(doms[0]);
	ident.name = virDomainGetName(doms[0]);
	virDomainGetUUID(doms[0], ident.uuid.b);
	struct run *run = run_new(&ident, HYPERVISOR_OTHER);

	atomic_store(&run->slow_mono_ns, clock_mono_ns());
	for (int i = 0; i < 2; i++)
		virDomainFree(doms[i]);
	free(doms);
	virConnectClose(conn);
	registry_inherit(p->registry, &run, 1);
	start_program(p, NULL);
	_cleanup_run_ struct run *same = run_of(p, 0);

	assert_ptr_equal(same, run);
	assert_int_equal(memory_kib(p, 0), 1024);
	assert_int_equal(fake_calls(FAKE_STATS, 0), 0);
	assert_int_equal(fake_calls(FAKE_STATS, 1), 1);
	fake_advance(PERIOD_NS * 3 / 2);
	assert_in_range(fake_calls(FAKE_STATS, 0), 1, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_list_does_not_undo_events_that_came_after_it_was_asked_for),
		TEST(what_events_did_not_tell_the_list_does),
		TEST(a_vm_that_is_listed_while_it_starts_is_described_when_it_runs),
		TEST(a_list_that_fails_changes_nothing),
		TEST(a_change_while_it_is_described_is_seen),
		TEST(a_vm_that_stops_while_it_is_described_is_gone),
		TEST(a_vm_that_starts_again_while_it_is_described_is_another),
		TEST(a_description_that_cannot_be_had_is_asked_for_again),
		TEST(a_description_that_failed_once_is_soon_there),
		TEST(a_balloon_that_never_rests_is_described_once_a_period),
		TEST(a_vm_that_hangs_costs_its_own_figures_alone),
		TEST(so_many_calls_are_given_up_and_no_more),
		TEST(a_description_that_hangs_costs_others_no_figures),
		TEST(a_vm_whose_figures_fail_costs_its_own_alone),
		TEST(a_driver_without_nowait_is_asked_without),
		TEST(a_connection_that_is_lost_is_made_again),
		TEST(connections_that_break_at_once_are_made_now_and_then),
		TEST(a_late_failure_of_the_old_connection_is_not_one_of_the_new),
		TEST(a_late_description_of_the_old_connection_is_dropped),
		TEST(a_late_event_of_the_old_connection_brings_nothing_of_it),
		TEST(a_uri_that_nothing_serves_is_said_once_and_seldom_tried),
		TEST(without_a_uri_there_is_always_hope),
		TEST(figures_are_as_old_as_the_question),
		TEST(who_was_asked_by_the_process_before_is_asked_again_in_time),
		TEST(it_ends_with_events_and_calls_under_way),
		TEST(it_does_not_wait_for_ever_for_a_call_to_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

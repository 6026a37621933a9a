/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The program that counts waits, in the kernel, where this process may: against the kernel's own
 * sums, and with threads and processes that want one processor, so that it is known who waits for
 * whom.
 */
#include "delay-burners.h"

#include "util/clock.h"

/* ---- sums ---- */

#define BURNERS 3
#define LEAST_WAIT_NS 50000000u

/* Until the kernel says that each has waited for some time; others may have the processor, too. */
static void await_waits(
	const struct maps *m, const struct burner *burners, const struct look *then)
{
	const int64_t until = clock_mono_ns() + 20 * NS_PER_S;

	for (size_t i = 0; i < BURNERS;) {
		const struct look now = look_at(m, &burners[i]);

		assert_true(clock_mono_ns() < until);
		if (now.kernels - then[i].kernels > LEAST_WAIT_NS)
			i++;
		else
			usleep(10000);
	}
}

static void assert_the_same(
	const struct look *then, const struct look *now, const struct delay_figures *f)
{
	double grown = (double)(now->ours - then->ours);
	double truth = (double)(now->kernels - then->kernels);

	print_message("waited %.1f ms of %.1f, p50 %.2f p99 %.2f max %.2f ms, lost %u\n",
		grown / 1e6, truth / 1e6, (double)f->ns[DELAY_P50] / 1e6,
		(double)f->ns[DELAY_P99] / 1e6, (double)f->ns[DELAY_MAX] / 1e6,
		now->lost - then->lost);
	assert_true(f->ns[DELAY_P50] > 0 && f->ns[DELAY_P50] <= f->ns[DELAY_P90] &&
		f->ns[DELAY_P90] <= f->ns[DELAY_P99] &&
		f->ns[DELAY_P99] <= f->ns[DELAY_MAX] &&
		(double)f->ns[DELAY_MAX] <= grown + 1);
	assert_true(truth > LEAST_WAIT_NS);
	assert_true(grown > truth * 0.999 && grown < truth * 1.001);
}

/* Three that want one processor, one of them now and then: what is counted is what the kernel adds up. */
static void the_kernel_counts_the_same(void **state)
{
	(void)state;
	struct burner burners[BURNERS] = { { .moves = sysconf(_SC_NPROCESSORS_ONLN) > 1,
						   .sleeps = true },
		{ .sleeps = true }, { .sleeps = true } };
	struct look then[BURNERS];
	struct attached a = { 0 };
	struct delay_figures f = { 0 };
	struct delay_spread spread = { 0 };

	attach(&a);
	for (size_t i = 0; i < BURNERS; i++)
		start_burner(&burners[i], a.d);
	/* all were seen by then */
	usleep(100000);
	for (size_t i = 0; i < BURNERS; i++) {
		then[i] = look_at(&a.m, &burners[i]);
		assert_int_equal(read_burner(a.d, &burners[i], &f, &spread), DELAY_KNOWN);
	}
	usleep(300000);
	await_waits(&a.m, burners, then);
	for (size_t i = 0; i < BURNERS; i++) {
		assert_int_equal(read_burner(a.d, &burners[i], &f, &spread), DELAY_KNOWN);
		const struct look now = look_at(&a.m, &burners[i]);

		assert_the_same(&then[i], &now, &f);
	}
	end_burners(burners, BURNERS);
	detach(&a);
}

/* ---- owners ---- */

struct owners {
	uint64_t by[DELAY_OWNERS];
	uint64_t ran
		[3]; /* who it is charged to: another VM, a host's process, its own thread */
};

/* Just when a wait has ended, so that all that others ran by now is charged. */
static struct owners look_at_owners(
	const struct maps *m, const struct burner *b, const uint32_t tids[3])
{
	const struct delay_vcpu *v = vcpu_of(m, b);
	struct owners o = { 0 };
	int64_t since;

	do {
		since = await_wait(m, b);
		for (size_t i = 0; i < 3; i++)
			o.ran[i] = field("schedstat", tids[i], 1);
		for (size_t i = 0; i < DELAY_OWNERS; i++)
			o.by[i] = __atomic_load_n(&v->by_ns[i], __ATOMIC_ACQUIRE);
	} while (clock_mono_ns() - since > SHORT_NS);
	return o;
}

/* From one look to the other. */
static struct owners grown(const struct owners *then, const struct owners *now)
{
	struct owners o;

	for (size_t i = 0; i < DELAY_OWNERS; i++)
		o.by[i] = now->by[i] - then->by[i];
	for (size_t i = 0; i < 3; i++)
		o.ran[i] = now->ran[i] - then->ran[i];
	return o;
}

static void assert_charged(const struct owners *o)
{
	static const enum delay_owner owners[] = { DELAY_BY_VMS, DELAY_BY_HOST,
		DELAY_BY_SELF };
	uint64_t all = 0;

	for (size_t i = 0; i < DELAY_OWNERS; i++)
		all += o->by[i];
	for (size_t i = 0; i < 3; i++) {
		double ran = (double)o->ran[i], charged = (double)o->by[owners[i]];

		print_message("ran %.1f ms, charged %.1f\n", ran / 1e6, charged / 1e6);
		assert_true(ran > 30e6);
		/* the host has other processes, too */
		assert_true(charged > ran - 0.02 * (double)all);
		assert_true(
			owners[i] == DELAY_BY_HOST || charged < ran + 0.02 * (double)all);
	}
	assert_true(o->by[DELAY_BY_QUOTA] == 0);
}

/* One that always works waits exactly while others have its processor. */
static void who_had_the_processor_is_charged(void **state)
{
	(void)state;
	struct burner burners[2] = { 0 };
	struct attached a = { 0 };
	struct owners o = { 0 };
	cpu_set_t processors;

	assert_int_equal(sched_getaffinity(0, sizeof(processors), &processors), 0);
	attach(&a);
	const uint32_t vm = fork_burner(0), host = fork_burner(0);

	assert_true(
		delays_tell_process(a.d, vm, field("stat", vm, 22), &(uint32_t){ 0 }));
	start_burner(&burners[0], a.d);
	start_burner(&burners[1], NULL);
	const uint32_t tids[] = { vm, host, burners[1].tid };

	/* who looks is elsewhere */
	if (sysconf(_SC_NPROCESSORS_ONLN) > 1)
		pin_thread(0, 1);
	usleep(100000);
	/* of a switch that is not seen, while others attach a program, it is known that there was one */
	for (int tries = 0; tries < 10; tries++) {
		const struct owners then = look_at_owners(&a.m, &burners[0], tids);

		usleep(400000);
		const struct owners now = look_at_owners(&a.m, &burners[0], tids);

		o = grown(&then, &now);
		if (!o.by[DELAY_BY_UNKNOWN])
			break;
	}
	assert_charged(&o);
	assert_true(o.by[DELAY_BY_UNKNOWN] == 0);
	sched_setaffinity(0, sizeof(processors), &processors);
	end_burners(burners, 2);
	end_process(vm);
	end_process(host);
	detach(&a);
}

/* One that is moved while it waits waited for those at its old place, too. */
static void who_is_moved_knows_whom_it_waited_for(void **state)
{
	(void)state;
	struct burner b[1] = { 0 };
	struct attached a = { 0 };

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		skip();
	attach(&a);
	const uint32_t vms[] = { fork_burner(0), fork_burner(1) };

	for (size_t i = 0; i < 2; i++)
		assert_true(delays_tell_process(
			a.d, vms[i], field("stat", vms[i], 22), &(uint32_t){ 0 }));
	start_burner(&b[0], a.d);
	usleep(50000);
	const struct look then = look_at(&a.m, &b[0]);
	const uint64_t vms_then = vcpu_of(&a.m, &b[0])->by_ns[DELAY_BY_VMS];

	for (int i = 0; i < 200; i++) {
		pin_thread(b[0].tid, i % 2);
		usleep(3000);
	}
	const struct look now = look_at(&a.m, &b[0]);
	const struct delay_vcpu *v = vcpu_of(&a.m, &b[0]);
	const double all = (double)(now.kernels - then.kernels);

	print_message("waited %.1f ms, for VMs %.1f, unknown %.1f\n", all / 1e6,
		(double)(v->by_ns[DELAY_BY_VMS] - vms_then) / 1e6,
		(double)v->by_ns[DELAY_BY_UNKNOWN] / 1e6);
	assert_true(all > 50e6);
	assert_true((double)v->by_ns[DELAY_BY_UNKNOWN] < all * 0.05);
	end_burners(b, 1);
	for (size_t i = 0; i < 2; i++)
		end_process(vms[i]);
	detach(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_kernel_counts_the_same),
		cmocka_unit_test(who_had_the_processor_is_charged),
		cmocka_unit_test(who_is_moved_knows_whom_it_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

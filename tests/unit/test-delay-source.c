/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who has the waits of vCPUs from whom, and which are a VM's; with a program that is played. */
#include "delay-maps.h"

#include <errno.h>
#include <string.h>

#include "collect/kernel/delay_source.h"
#include "collect/kernel/delay_spread.h"
#include "core/blame.h"
#include "core/catalogue.h"
#include "core/histogram.h"
#include "core/snapshot.h"
#include "model/vm_sample.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/strbuf.h"

static struct {
	const struct maps *maps; /* NULL: refused */
	unsigned asked, let_go;
} keeper;

static const struct vm_ident ident = { .uuid = { { 1 } }, .id = 1, .name = "one" };

static int get(int fd, struct delay_maps *ret, struct strbuf *why)
{
	assert_int_equal(fd, 42);
	keeper.asked++;
	if (!keeper.maps) {
		strbuf_adds(why, "not today");
		return -EPERM;
	}
	ret->bits = BITS;
	for (size_t i = 0; i < DELAY_MAPS; i++)
		ret->fds[i] = dup(keeper.maps->fds[i]);
	return 0;
}

static void let_go(int fd)
{
	assert_int_equal(fd, 42);
	keeper.let_go++;
}

static struct delay_source *source_new(const struct maps *m)
{
	memset(&keeper, 0, sizeof(keeper));
	keeper.maps = m;
	return delay_source_new(&(struct delay_keeper){ 42, get, let_go });
}

static void assert_status(struct delay_source *s, const char *says)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

	delay_source_status(s, &out);
	if (!strstr(strbuf_str(&out), says))
		fail_msg("'%s' is not in: %s", says, strbuf_str(&out));
}

/* So that a second of a test is one of the clock. */
static int64_t base_ns(void)
{
	static int64_t ns;

	if (!ns)
		ns = clock_mono_ns() / NS_PER_S * NS_PER_S;
	return ns;
}

/* A VM with so many vCPUs, at that second; of which the first alone runs all the time. */
static void sample_vcpus(struct delay_source *s, struct vm_sample *vm, unsigned n,
	int64_t second, struct vm_delays *last)
{
	vm_sample_clear(vm);
	vm->mono_ns = base_ns() + second * NS_PER_S;
	vm->pid = 6;
	vm->start_ticks = 60;
	for (unsigned i = 0; i < n; i++) {
		struct vcpu_sample *v = vm_sample_add_vcpu(vm, i);

		v->tid = 7 + i;
		v->start_ticks = 70;
		v->have_time = true;
		v->time_ns = i ? 0 : (uint64_t)vm->mono_ns;
	}
	delay_source_look(s, true);
	delay_source_begin(s, true);
	delay_source_sample(s, &ident, vm, last);
	delay_source_end(s, true);
}

static void sample_two(struct delay_source *s, struct vm_sample *vm, int64_t second,
	struct vm_delays *last)
{
	sample_vcpus(s, vm, 2, second, last);
}

struct fixture {
	struct maps m;
	struct delay_source *s;
	struct vm_sample vm;
	struct vm_delays last;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	maps_init(&f->m);
	f->s = source_new(&f->m);
	*state = f;
	return 0;
}

/* Nobody attaches anything. */
static int setup_refused(void **state)
{
	(void)setup(state);
	keeper.maps = NULL;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	vm_delays_done(&f->last);
	vm_sample_done(&f->vm);
	delay_source_free(f->s);
	maps_done(&f->m);
	free(f);
	return 0;
}

static void who_is_refused_has_no_figures(void **state)
{
	struct fixture *f = *state;

	assert_status(f->s, "bpf: unknown");
	for (int i = 1; i < 3; i++) {
		sample_two(f->s, &f->vm, i, &f->last);
		assert_true(f->vm.uncounted.spread);
		for (int key = VM_DELAY_P50; key <= VM_DELAY_MAX; key++)
			assert_true(f->vm.facts[key].absent && !f->vm.facts[key].have);
		assert_false(f->vm.facts[VM_THREADS].absent);
		assert_status(f->s, "bpf: not today");
	}
	assert_int_equal(keeper.asked, 1);
	/* until it is asked for anew */
	delay_source_look(f->s, false);
	assert_int_equal(keeper.let_go, 1);
	assert_status(f->s, "bpf: off");
	delay_source_look(f->s, false);
	assert_int_equal(keeper.let_go, 1);
	delay_source_look(f->s, true);
	assert_int_equal(keeper.asked, 2);
}

static void all_vcpus_of_a_vm_are_put_together(void **state)
{
	struct fixture *f = *state;

	sample_two(f->s, &f->vm, 1, &f->last);
	assert_status(f->s, "bpf: attached");
	assert_status(f->s, "bpf.vcpus: 2");
	assert_false(f->vm.vcpus[0].spread.have || f->vm.facts[VM_DELAY_P50].have);
	/* one is not seen, and the other does nothing: nobody waited */
	sample_two(f->s, &f->vm, 2, &f->last);
	assert_false(f->vm.vcpus[0].spread.have);
	assert_true(f->vm.vcpus[1].spread.have);
	assert_true(f->vm.facts[VM_DELAY_MAX].have);
	assert_int_equal(f->vm.facts[VM_DELAY_MAX].value.u, 0);
	for (int i = 0; i < 100; i++)
		play_wait(&f->m, 7, 70, 5000);
	sample_two(f->s, &f->vm, 3, &f->last);
	assert_true(f->vm.vcpus[0].spread.have && f->vm.vcpus[1].spread.have);
	assert_int_equal(f->vm.vcpus[0].spread.ns[DELAY_MAX], 5000);
	assert_int_equal(f->vm.vcpus[1].spread.ns[DELAY_MAX], 0);
	assert_int_equal(f->vm.facts[VM_DELAY_MAX].value.u, 5000);
	for (int i = 0; i < 100; i++)
		play_wait(&f->m, 7, 70, 5000);
	for (int i = 0; i < 150; i++)
		play_wait(&f->m, 8, 70, 90000);
	sample_two(f->s, &f->vm, 5, &f->last);
	assert_near(f->vm.vcpus[0].spread.ns[DELAY_P50], 5000);
	assert_near(f->vm.vcpus[1].spread.ns[DELAY_P50], 90000);
	assert_near(f->vm.facts[VM_DELAY_P50].value.u, 90000);
	assert_int_equal(f->vm.facts[VM_DELAY_MAX].value.u, 90000);
	/* looked at again at once it is the same */
	const uint64_t p50 = f->vm.facts[VM_DELAY_P50].value.u;

	sample_two(f->s, &f->vm, 5, &f->last);
	assert_int_equal(f->vm.facts[VM_DELAY_P50].value.u, p50);
	/* and nothing when nobody counts any more, however still all is */
	delay_head(f->m.threads, BITS)->detached = 1;
	sample_two(f->s, &f->vm, 6, &f->last);
	assert_false(f->vm.vcpus[0].spread.have || f->vm.facts[VM_DELAY_P50].have);
	assert_false(f->vm.uncounted.spread);
	/* what nobody asks for is not there any more */
	delay_source_look(f->s, false);
	delay_source_begin(f->s, false);
	delay_source_end(f->s, true);
	assert_status(f->s, "bpf: off");
	assert_int_equal(keeper.asked, 1);
	assert_int_equal(keeper.let_go, 1);
}

static uint64_t max_of(const struct vm_sample *vm)
{
	return vm->facts[VM_DELAY_MAX].have ? vm->facts[VM_DELAY_MAX].value.u
					    : UINT64_MAX;
}

/* A vCPU that comes or goes takes no figure from the others, nor from the VM. */
static void a_vcpu_that_comes_or_goes_makes_no_gap(void **state)
{
	struct fixture *f = *state;

	sample_vcpus(f->s, &f->vm, 2, 1, &f->last);
	assert_int_equal(max_of(&f->vm), UINT64_MAX);
	play_wait(&f->m, 7, 70, 5000);
	sample_vcpus(f->s, &f->vm, 2, 2, &f->last);
	assert_int_equal(max_of(&f->vm), 5000);
	/* plugged in */
	play_wait(&f->m, 8, 70, 6000);
	sample_vcpus(f->s, &f->vm, 3, 3, &f->last);
	assert_int_equal(max_of(&f->vm), 6000);
	assert_false(f->vm.vcpus[2].spread.have);
	/* sampled again at once, as when something of the VM was found */
	sample_vcpus(f->s, &f->vm, 4, 3, &f->last);
	assert_int_equal(max_of(&f->vm), 6000);
	/* its first waits are no other's */
	play_wait(&f->m, 9, 70, 9000);
	play_wait(&f->m, 7, 70, 7000);
	sample_vcpus(f->s, &f->vm, 4, 4, &f->last);
	assert_int_equal(max_of(&f->vm), 9000);
	assert_int_equal(f->vm.vcpus[2].spread.ns[DELAY_MAX], 9000);
	/* unplugged, in the middle of a period in which it waited */
	play_wait(&f->m, 9, 70, 9500);
	play_wait(&f->m, 7, 70, 700);
	sample_vcpus(f->s, &f->vm, 2, 5, &f->last);
	assert_int_equal(max_of(&f->vm), 700);
	/* and plugged in again with the number that it had */
	sample_vcpus(f->s, &f->vm, 3, 6, &f->last);
	assert_int_equal(max_of(&f->vm), 0);
	assert_false(f->vm.vcpus[2].spread.have);
	sample_vcpus(f->s, &f->vm, 3, 7, &f->last);
	assert_int_equal(max_of(&f->vm), 0);
	assert_true(f->vm.vcpus[2].spread.have);
}

/* A VM of which one can never be known is not described by the others. */
static void a_vm_that_has_no_room_has_no_figures(void **state)
{
	struct fixture *f = *state;
	const unsigned most = (unsigned)delay_n_vcpus(BITS) + 1;

	for (int64_t second = 1; second < 4; second++) {
		sample_vcpus(f->s, &f->vm, most, second, &f->last);
		assert_int_equal(max_of(&f->vm), UINT64_MAX);
	}
	assert_true(f->vm.vcpus[1].spread.have);
	sample_two(f->s, &f->vm, 4, &f->last);
	sample_two(f->s, &f->vm, 5, &f->last);
	assert_int_equal(max_of(&f->vm), 0);
}

/* Shares are of all that all vCPUs waited, and of the last period. */
static void whose_fault_it_was_is_put_together(void **state)
{
	struct fixture *f = *state;
	static const double percent[] = { 50, 12.5, 12.5, 0, 12.5, 6.25, 6.25 };

	static_assert(ARRAY_LEN(percent) == DELAY_OWNERS, "each has one");

	sample_two(f->s, &f->vm, 1, &f->last);
	play_owner(&f->m, 7, 70, DELAY_BY_KERNEL, 100 * NS_PER_S);
	sample_two(f->s, &f->vm, 2, &f->last);
	assert_true(f->vm.facts[VM_DELAY_BY_KERNEL].value.real == 100);
	for (unsigned i = 0; i < DELAY_OWNERS; i++) {
		uint64_t ns = (uint64_t)(percent[i] * 1024 * 1e5);

		play_owner(&f->m, 7, 70, i, ns / 4);
		play_owner(&f->m, 8, 70, i, ns / 4 * 3);
	}
	sample_two(f->s, &f->vm, 3, &f->last);
	for (unsigned i = 0; i < DELAY_OWNERS; i++)
		assert_true(f->vm.facts[VM_DELAY_BY_VMS + i].value.real == percent[i]);
	/* nobody waited */
	sample_two(f->s, &f->vm, 4, &f->last);
	for (unsigned i = 0; i < DELAY_OWNERS; i++) {
		assert_true(f->vm.facts[VM_DELAY_BY_VMS + i].have);
		assert_true(f->vm.facts[VM_DELAY_BY_VMS + i].value.real == 0);
	}
	/* a process that is not known is no VM's */
	vm_sample_clear(&f->vm);
	vm_sample_add_vcpu(&f->vm, 0)->tid = 7;
	delay_source_sample(f->s, &ident, &f->vm, &f->last);
	assert_false(f->vm.facts[VM_DELAY_BY_VMS].have || f->vm.facts[VM_DELAY_P50].have);
}

/* The waits of a VM so far; NULL: they cannot be had now. */
static const struct histogram *waits_of(const struct vm_sample *vm)
{
	const struct fact *fact = &vm->facts[VM_DELAY_HISTOGRAM];

	assert_int_equal(fact->have, vm->facts[VM_DELAY_P99].have);
	assert_int_equal(fact->absent, vm->facts[VM_DELAY_P99].absent);
	return fact->have ? fact->value.h : NULL;
}

/* Whatever comes and goes, and while nothing can be had, it counts on. */
static void a_histogram_never_falls(void **state)
{
	struct fixture *f = *state;
	const unsigned most = (unsigned)delay_n_vcpus(BITS) + 1;
	/* so many vCPUs, at that second, of which that one waited so often */
	static const struct {
		unsigned vcpus, tid, waits;
		int64_t second;
		bool known;
	} steps[] = { { 2, 0, 0, 1, false }, { 2, 7, 100, 2, true },
		{ 2, 8, 50, 3, true },
		/* again at once, plugged in, unplugged, and without room */
		{ 2, 0, 0, 3, true }, { 3, 7, 10, 4, true }, { 3, 9, 9, 5, true },
		{ 2, 8, 1, 6, true }, { 0, 7, 5, 7, false }, { 2, 0, 0, 8, true },
		{ 2, 0, 0, 9, true }, { 2, 7, 3, 10, true } };
	struct histogram before = { 0 };
	uint64_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		for (unsigned k = 0; k < steps[i].waits; k++)
			play_wait(&f->m, steps[i].tid, 70, 7 * UINT64_C(1024) << k % 20);
		n += steps[i].waits;
		sample_vcpus(f->s, &f->vm, steps[i].vcpus ? steps[i].vcpus : most,
			steps[i].second, &f->last);
		const struct histogram *h = waits_of(&f->vm);

		assert_int_equal(h != NULL, steps[i].known);
		if (!h)
			continue;
		assert_int_equal(histogram_count(h), n);
		for (size_t k = 0; k < HISTOGRAM_BUCKETS; k++)
			assert_true(h->counts[k] >= before.counts[k]);
		/* as what is told of owners adds up: to some microseconds of each vCPU */
		assert_true(h->sum >= before.sum);
		before = *h;
	}
	/* what nobody asks for rests, and goes on */
	delay_source_look(f->s, false);
	delay_source_begin(f->s, false);
	delay_source_end(f->s, true);
	for (int64_t second = 20; second < 22; second++)
		sample_two(f->s, &f->vm, second, &f->last);
	assert_true(histogram_equal(waits_of(&f->vm), &before));
}

/* How long they were together is the kernel's sum, to what a share is rounded to. */
static void the_sum_is_the_kernels(void **state)
{
	struct fixture *f = *state;
	uint64_t sum = 0;

	for (int64_t second = 1; second < 100; second++) {
		for (int k = 0; second > 1 && k < 10; k++) {
			play_wait(&f->m, 7, 70, 70007);
			sum += 70007 / DELAY_OWNERS * DELAY_OWNERS;
		}
		sample_two(f->s, &f->vm, second, &f->last);
		const struct histogram *h = waits_of(&f->vm);

		if (h)
			assert_true(h->sum <= sum &&
				sum - h->sum <= 2 * DELAY_OWNERS * DELAY_BY_UNIT_NS);
	}
	assert_int_equal(histogram_count(waits_of(&f->vm)), 980);
}

/* Which VM it was is told of the process that has its number. */
static void which_vm_it_was_is_known(void **state)
{
	struct fixture *f = *state;
	const struct vm_ident two = { .uuid = { { 2 } }, .id = 2, .name = "two" };
	struct vm_delays last_of_two = { 0 };

	assert_null(delay_source_blame(f->s));
	sample_two(f->s, &f->vm, 1, &f->last);
	for (unsigned turn = 0; turn < 3; turn++) {
		delay_source_begin(f->s, true);
		f->vm.pid = 6;
		f->vm.mono_ns += NS_PER_S;
		delay_source_sample(f->s, &ident, &f->vm, &f->last);
		/* another one with the numbers that the first one has here, but for its process */
		f->vm.pid = 66;
		delay_source_sample(f->s, &two, &f->vm, &last_of_two);
		delay_source_end(f->s, true);
		play_owner(&f->m, 7, 70, DELAY_BY_VMS, 3072);
		play_pair(&f->m, is_told(&f->m, 6, 60), is_told(&f->m, 66, 60), 3000);
	}
	_cleanup_blame_ struct blame *b = delay_source_blame(f->s);

	assert_non_null(b);
	assert_int_equal(b->n_vms, 2);
	const struct blame_vm *vm = blame_find(b, &ident.uuid);
	size_t n;
	const struct blame_pair *pairs = blame_pairs_of(b, vm, &n);

	assert_int_equal(n, 1);
	assert_int_equal(pairs[0].time.all_ns, 6000);
	assert_string_equal(b->vms[pairs[0].by].name, "two");
	assert_ptr_equal(blame_find(b, &two.uuid), &b->vms[pairs[0].by]);
	(void)blame_pairs_of(b, &b->vms[pairs[0].by], &n);
	assert_int_equal(n, 0);
	assert_int_equal(vm->by[BLAME_VMS].all_ns, 6144);
	assert_status(f->s, "bpf.pairs: 1\n");
	assert_status(f->s, "bpf.pairs_lost_ms: 0\n");
	delay_source_look(f->s, false);
	delay_source_begin(f->s, false);
	delay_source_end(f->s, true);
	assert_null(delay_source_blame(f->s));
	vm_delays_done(&last_of_two);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			who_is_refused_has_no_figures, setup_refused, teardown),
		TEST(all_vcpus_of_a_vm_are_put_together),
		TEST(a_vcpu_that_comes_or_goes_makes_no_gap),
		TEST(a_vm_that_has_no_room_has_no_figures),
		TEST(whose_fault_it_was_is_put_together),
		TEST(a_histogram_never_falls),
		TEST(the_sum_is_the_kernels),
		TEST(which_vm_it_was_is_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

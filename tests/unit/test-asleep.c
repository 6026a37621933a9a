/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * VMs that sleep: what is not read again, when it is read even so, and what of it the board shows.
 * Files say here what a kernel would never let them say, so that it shows who reads them.
 */
#include "fixture.h"
#include "plans.h"
#include "process.h"
#include "samples.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>

#include "collect/kernel/fast_list.h"
#include "collect/kernel/fast_vm.h"
#include "collect/kernel/qemu_cgroup.h"
#include "collect/kernel/qemu_proc.h"
#include "core/snapshot.h"
#include "model/board.h"
#include "model/checkpoint.h"
#include "model/registry.h"
#include "model/run.h"

#define EVERYTHING (~UINT64_C(0))
#define SCOPE "machine.slice/machine-qemu\\x2d3\\x2da.scope"
#define AT(file) "sys/fs/cgroup/" SCOPE "/" file
#define LOOK_SAMPLES 16

static const char group_text[] = "0::/" SCOPE "/libvirt/emulator\n";

static void set_usage(struct fixture *f, unsigned us)
{
	char text[96];

	snprintf(text, sizeof(text), "usage_usec %u\nuser_usec 1\nsystem_usec 2\n", us);
	fixture_add(f, AT("cpu.stat"), text);
}

static void set_pressure(
	struct fixture *f, const char *what, const char *average, unsigned total)
{
	char path[128], text[192];

	snprintf(path, sizeof(path), AT("%s.pressure"), what);
	snprintf(text, sizeof(text),
		"some avg10=%s avg60=0.00 avg300=0.00 total=%u\n"
		"full avg10=0.00 avg60=0.00 avg300=0.00 total=%u\n",
		average, total, total / 2);
	fixture_add(f, path, text);
}

/* ---- cgroups ---- */

struct group {
	struct fixture f;
	struct qemu_cgroup cg;
	struct vm_sample s;
	int64_t mono_ns;
};

static void group_init(struct group *g)
{
	*g = (struct group){ .cg = QEMU_CGROUP_INIT, .mono_ns = NS_PER_S };
	fixture_init(&g->f);
	set_usage(&g->f, 3000);
	set_pressure(&g->f, "cpu", "0.00", 40);
	set_pressure(&g->f, "memory", "0.00", 40);
	set_pressure(&g->f, "io", "0.00", 40);
	qemu_cgroup_open(g->f.fd, group_text, EVERYTHING, &g->cg);
}

static void group_done(struct group *g)
{
	qemu_cgroup_done(&g->cg);
	fixture_done(&g->f);
}

/* Samples after some time.  Return: the total of a file of pressures. */
static uint64_t total_after(struct group *g, int64_t ns, enum vm_key key)
{
	vm_sample_clear(&g->s);
	g->s.mono_ns = g->mono_ns += ns;
	assert_true(qemu_cgroup_sample(&g->cg, &g->s));
	return fact_u64(&g->s, key);
}

static void who_waits_before_it_sleeps_is_seen(void **state)
{
	(void)state;
	static const struct {
		const char *what;
		enum vm_key some, full;
	} files[] = { { "memory", VM_PRESSURE_MEMORY_SOME_TOTAL,
			      VM_PRESSURE_MEMORY_FULL_TOTAL },
		{ "io", VM_PRESSURE_IO_SOME_TOTAL, VM_PRESSURE_IO_FULL_TOTAL } };

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		struct group g;
		enum vm_key key = files[i].some;

		group_init(&g);
		assert_int_equal(total_after(&g, NS_PER_S, key), 40);
		assert_false(qemu_cgroup_slept(&g.cg)); /* there was none before */
		/* a thread waits on, for as long as it takes, and nobody runs */
		for (unsigned total = 50; total < 400; total += 10) {
			set_pressure(&g.f, files[i].what, "0.00", total);
			assert_int_equal(total_after(&g, NS_PER_S, key), total);
			assert_true(qemu_cgroup_slept(&g.cg));
		}
		/* it waits no more: the next sample shows that, those behind need no file */
		assert_int_equal(total_after(&g, NS_PER_S, key), 390);
		set_pressure(&g.f, files[i].what, "0.00", 500);
		for (int k = 0; k < LOOK_SAMPLES - 1; k++) {
			assert_int_equal(total_after(&g, NS_PER_S, key), 390);
			assert_int_equal(fact_u64(&g.s, files[i].full), 195);
			assert_true(g.s.facts[key - 3].have);
			assert_true(g.s.facts[key - 3].value.real == 0);
		}
		/* but it is looked at now and then */
		assert_int_equal(total_after(&g, NS_PER_S, key), 500);
		assert_int_equal(total_after(&g, NS_PER_S, key), 500);
		set_pressure(&g.f, files[i].what, "0.00", 600);
		assert_int_equal(total_after(&g, NS_PER_S, key), 500);
		/* and as soon as somebody has run */
		set_usage(&g.f, 3001);
		assert_int_equal(total_after(&g, NS_PER_S, key), 600);
		assert_false(qemu_cgroup_slept(&g.cg));
		group_done(&g);
	}
}

/* Averages fall by themselves, and who is ready but gets no processor does not run. */
static void what_moves_by_itself_is_read_each_time(void **state)
{
	(void)state;
	struct group g;

	group_init(&g);
	for (unsigned i = 0; i < 40; i++) {
		char average[8];

		snprintf(average, sizeof(average), "0.%02u", 40 - i);
		set_pressure(&g.f, "memory", average, 40);
		set_pressure(&g.f, "cpu", "0.00", 40 + i / 4);
		assert_int_equal(total_after(&g, NS_PER_S, VM_PRESSURE_CPU_SOME_TOTAL),
			40 + i / 4);
		assert_true(g.s.facts[VM_PRESSURE_MEMORY_SOME_AVG10].value.real > 0);
	}
	set_pressure(&g.f, "memory", "0.00", 40);
	(void)total_after(&g, NS_PER_S, VM_PRESSURE_MEMORY_SOME_TOTAL);
	assert_true(g.s.facts[VM_PRESSURE_MEMORY_SOME_AVG10].value.real == 0);
	group_done(&g);
}

/* What a thread that runs just now uses is counted with the next tick. */
static void two_looks_within_a_tick_tell_nothing(void **state)
{
	(void)state;
	const enum vm_key key = VM_PRESSURE_MEMORY_SOME_TOTAL;
	struct group g;

	group_init(&g);
	for (unsigned i = 0; i < 5; i++) {
		set_pressure(&g.f, "memory", "0.00", 40 + i / 4);
		assert_int_equal(total_after(&g, 10 * NS_PER_MS, key), 40 + i / 4);
		assert_false(qemu_cgroup_slept(&g.cg));
	}
	group_done(&g);
}

/* A file that goes away, or is of another form, is not what it was. */
static void what_cannot_be_read_is_not_known_any_more(void **state)
{
	(void)state;
	const enum vm_key key = VM_PRESSURE_MEMORY_SOME_TOTAL;
	struct group g;

	group_init(&g);
	for (int i = 0; i < 3; i++)
		(void)total_after(&g, NS_PER_S, key);
	fixture_add(&g.f, AT("memory.pressure"), "");
	for (int i = 0; i < LOOK_SAMPLES; i++) {
		vm_sample_clear(&g.s);
		g.s.mono_ns = g.mono_ns += NS_PER_S;
		assert_true(qemu_cgroup_sample(&g.cg, &g.s));
	}
	assert_false(g.s.facts[key].have);
	vm_sample_clear(&g.s);
	assert_true(qemu_cgroup_sample(&g.cg, &g.s));
	assert_false(g.s.facts[key].have);
	group_done(&g);
}

static void set_periods(struct fixture *f, const char *path, unsigned periods)
{
	char text[128];

	snprintf(text, sizeof(text),
		"usage_usec 5\nnr_periods %u\nnr_throttled 0\nthrottled_usec 0\n",
		periods);
	fixture_add(f, path, text);
}

/* In a group of a VM that sleeps no period passes; in those above it others may run. */
static void a_quota_above_is_seen_while_the_vm_sleeps(void **state)
{
	(void)state;
	struct group g = { .cg = QEMU_CGROUP_INIT, .mono_ns = NS_PER_S };

	fixture_init(&g.f);
	set_periods(&g.f, "sys/fs/cgroup/machine.slice/cpu.stat", 0);
	set_periods(&g.f, AT("libvirt/vcpu0/cpu.stat"), 0);
	set_usage(&g.f, 3000);
	qemu_cgroup_open(g.f.fd, group_text, EVERYTHING, &g.cg);
	for (int i = 0; i < 2; i++)
		(void)total_after(&g, NS_PER_S, VM_THROTTLE_PERIODS);
	set_periods(&g.f, AT("libvirt/vcpu0/cpu.stat"), 5);
	for (int i = 0; i < 40; i++)
		assert_int_equal(total_after(&g, NS_PER_S, VM_THROTTLE_PERIODS), 0);
	set_periods(&g.f, "sys/fs/cgroup/machine.slice/cpu.stat", 7);
	for (int i = 0; i < LOOK_SAMPLES; i++)
		(void)total_after(&g, NS_PER_S, VM_THROTTLE_PERIODS);
	/* whoever finds one has all of them read */
	assert_int_equal(total_after(&g, NS_PER_S, VM_THROTTLE_PERIODS), 12);
	group_done(&g);
}

/* ---- processes ---- */

#define READ_LITTLE (READS(CPU) | READS(RSS) | READS(VCPUS))

struct process {
	struct fixture f;
	struct qemu_proc *proc;
	struct vm_sample s;
	int64_t mono_ns;
};

static void process_init(struct process *p, uint64_t reads)
{
	*p = (struct process){ .mono_ns = NS_PER_S };
	add_process(&p->f);
	fixture_add(&p->f, "proc/4711/cgroup", group_text);
	fixture_add(&p->f, "proc/4711/statm", "900 20 3 1 0 100 0\n");
	set_usage(&p->f, 3000);
	assert_int_equal(qemu_proc_open(p->f.fd, &ident, reads, &p->proc), 0);
}

static void process_done(struct process *p)
{
	qemu_proc_free(p->proc);
	vm_sample_done(&p->s);
	fixture_done(&p->f);
}

static int sample_process(struct process *p)
{
	vm_sample_clear(&p->s);
	p->s.mono_ns = p->mono_ns += NS_PER_S;
	return qemu_proc_sample(p->proc, &p->s);
}

static uint64_t pages(const struct process *p)
{
	return fact_u64(&p->s, VM_RSS) * 1024 / (uint64_t)sysconf(_SC_PAGESIZE);
}

/* stat has 10 pages here, statm 20. */
static void memory_is_had_from_the_cheaper_file(void **state)
{
	(void)state;
	struct process p;

	process_init(&p, READ_LITTLE);
	assert_int_equal(sample_process(&p), 0);
	assert_int_equal(pages(&p), 20);
	assert_int_equal(p.s.known, READ_LITTLE);
	fixture_add(&p.f, "proc/4711/statm", "900 21 3 1 0 100 0\n");
	assert_int_equal(sample_process(&p), 0);
	assert_int_equal(pages(&p), 21); /* it may change while nobody runs */
	/* one that is cut, or of another form, tells nothing */
	static const char *const odd[] = { "", "9", "900 2", "900 21", "x 21 3\n",
		"900\n", "900 21\n", "0 0 0 0 0 0 0\n", "18446744073709551616 21 3\n" };

	for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
		fixture_add(&p.f, "proc/4711/statm", odd[i]);
		assert_int_equal(sample_process(&p), 0);
		assert_int_equal(pages(&p), 10);
	}
	/* a process that has ended has no memory */
	fixture_add(&p.f, "proc/4711/stat", "4711 (qemu) Z 1 2 3\n");
	assert_int_equal(sample_process(&p), -ESRCH);
	process_done(&p);
}

/* What statm does not have, or no cgroup tells, is read from stat. */
static void the_other_file_is_read_where_it_must_be(void **state)
{
	(void)state;
	struct process p;

	process_init(&p, READ_LITTLE | READS(PROCESS));
	assert_int_equal(sample_process(&p), 0);
	assert_int_equal(pages(&p), 10);
	assert_int_equal(fact_u64(&p.s, VM_MINOR_FAULTS), 500);
	process_done(&p);

	process_init(&p, READ_LITTLE);
	assert_int_equal(unlinkat(p.f.fd, AT("cpu.stat"), 0), 0);
	qemu_proc_free(p.proc);
	assert_int_equal(qemu_proc_open(p.f.fd, &ident, READ_LITTLE, &p.proc), 0);
	assert_int_equal(sample_process(&p), 0);
	assert_int_equal(pages(&p), 10);
	assert_true(p.s.facts[VM_CPU_TIME].have);
	process_done(&p);
}

static void threads_are_noticed_by_their_directory(void **state)
{
	(void)state;
	struct process p;

	process_init(&p, READ_LITTLE);
	for (int i = 0; i < 6; i++) /* one of them never gets a name */
		assert_int_equal(sample_process(&p), 0);
	assert_int_equal(p.s.n_vcpus, 2);
	/* while nobody runs there is no other thread, and none is looked for */
	add_thread(&p.f, 4720, "CPU 2/KVM\n", "3000 30 1\n");
	for (int i = 0; i < 20; i++)
		assert_int_equal(sample_process(&p), 0);
	assert_int_equal(p.s.n_vcpus, 2);
	assert_true(qemu_proc_slept(p.proc));
	set_usage(&p.f, 3100);
	assert_int_equal(sample_process(&p), 0);
	assert_false(qemu_proc_slept(p.proc));
	assert_int_equal(p.s.n_vcpus, 3);
	assert_int_equal(p.s.vcpus[2].delay_ns, 30);
	remove_thread(&p.f, 4713);
	set_usage(&p.f, 3200);
	assert_int_equal(sample_process(&p), 0);
	assert_int_equal(p.s.n_vcpus, 2);
	/* waits may grow while a thread does not run */
	add_thread(&p.f, 4720, "CPU 2/KVM\n", "3000 31 1\n");
	assert_int_equal(sample_process(&p), 0);
	assert_true(qemu_proc_slept(p.proc));
	assert_int_equal(p.s.vcpus[1].delay_ns, 31);
	process_done(&p);
}

/* ---- samples that are the same ---- */

static void each_figure_is_in_the_digest(void **state)
{
	(void)state;
	struct vm_sample s = { 0 };

	vm_sample_add_vcpu(&s, 0);
	vm_sample_add_vcpu(&s, 1);
	vm_sample_add_iothread(&s, 1);
	vm_sample_add_nic(&s, 0);
	vm_sample_add_disk(&s, 0);
	uint64_t before = vm_sample_digest(&s);
	struct vcpu_sample *v = &s.vcpus[1], *io = &s.iothreads[0];

#define CHANGES(field, value)                                                            \
	do {                                                                             \
		assert_true(vm_sample_digest(&s) == before);                             \
		__typeof__(field) kept = (field);                                        \
		(field) = (value);                                                       \
		assert_true(vm_sample_digest(&s) != before);                             \
		(field) = kept;                                                          \
	} while (0)
	for (size_t i = 0; i < VM_SCALAR_COUNT; i++) {
		CHANGES(s.facts[i].have, true);
		CHANGES(s.facts[i].absent, true);
		CHANGES(s.facts[i].value.u, 1);
	}
	CHANGES(s.known, 1);
	CHANGES(s.uncounted.time, true);
	CHANGES(s.uncounted.spread, true);
	CHANGES(v->time_ns, 1);
	CHANGES(v->delay_ns, 1);
	CHANGES(v->wait_ns, 1);
	CHANGES(v->have_time, true);
	CHANGES(v->spread.ns[DELAY_MAX], 1);
	CHANGES(io->time_ns, 1);
	CHANGES(s.iothreads_known, true);
	CHANGES(s.nics[0].counters[7], 1);
	CHANGES(s.nics[0].name, "eth0");
	CHANGES(s.nics[0].have, true);
	CHANGES(s.disks[0].figures[HOSTDISK_FIGURES - 1], 1);
	CHANGES(s.disks[0].known, 1);
	CHANGES(s.disks_known, true);
	CHANGES(s.n_vcpus, 1);
	CHANGES(s.n_iothreads, 0);
	CHANGES(s.n_nics, 0);
	CHANGES(s.n_disks, 0);
	/* when it was is no figure */
	s.time_ns = s.mono_ns = 5;
	assert_true(vm_sample_digest(&s) == before);
	vm_sample_done(&s);
}

struct vm {
	struct fixture f;
	struct spec_set *specs;
	struct plan *plan;
	struct tree *tree;
	struct registry *registry;
	struct board *board;
	struct run *run;
	struct fast_vm *fv;
	struct vm_sample scratch;
};

static struct spec_set *some_specs(bool more)
{
	struct spec_set *specs = spec_set_new(8);

	specs->n = 0;
	want(specs, "time", "cpu.time", METRIC_UINT64, NULL);
	want(specs, "usage", "usage.cpu", METRIC_REAL64, NULL);
	want(specs, "rss", "balloon.rss", METRIC_UINT64, NULL);
	want(specs, "delay*", "vcpu.*.delay", METRIC_UINT64, NULL);
	want(specs, "blocks", "block.count", METRIC_UINT64, NULL); /* libvirt's */
	if (more)
		want(specs, "vcpus", "vcpu.current", METRIC_UINT32, NULL);
	return specs;
}

static void hand_process(struct vm *vm)
{
	struct qemu_proc *proc = NULL;

	assert_int_equal(qemu_proc_open(vm->f.fd, &ident, vm->plan->vm_reads, &proc), 0);
	fast_vm_hand_process(vm->fv, proc);
	(void)fast_vm_take_in(vm->fv);
}

static void vm_init(struct vm *vm)
{
	*vm = (struct vm){ .tree = tree_new(), .registry = registry_new() };
	add_process(&vm->f);
	fixture_add(&vm->f, "proc/4711/cgroup", group_text);
	fixture_add(&vm->f, "proc/4711/statm", "900 20 3 1 0 100 0\n");
	set_usage(&vm->f, 3000);
	vm->specs = some_specs(false);
	vm->plan = plan_of(vm->specs);
	vm->board = board_new(vm->tree, vm->registry, vm->plan);
	vm->run = registry_report(
		vm->registry, registry_order(vm->registry), &ident, HYPERVISOR_QEMU);
	vm->fv = fast_vm_new(vm->run, NULL);
	hand_process(vm);
}

static void vm_done(struct vm *vm)
{
	fast_vm_free(vm->fv);
	run_unref(vm->run);
	board_free(vm->board);
	registry_free(vm->registry);
	tree_free(vm->tree);
	plan_unref(vm->plan);
	spec_set_unref(vm->specs);
	vm_sample_done(&vm->scratch);
	fixture_done(&vm->f);
}

static enum fast_sampled measure(struct vm *vm)
{
	poll(NULL, 0, 25); /* more than a tick */
	return fast_vm_measure(vm->fv, vm->plan, NULL, NULL, &vm->scratch);
}

/* As the sampler does.  Return: what came of the measurement, SAMPLE_NEW if the board wanted it. */
static enum fast_sampled sample_vm(struct vm *vm)
{
	enum fast_sampled r = measure(vm);

	if (r == SAMPLE_SAME &&
		!board_keep(vm->board, vm->run, LANE_FAST, vm->scratch.time_ns))
		r = SAMPLE_NEW;
	if (r == SAMPLE_NEW)
		board_update(
			vm->board, vm->run, LANE_FAST, fast_list(vm->plan, &vm->scratch));
	board_publish(vm->board);
	return r;
}

/* Samples until nothing is new: the rates have to become nothing, too. */
static void sleep_on(struct vm *vm)
{
	int i = 0;

	while (sample_vm(vm) != SAMPLE_SAME)
		assert_true(++i < 5);
}

static void a_sample_of_who_slept_is_the_same(void **state)
{
	(void)state;
	struct vm vm;

	vm_init(&vm);
	sleep_on(&vm);
	assert_int_equal(sample_vm(&vm), SAMPLE_SAME);
	/* what changes while it sleeps, and what it does */
	fixture_add(&vm.f, "proc/4711/statm", "900 19 3 1 0 100 0\n");
	assert_int_equal(sample_vm(&vm), SAMPLE_NEW);
	sleep_on(&vm);
	add_thread(&vm.f, 4713, "CPU 1/TCG\n", "2000 21 1\n");
	assert_int_equal(sample_vm(&vm), SAMPLE_NEW);
	sleep_on(&vm);
	set_usage(&vm.f, 3001);
	assert_int_equal(sample_vm(&vm), SAMPLE_NEW);
	sleep_on(&vm);
	/* files that were opened again may be others */
	hand_process(&vm);
	assert_int_equal(sample_vm(&vm), SAMPLE_NEW);
	sleep_on(&vm);
	/* other metrics are asked for, or the same ones anew */
	struct spec_set *specs = some_specs(true);
	struct plan *old = vm.plan;

	vm.plan = plan_after(old, specs);
	board_set_plan(vm.board, vm.plan);
	assert_int_equal(sample_vm(&vm), SAMPLE_NEW);
	spec_set_unref(vm.specs);
	plan_unref(old);
	vm.specs = specs;
	/* it has ended */
	sleep_on(&vm);
	fixture_add(&vm.f, "proc/4711/statm", "0 0 0 0 0 0 0\n");
	fixture_add(&vm.f, "proc/4711/stat", "4711 (qemu) Z 1 2 3\n");
	assert_int_equal(measure(&vm), SAMPLE_NONE);
	assert_int_equal(measure(&vm), SAMPLE_NONE);
	vm_done(&vm);
}

static const struct snapshot *shown(struct vm *vm, struct view **ret)
{
	*ret = tree_view(vm->tree);
	assert_int_equal((*ret)->n_vms, 1);
	return (*ret)->vms[0];
}

/* Readers see a sample of now, with values since when they are so. */
static void what_is_kept_is_as_new_as_its_sample(void **state)
{
	(void)state;
	struct vm vm;
	struct view *view = NULL, *later = NULL;

	vm_init(&vm);
	sleep_on(&vm);
	const struct snapshot *before = shown(&vm, &view);

	assert_int_equal(sample_vm(&vm), SAMPLE_SAME);
	const struct snapshot *after = shown(&vm, &later);

	assert_true(after->generation > before->generation);
	assert_true(after->time_ns > before->time_ns);
	assert_int_equal(after->time_ns, vm.scratch.time_ns);
	assert_true(after->updated_mono_ns > before->updated_mono_ns);
	assert_int_equal(after->n, before->n);
	for (size_t i = 0; i < after->n; i++) {
		const struct metric *a = snapshot_metric(before, i),
				    *b = snapshot_metric(after, i);

		assert_int_equal(a->changed_ns, b->changed_ns);
		assert_int_equal(a->value.u, b->value.u);
		assert_true(b->available);
	}
	view_unref(view);
	view_unref(later);
	vm_done(&vm);
}

/* Slots of some_specs(). */
enum { TIME = 0, RSS = 2, BLOCKS = 4 };

static void update(struct vm *vm, size_t lane, uint32_t slot, uint64_t value)
{
	struct metric_list_builder *b = metric_list_builder_new(vm->specs, 1);
	struct value v = value_u64(value);

	metric_list_builder_add_source(b, slot, NULL, &v);
	board_update(vm->board, vm->run, lane, metric_list_builder_finish(b));
}

static bool keeps(struct vm *vm)
{
	return board_keep(vm->board, vm->run, LANE_FAST, 5);
}

static void what_must_be_made_anew_is_not_kept(void **state)
{
	(void)state;
	struct vm vm;

	vm_init(&vm);
	assert_false(keeps(&vm)); /* there is none */
	update(&vm, LANE_LIBVIRT, TIME, 7);
	assert_false(keeps(&vm)); /* another lane's */
	update(&vm, LANE_FAST, TIME, 7);
	assert_true(keeps(&vm));
	/* a counter that fell is believed the third time */
	for (int i = 0; i < 3; i++) {
		assert_true(i == 0 || !keeps(&vm));
		update(&vm, LANE_FAST, TIME, 5);
	}
	assert_true(keeps(&vm));
	/* a configuration of which nothing was sampled yet */
	struct spec_set *none = spec_set_new(1);

	none->n = 0;
	want(none, "blocks", "block.count", METRIC_UINT32, NULL);
	_cleanup_plan_ struct plan *plan = plan_after(vm.plan, none);

	board_set_plan(vm.board, plan);
	assert_false(keeps(&vm));
	board_set_plan(vm.board, vm.plan);
	assert_false(keeps(&vm));
	spec_set_unref(none);
	vm_done(&vm);
}

/* What another lane tells meanwhile is older then, and does not come back. */
static void what_is_kept_outlives_what_others_told(void **state)
{
	(void)state;
	struct vm vm;
	struct view *view = NULL;

	vm_init(&vm);
	update(&vm, LANE_FAST, TIME, 7);
	update(&vm, LANE_LIBVIRT, TIME, 9);
	assert_true(keeps(&vm));
	/* the first lane has none of it any more */
	struct metric_list_builder *b = metric_list_builder_new(vm.specs, 1);

	metric_list_builder_add(b, RSS, NULL, NULL);
	board_update(vm.board, vm.run, LANE_FAST, metric_list_builder_finish(b));
	board_publish(vm.board);
	assert_null(snapshot_find(shown(&vm, &view), "time"));
	view_unref(view);
	vm_done(&vm);
}

static bool runs(void *ctx, int pid, uint64_t start_ticks)
{
	(void)ctx;
	(void)pid;
	(void)start_ticks;
	return true;
}

/* A process that took over shows what was there until somebody tells of it himself. */
static void what_was_inherited_is_not_kept(void **state)
{
	(void)state;
	static char bytes[65536];
	struct vm vm;
	size_t needed = 0;

	vm_init(&vm);
	sleep_on(&vm);
	update(&vm, LANE_LIBVIRT, BLOCKS, 3);
	board_publish(vm.board);
	size_t n = board_checkpoint(vm.board, bytes, sizeof(bytes), &needed);

	assert_true(n > 0);
	struct registry *registry = registry_new();
	struct tree *tree = tree_new();
	struct board *board = board_new(tree, registry, vm.plan);

	assert_int_equal(board_inherit(board,
				 &(struct board_inheritance){
					 .bytes = bytes, .size = n, .runs = runs }),
		0);
	_cleanup_roster_ struct roster *roster = registry_roster(registry);

	assert_int_equal(roster->n, 1);
	struct run *run = roster->runs[0];

	board_update(board, run, LANE_FAST, fast_list(vm.plan, &vm.scratch));
	assert_false(board_keep(board, run, LANE_FAST, 5));
	board_free(board);
	registry_free(registry);
	tree_free(tree);
	vm_done(&vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_waits_before_it_sleeps_is_seen),
		cmocka_unit_test(what_moves_by_itself_is_read_each_time),
		cmocka_unit_test(two_looks_within_a_tick_tell_nothing),
		cmocka_unit_test(what_cannot_be_read_is_not_known_any_more),
		cmocka_unit_test(a_quota_above_is_seen_while_the_vm_sleeps),
		cmocka_unit_test(memory_is_had_from_the_cheaper_file),
		cmocka_unit_test(the_other_file_is_read_where_it_must_be),
		cmocka_unit_test(threads_are_noticed_by_their_directory),
		cmocka_unit_test(each_figure_is_in_the_digest),
		cmocka_unit_test(a_sample_of_who_slept_is_the_same),
		cmocka_unit_test(what_is_kept_is_as_new_as_its_sample),
		cmocka_unit_test(what_must_be_made_anew_is_not_kept),
		cmocka_unit_test(what_is_kept_outlives_what_others_told),
		cmocka_unit_test(what_was_inherited_is_not_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

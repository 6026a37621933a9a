/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whom the program in the kernel says that a vCPU waited for, against what is known: which VM, also
 * when it moves; the kernel's own threads; nobody, when a processor slept.
 */
#include "delay-burners.h"

#include <dirent.h>

#include "util/clock.h"

/* Of a process that is a VM, or of this one. */
static uint32_t use_of(const struct attached *a, uint32_t pid)
{
	uint32_t use = is_told(&a->m, pid, (uint32_t)field("stat", pid, 22));

	assert_true(use >= DELAY_FIRST_USE);
	return use;
}

/* In all places, as this process is the only one with vCPUs; @culprit 0: of all together. */
static uint64_t stolen_by(const struct attached *a, uint32_t culprit)
{
	uint32_t self = use_of(a, (uint32_t)getpid());
	uint64_t ns = 0;

	for (size_t k = 0; k < delay_n_pair_buckets(BITS); k++)
		for (size_t i = 0; i < DELAY_PAIRS; i++) {
			uint64_t key = a->m.pairs[k].key[i];

			if (!key)
				continue;
			assert_int_equal(key >> 32, self);
			if (!culprit || (uint32_t)key == culprit)
				ns += __atomic_load_n(
					&a->m.pairs[k].ns[i], __ATOMIC_ACQUIRE);
		}
	return ns;
}

/* A process that works there, and is a VM. */
static uint32_t start_vm(struct attached *a, int cpu)
{
	uint32_t pid = fork_burner(cpu);

	assert_true(
		delays_tell_process(a->d, pid, field("stat", pid, 22), &(uint32_t){ 0 }));
	return pid;
}

static uint64_t by_of(
	const struct attached *a, const struct burner *b, enum delay_owner owner)
{
	return __atomic_load_n(&vcpu_of(&a->m, b)->by_ns[owner], __ATOMIC_ACQUIRE);
}

static uint64_t all_of(const struct attached *a, const struct burner *b)
{
	return sum_of(vcpu_of(&a->m, b));
}

/* Who looks is elsewhere, if he can. */
static void leave_processor(int cpu)
{
	if (sysconf(_SC_NPROCESSORS_ONLN) > 1)
		pin_thread(0, !cpu);
}

static void come_back(const cpu_set_t *processors)
{
	sched_setaffinity(0, sizeof(*processors), processors);
}

/* What two others took by now, and for how long they ran. */
struct taken {
	uint64_t stolen[2], ran[2], unknown, away;
};

/*
 * Of processor 0, to a tick: what interrupts took, and others on the machine below (proc(5), stat).
 * Nobody's run time has that, and who waits meanwhile waits.
 */
static uint64_t taken_away(void)
{
	unsigned long long irq = 0, softirq = 0, steal = 0;
	FILE *f = fopen("/proc/stat", "re");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%*[^\n] cpu0 %*u %*u %*u %*u %*u %llu %llu %llu",
				 &irq, &softirq, &steal),
		3);
	fclose(f);
	return (irq + softirq + steal) * (uint64_t)NS_PER_S /
		(uint64_t)sysconf(_SC_CLK_TCK);
}

/* Just when a wait has ended, so that all that ran by now is charged. */
static struct taken look_at_taken(
	const struct attached *a, const struct burner *b, const uint32_t vms[2])
{
	const uint32_t uses[] = { use_of(a, vms[0]), use_of(a, vms[1]) };
	struct taken t;
	int64_t since;

	do {
		t.away = taken_away();
		since = await_wait(&a->m, b);
		for (size_t i = 0; i < 2; i++)
			t.ran[i] = field("schedstat", vms[i], 1);
		for (size_t i = 0; i < 2; i++)
			t.stolen[i] = stolen_by(a, uses[i]);
		t.unknown = by_of(a, b, DELAY_BY_UNKNOWN);
	} while (clock_mono_ns() - since > SHORT_NS);
	return t;
}

/* Two VMs take a processor from a third: each is charged with what it ran. */
static void which_vm_had_the_processor_is_known(void **state)
{
	(void)state;
	struct burner burners[2] = { 0 };
	struct attached a = { 0 };
	cpu_set_t processors;

	assert_int_equal(sched_getaffinity(0, sizeof(processors), &processors), 0);
	attach(&a);
	const uint32_t vms[] = { start_vm(&a, 0), start_vm(&a, 0) };

	start_burner(&burners[0], a.d);
	leave_processor(0);
	usleep(100000);
	struct taken then, now = look_at_taken(&a, &burners[0], vms);

	/*
	 * Of a switch that is not seen, while others attach a program, it is known that there was
	 * one; and of who had the processor very many times ago, that this is not known.  Each has some
	 * 400 ms, so that 2 % are more than a tick.
	 */
	for (int tries = 0; tries < 6; tries++) {
		then = now;
		usleep(1300000);
		now = look_at_taken(&a, &burners[0], vms);
		if (now.unknown == then.unknown && now.away == then.away)
			break;
	}
	const double not_told = (double)(now.unknown - then.unknown);
	const double away = (double)(now.away - then.away);

	for (size_t i = 0; i < 2; i++) {
		double ran = (double)(now.ran[i] - then.ran[i]);
		double stolen = (double)(now.stolen[i] - then.stolen[i]);

		print_message("ran %.1f ms, charged %.1f\n", ran / 1e6, stolen / 1e6);
		assert_true(ran > 30e6);
		assert_true(stolen > 0.98 * ran - not_told &&
			stolen < 1.02 * ran + not_told + away);
	}
	/* two vCPUs may be charged at once, and nothing is without saying for which VM */
	start_burner(&burners[1], a.d);
	pin_thread(burners[1].tid, sysconf(_SC_NPROCESSORS_ONLN) > 1);
	usleep(200000);
	pin_thread(burners[1].tid, 0);
	usleep(200000);
	end_burners(burners, 2);
	uint64_t sum = by_of(&a, &burners[0], DELAY_BY_VMS) +
		by_of(&a, &burners[1], DELAY_BY_VMS);

	assert_int_equal(stolen_by(&a, 0), sum);
	assert_int_equal(delay_pairs_head(a.m.pairs, BITS)->claimed, 2);
	assert_int_equal(delay_pairs_head(a.m.pairs, BITS)->lost_ns, 0);
	come_back(&processors);
	for (size_t i = 0; i < 2; i++)
		end_process(vms[i]);
	detach(&a);
}

/* One that goes from one processor to the other, where another VM works each, waited for either there. */
static void who_moves_knows_which_vm_it_waited_for(void **state)
{
	(void)state;
	struct burner b[1] = { 0 };
	struct attached a = { 0 };
	uint64_t truth[2] = { 0 }, others = 0;
	double all = 0;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		skip();
	attach(&a);
	const uint32_t vms[] = { start_vm(&a, 0), start_vm(&a, 1) };

	start_burner(b, a.d);
	usleep(50000);
	(void)await_wait(&a.m, b);
	const uint64_t before[] = { stolen_by(&a, use_of(&a, vms[0])),
		stolen_by(&a, use_of(&a, vms[1])) };
	const uint64_t others_before = all_of(&a, b) - by_of(&a, b, DELAY_BY_VMS);
	uint64_t waited = field("schedstat", b->tid, 2);

	/* longer on one than on the other; whoever is moved has waited by what the kernel says then */
	for (int i = 1; i <= 200; i++) {
		usleep(i % 2 ? 2000 : 5000);
		pin_thread(b->tid, i % 2);
		uint64_t now = field("schedstat", b->tid, 2);

		truth[(i + 1) % 2] += now - waited;
		waited = now;
	}
	(void)await_wait(&a.m, b);
	others = all_of(&a, b) - by_of(&a, b, DELAY_BY_VMS) - others_before;
	all = (double)(truth[0] + truth[1]);
	for (size_t i = 0; i < 2; i++) {
		double found = (double)(stolen_by(&a, use_of(&a, vms[i])) - before[i]);

		print_message("waited %.1f ms there, for that VM %.1f; others %.1f\n",
			(double)truth[i] / 1e6, found / 1e6, (double)others / 1e6);
		assert_true(truth[i] > 20000000);
		assert_true(found < (double)truth[i] + 0.02 * all &&
			found > (double)truth[i] - (double)others - 0.02 * all);
	}
	end_burners(b, 1);
	assert_int_equal(stolen_by(&a, 0), by_of(&a, b, DELAY_BY_VMS));
	for (size_t i = 0; i < 2; i++)
		end_process(vms[i]);
	detach(&a);
}

/* ---- the kernel ---- */

#define KERNEL_THREADS 1024

/* For how long threads of the kernel ran that may be on processor 0. */
struct kernel_times {
	size_t n;
	struct {
		uint32_t pid;
		bool moves; /* the one that moves others */
		uint64_t ns;
	} threads[KERNEL_THREADS];
};

/* Return: false: it is gone, or no thread of the kernel's. */
static bool read_kernel_thread(uint32_t pid, char name[64], uint64_t *ret_ns)
{
	char path[64];
	unsigned flags = 0;
	unsigned long long ns = 0;

	snprintf(path, sizeof(path), "/proc/%" PRIu32 "/stat", pid);
	FILE *f = fopen(path, "re");
	/* PF_KTHREAD; their names have no spaces */
	bool ok = f &&
		fscanf(f, "%*d (%63[^)]) %*c %*d %*d %*d %*d %*d %u", name, &flags) ==
			2 &&
		(flags & 0x200000);

	if (f)
		fclose(f);
	snprintf(path, sizeof(path), "/proc/%" PRIu32 "/schedstat", pid);
	f = ok ? fopen(path, "re") : NULL;
	ok = f && fscanf(f, "%llu", &ns) == 1;
	if (f)
		fclose(f);
	*ret_ns = ns;
	return ok;
}

static void read_kernel(struct kernel_times *ret)
{
	DIR *dir = opendir("/proc");

	assert_non_null(dir);
	ret->n = 0;
	for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
		uint32_t pid = (uint32_t)strtoul(e->d_name, NULL, 10);
		char name[64] = "";
		uint64_t ns = 0;

		/* those of another processor are called after it */
		if (!pid || !read_kernel_thread(pid, name, &ns) || strstr(name, "/1"))
			continue;
		assert_true(ret->n < KERNEL_THREADS);
		ret->threads[ret->n].pid = pid;
		ret->threads[ret->n].moves = !strcmp(name, "migration/0");
		ret->threads[ret->n++].ns = ns;
	}
	closedir(dir);
}

/* From one look to the other. */
static double all_ran(const struct kernel_times *then, const struct kernel_times *now)
{
	uint64_t ns = 0;

	for (size_t i = 0; i < now->n; i++) {
		size_t k = 0;

		while (k < then->n && then->threads[k].pid != now->threads[i].pid)
			k++;
		ns += now->threads[i].ns - (k < then->n ? then->threads[k].ns : 0);
	}
	return (double)ns;
}

/* Return: 0: it is not seen. */
static uint32_t find_mover(const struct kernel_times *times)
{
	for (size_t i = 0; i < times->n; i++)
		if (times->threads[i].moves)
			return times->threads[i].pid;
	return 0;
}

/* What was charged, and for how long the thread ran by then. */
struct kernels {
	uint64_t charged, unknown, ran;
};

/* Just when a wait has ended. */
static struct kernels look_at_kernel(
	const struct attached *a, const struct burner *b, uint32_t pid)
{
	struct kernels k;
	int64_t since;

	do {
		since = await_wait(&a->m, b);
		k.ran = field("schedstat", pid, 1);
		k.charged = by_of(a, b, DELAY_BY_KERNEL);
		k.unknown = by_of(a, b, DELAY_BY_UNKNOWN);
	} while (clock_mono_ns() - since > SHORT_NS);
	return k;
}

/*
 * A process that takes processor 0 at once, and leaves it while it runs there, again and again: for each
 * time a thread of the kernel's has to run.
 */
static uint32_t fork_mover(void)
{
	const struct sched_param first = { .sched_priority = 1 };
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid > 0)
		return (uint32_t)pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)sched_setscheduler(0, SCHED_FIFO, &first);
	for (;;) {
		pin_thread(0, 0);
		pin_thread(0, 1);
		usleep(50);
	}
}

/* While it always wants a processor it waits for what the kernel does there. */
static void what_the_kernel_does_is_the_kernels(void **state)
{
	(void)state;
	static struct kernel_times before, after;
	struct burner b[1] = { 0 };
	struct attached a = { 0 };

	read_kernel(&before);
	const uint32_t pid = find_mover(&before);

	/* in a name space of processes of its own the kernel's are not seen */
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2 || !pid)
		skip();
	attach(&a);
	const uint32_t mover = fork_mover();

	start_burner(b, a.d);
	usleep(50000);
	read_kernel(&before);
	const struct kernels then = look_at_kernel(&a, b, pid);

	usleep(500000);
	const struct kernels now = look_at_kernel(&a, b, pid);

	read_kernel(&after);
	const double charged = (double)(now.charged - then.charged),
		     not_told = (double)(now.unknown - then.unknown),
		     ran = (double)(now.ran - then.ran), all = all_ran(&before, &after);

	print_message("threads of the kernel ran %.2f to %.2f ms, charged %.2f\n",
		ran / 1e6, all / 1e6, charged / 1e6);
	assert_true(ran > 1e6);
	/*
	 * A switch to it and back is charged to one of both; and of who had a processor more than
	 * so many times ago, while it waited behind others, nothing is known.
	 */
	assert_true(charged > ran * 0.8 - not_told && charged < all * 1.2);
	end_burners(b, 1);
	end_process(mover);
	detach(&a);
}

/* ---- nobody ---- */

/* Ticks that processor 1 did nothing. */
static uint64_t idle_ticks(void)
{
	char line[512];
	unsigned long long user, nice, system, idle, iowait;
	FILE *f = fopen("/proc/stat", "re");

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "cpu1 %llu %llu %llu %llu %llu", &user, &nice, &system,
			    &idle, &iowait) == 5) {
			fclose(f);
			return idle + iowait;
		}
	fclose(f);
	return 0;
}

/* For nobody, and in all; how often it came to a processor. */
struct idled {
	uint64_t nobody, all;
	uint32_t came;
};

static struct idled look_at_idled(const struct attached *a, const struct burner *b)
{
	return (struct idled){ by_of(a, b, DELAY_BY_IDLE), all_of(a, b),
		__atomic_load_n(&vcpu_of(&a->m, b)->came, __ATOMIC_ACQUIRE) };
}

/* Looks for some moments in which it woke up, and almost all that it waited was for nobody. */
static bool find_idled(const struct attached *a, const struct burner *b)
{
	for (int i = 0; i < 500; i++) {
		const struct idled then = look_at_idled(a, b);

		usleep(10000);
		const struct idled now = look_at_idled(a, b);
		uint64_t all = now.all - then.all, nobody = now.nobody - then.nobody;

		if (now.came - then.came < 5 || !nobody || nobody < all / 10 * 9)
			continue;
		print_message("waited %.2f us, for nobody %.2f\n", (double)all / 1e3,
			(double)nobody / 1e3);
		return true;
	}
	return false;
}

/*
 * Who wakes up on a processor that sleeps waits for nobody: for less than a microsecond, so not where
 * others of this host work.
 */
static void a_processor_that_sleeps_is_nobodys(void **state)
{
	(void)state;
	struct burner b[1] = { { .sleeps = true, .burn_ns = 1000 } };
	struct attached a = { 0 };
	cpu_set_t processors;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		skip();
	assert_int_equal(sched_getaffinity(0, sizeof(processors), &processors), 0);
	attach(&a);
	start_burner(b, a.d);
	pin_thread(b->tid, 1);
	pin_thread(0, 0);
	usleep(50000);
	const uint64_t idle = idle_ticks();
	const int64_t since = clock_mono_ns();
	const bool found = find_idled(&a, b);
	/* most of the time */
	const bool slept = (idle_ticks() - idle) * DELAY_TICK_NS * 2 >
		(uint64_t)(clock_mono_ns() - since);

	end_burners(b, 1);
	come_back(&processors);
	detach(&a);
	if (!found && !slept)
		skip();
	assert_true(found);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(which_vm_had_the_processor_is_known),
		cmocka_unit_test(who_moves_knows_which_vm_it_waited_for),
		cmocka_unit_test(what_the_kernel_does_is_the_kernels),
		cmocka_unit_test(a_processor_that_sleeps_is_nobodys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

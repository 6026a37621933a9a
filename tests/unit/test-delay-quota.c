/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the program in the kernel says that a limit of its control group held a vCPU back: one that
 * sleeps now and then, one whose group is held back while it sleeps or elsewhere, one that moves.
 */
#include "delay-burners.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "util/clock.h"

/* ---- a group with a limit ---- */

#define PERIOD_NS (100 * NS_PER_MS)

struct group {
	char home[96],
		path[128]; /* the process's, of the second version; the limited one's */
	bool v2;
};

static bool put(const char *folder, const char *name, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

static bool put_number(const char *folder, const char *name, uint32_t n)
{
	char text[16];

	snprintf(text, sizeof(text), "%" PRIu32, n);
	return put(folder, name, text);
}

/* Of the second version a group of threads is below one of their process. */
static bool make_v2(struct group *g, uint32_t quota_us)
{
	char limit[32];

	snprintf(g->home, sizeof(g->home), "/sys/fs/cgroup/vhostmd-quota-%d", getpid());
	snprintf(g->path, sizeof(g->path), "%s/vcpu", g->home);
	snprintf(limit, sizeof(limit), "%" PRIu32 " 100000", quota_us);
	return mkdir(g->home, 0755) == 0 &&
		put_number(g->home, "cgroup.procs", (uint32_t)getpid()) &&
		mkdir(g->path, 0755) == 0 && put(g->path, "cgroup.type", "threaded") &&
		put(g->home, "cgroup.subtree_control", "+cpu") &&
		put(g->path, "cpu.max", limit);
}

static bool make_v1(struct group *g, uint32_t quota_us)
{
	snprintf(g->path, sizeof(g->path), "/sys/fs/cgroup/cpu/vhostmd-quota-%d",
		getpid());
	return mkdir(g->path, 0755) == 0 && put(g->path, "cpu.cfs_period_us", "100000") &&
		put_number(g->path, "cpu.cfs_quota_us", quota_us);
}

static void remove_group(struct group *g)
{
	rmdir(g->path);
	if (!g->v2)
		return;
	put_number("/sys/fs/cgroup", "cgroup.procs", (uint32_t)getpid());
	rmdir(g->home);
}

/* For so long in each 100 ms its threads run. */
static void make_group(struct group *g, uint32_t quota_us)
{
	g->v2 = access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0;
	if (g->v2 ? make_v2(g, quota_us) : make_v1(g, quota_us))
		return;
	print_message("no group: %s\n", strerror(errno));
	remove_group(g);
	skip();
}

static void join(const struct group *g, const struct burner *b)
{
	assert_true(put_number(g->path, g->v2 ? "cgroup.threads" : "tasks", b->tid));
}

/* For how long it was held back, on all processors together, as far as that is over. */
static uint64_t held_back(const struct group *g)
{
	char path[256], line[128];
	unsigned long long value = 0, ns = 0;

	snprintf(path, sizeof(path), "%s/cpu.stat", g->path);
	FILE *f = fopen(path, "re");

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "throttled_time %llu", &value) == 1)
			ns = value;
		else if (sscanf(line, "throttled_usec %llu", &value) == 1)
			ns = value * 1000;
	fclose(f);
	return ns;
}

/* ---- what is charged ---- */

struct charged {
	uint64_t by[DELAY_OWNERS], all, held;
};

static struct charged look_at_charged(
	const struct attached *a, const struct burner *b, const struct group *g)
{
	const struct delay_vcpu *v = vcpu_of(&a->m, b);
	struct charged c = { 0 };

	(void)await_wait(&a->m, b);
	for (size_t i = 0; i < DELAY_OWNERS; i++) {
		c.by[i] = __atomic_load_n(&v->by_ns[i], __ATOMIC_ACQUIRE);
		c.all += c.by[i];
	}
	c.held = held_back(g);
	return c;
}

/* From then on to now. */
static struct charged grown(const struct charged *then, const struct attached *a,
	const struct burner *b, const struct group *g)
{
	struct charged now = look_at_charged(a, b, g);

	for (size_t i = 0; i < DELAY_OWNERS; i++)
		now.by[i] -= then->by[i];
	now.all -= then->all;
	now.held -= then->held;
	print_message(
		"held back %.1f ms; waited %.1f: for the quota %.1f, VMs %.1f, self %.1f, "
		"host %.1f, kernel %.1f, idle %.1f, unknown %.1f\n",
		(double)now.held / 1e6, (double)now.all / 1e6,
		(double)now.by[DELAY_BY_QUOTA] / 1e6, (double)now.by[DELAY_BY_VMS] / 1e6,
		(double)now.by[DELAY_BY_SELF] / 1e6, (double)now.by[DELAY_BY_HOST] / 1e6,
		(double)now.by[DELAY_BY_KERNEL] / 1e6,
		(double)now.by[DELAY_BY_IDLE] / 1e6,
		(double)now.by[DELAY_BY_UNKNOWN] / 1e6);
	return now;
}

/* Others may attach a program meanwhile. */
static bool is_seen(const struct charged *c)
{
	return c->by[DELAY_BY_UNKNOWN] <= c->all / 50;
}

/* What is measured is there. */
static bool is_held_back(const struct charged *c)
{
	return c->by[DELAY_BY_QUOTA] > 100 * (uint64_t)NS_PER_MS;
}

/*
 * Of who is held back already the kernel does not say for how long he is at his new place (6.18): now and
 * then all that he waits there, 40 ms, is charged to others.
 */
static bool is_held_back_where_it_was(const struct charged *c)
{
	return is_held_back(c) &&
		c->by[DELAY_BY_VMS] + c->by[DELAY_BY_SELF] + c->by[DELAY_BY_IDLE] <
		c->all / 10;
}

/* Where it takes long it may be held back in earnest, having worked for longer than it thinks. */
static bool waits_for_vms(const struct charged *c)
{
	return c->held > 100 * (uint64_t)NS_PER_MS &&
		c->by[DELAY_BY_VMS] > 5 * (uint64_t)NS_PER_MS &&
		c->by[DELAY_BY_QUOTA] < c->all / 50;
}

/* What happens meanwhile. */
static void stay(const struct burner *b)
{
	(void)b;
	usleep(800000);
}

static void move(const struct burner *b)
{
	for (int i = 1; i <= 48; i++) {
		pin_thread(b->tid, i % 2);
		usleep(17000);
	}
}

/* The last pass that was seen, the first of those that were enough; nothing if none was. */
static struct charged charged_until(bool (*enough)(const struct charged *c),
	void (*pass)(const struct burner *b), const struct attached *a,
	const struct burner *b, const struct group *g)
{
	struct charged seen = { 0 };

	for (int tries = 0; tries < 8; tries++) {
		const struct charged then = look_at_charged(a, b, g);

		pass(b);
		const struct charged c = grown(&then, a, b, g);

		if (!is_seen(&c))
			continue;
		seen = c;
		if (enough(&c))
			break;
	}
	return seen;
}

static uint32_t start_vm(struct attached *a, int cpu)
{
	uint32_t pid = fork_burner(cpu);

	assert_true(
		delays_tell_process(a->d, pid, field("stat", pid, 22), &(uint32_t){ 0 }));
	return pid;
}

/* Who looks is elsewhere, if he can. */
static void leave_processor(cpu_set_t *ret_processors)
{
	assert_int_equal(
		sched_getaffinity(0, sizeof(*ret_processors), ret_processors), 0);
	if (sysconf(_SC_NPROCESSORS_ONLN) > 1)
		pin_thread(0, 1);
}

static void come_back(const cpu_set_t *processors)
{
	sched_setaffinity(0, sizeof(*processors), processors);
}

/* ---- who sleeps ---- */

/* It wakes up while its group is held back, or is held back when it works; beside nobody. */
static void who_sleeps_waits_for_its_quota(void **state)
{
	(void)state;
	struct burner b[1] = { { .sleeps = true, .burn_ns = NS_PER_MS } };
	struct attached a = { 0 };
	struct group g = { 0 };
	cpu_set_t processors;

	attach(&a);
	make_group(&g, 10000);
	start_burner(b, a.d);
	leave_processor(&processors);
	join(&g, b);
	usleep(200000);
	const struct charged c = charged_until(is_held_back, stay, &a, b, &g);

	come_back(&processors);
	end_burners(b, 1);
	remove_group(&g);
	detach(&a);
	/* others have the processors */
	if (!is_held_back(&c))
		skip();
	assert_int_equal(c.by[DELAY_BY_VMS], 0);
	/* that of the group may have begun a while before it woke up */
	assert_true(c.by[DELAY_BY_QUOTA] < c.held + (uint64_t)NS_PER_MS);
	assert_true((double)c.by[DELAY_BY_QUOTA] > 0.95 * (double)c.held);
}

/* ---- whose group is held back elsewhere ---- */

static _Atomic uint32_t bell, heard;
static const struct group *ringers_group;

/* Works on the other processor; each time that it may go on it rings, when it has worked for a moment. */
static void *ring(void *arg)
{
	struct burner *b = arg;
	uint64_t held = 0, until = UINT64_MAX;

	pin_thread(0, 1);
	atomic_store(&b->tid, (uint32_t)syscall(SYS_gettid));
	while (!atomic_load(&over)) {
		uint64_t now_held = held_back(ringers_group),
			 ran = field("schedstat", b->tid, 1);

		if (now_held != held)
			until = ran + NS_PER_MS;
		held = now_held;
		if (ran < until)
			continue;
		until = UINT64_MAX;
		atomic_fetch_add(&bell, 1);
		syscall(SYS_futex, &bell, 1 /* wake */, 1, NULL, NULL, 0);
		/* so that enough is left */
		while (!atomic_load(&over) && atomic_load(&heard) != atomic_load(&bell))
			usleep(500);
	}
	return NULL;
}

/* Works for a moment each time; whoever else wants the processor has it before. */
static void *listen(void *arg)
{
	struct burner *b = arg;

	pin_thread(0, 0);
	atomic_store(&b->tid, (uint32_t)syscall(SYS_gettid));
	setpriority(PRIO_PROCESS, b->tid, 19);
	for (uint32_t last = 0; !atomic_load(&over);) {
		struct timespec limit = { .tv_nsec = 500 * NS_PER_MS };

		syscall(SYS_futex, &bell, 0 /* wait */, last, &limit, NULL, 0);
		if (last == atomic_load(&bell))
			continue;
		last = atomic_load(&bell);
		for (int64_t until = clock_mono_ns() + NS_PER_MS / 4;
			clock_mono_ns() < until;)
			;
		atomic_store(&heard, last);
	}
	return NULL;
}

static void start(struct burner *b, void *(*run)(void *), struct delays *d)
{
	struct delay_figures f = { 0 };
	struct delay_spread spread = { 0 };

	assert_int_equal(pthread_create(&b->thread, NULL, run, b), 0);
	while (!atomic_load(&b->tid))
		sched_yield();
	b->start = field("stat", b->tid, 22);
	if (d)
		(void)read_burner(d, b, &f, &spread);
}

/* It wakes up when all of them may run, and waits for a VM then. */
static void what_held_others_back_is_not_its_quota(void **state)
{
	(void)state;
	struct burner b[2] = { 0 };
	struct attached a = { 0 };
	struct group g = { 0 };
	cpu_set_t processors;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		skip();
	attach(&a);
	make_group(&g, 20000);
	const uint32_t vm = start_vm(&a, 0);

	ringers_group = &g;
	start(&b[0], listen, a.d);
	start(&b[1], ring, NULL);
	leave_processor(&processors);
	for (size_t i = 0; i < 2; i++)
		join(&g, &b[i]);
	usleep(200000);
	const struct charged c = charged_until(waits_for_vms, stay, &a, b, &g);

	come_back(&processors);
	end_burners(b, 2);
	end_process(vm);
	remove_group(&g);
	detach(&a);
	/* others have the processors */
	if (c.held < 100 * (uint64_t)NS_PER_MS)
		skip();
	assert_true(waits_for_vms(&c));
}

/* ---- who moves ---- */

/* What it waited at its old place was for the quota, too, and what it waits at the new one. */
static void who_is_moved_was_held_back_before(void **state)
{
	(void)state;
	struct burner b[1] = { 0 };
	struct attached a = { 0 };
	struct group g = { 0 };

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		skip();
	attach(&a);
	make_group(&g, 10000);
	start_burner(b, a.d);
	join(&g, b);
	usleep(200000);
	const struct charged c =
		charged_until(is_held_back_where_it_was, move, &a, b, &g);

	end_burners(b, 1);
	remove_group(&g);
	detach(&a);
	/* others have the processors */
	if (c.held < 100 * (uint64_t)NS_PER_MS)
		skip();
	assert_true(is_held_back_where_it_was(&c));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_sleeps_waits_for_its_quota),
		cmocka_unit_test(what_held_others_back_is_not_its_quota),
		cmocka_unit_test(who_is_moved_was_held_back_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

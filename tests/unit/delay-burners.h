/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Threads and processes that want a processor, some of them as vCPUs and VMs, and the program in the
 * kernel that counts their waits.
 */
#pragma once

#include "delay-maps.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bpf/delay_loader.h"
#include "collect/kernel/delay_spread.h"
#include "collect/kernel/delays.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/strbuf.h"

/* ---- in the kernel ---- */

struct attached {
	struct maps m;
	int fds[DELAY_FDS];
	struct delays *d;
};

static inline uint64_t field(const char *file, uint32_t tid, int number);

/* This process is a VM. */
static inline void attach(struct attached *a)
{
	struct strbuf why = STRBUF_INIT;
	struct delay_maps maps = { .bits = 0 };
	int r = delay_attach(a->fds, &maps.bits, &why);

	if (r < 0)
		print_message("not tried here: %s\n", strbuf_str(&why));
	assert_int_equal(r<0, why.len> 0);
	strbuf_done(&why);
	if (r < 0 || maps.bits != BITS)
		skip();
	a->m.vcpus =
		mmap(NULL, delay_vcpus_bytes(BITS), PROT_READ, MAP_SHARED, a->fds[0], 0);
	a->m.threads = mmap(NULL, delay_threads_bytes(BITS), PROT_READ | PROT_WRITE,
		MAP_SHARED, a->fds[1], 0);
	assert_ptr_not_equal(a->m.vcpus, MAP_FAILED);
	a->m.pairs = mmap(NULL, delay_pairs_bytes(BITS), PROT_READ, MAP_SHARED,
		a->fds[DELAY_FD_PAIRS], 0);
	assert_ptr_not_equal(a->m.threads, MAP_FAILED);
	assert_ptr_not_equal(a->m.pairs, MAP_FAILED);
	for (size_t i = 0; i < DELAY_MAPS; i++)
		maps.fds[i] = dup(a->fds[i]);
	a->d = delays_new(&maps, 0);
	assert_non_null(a->d);
	uint32_t pid = (uint32_t)getpid();

	assert_true(
		delays_tell_process(a->d, pid, field("stat", pid, 22), &(uint32_t){ 0 }));
}

static inline void detach(struct attached *a)
{
	delays_free(a->d);
	munmap(a->m.vcpus, delay_vcpus_bytes(BITS));
	munmap(a->m.threads, delay_threads_bytes(BITS));
	munmap(a->m.pairs, delay_pairs_bytes(BITS));
	for (size_t i = 0; i < DELAY_FDS; i++)
		close(a->fds[i]);
}

/* ---- who works ---- */

struct burner {
	pthread_t thread;
	_Atomic uint32_t tid;
	uint64_t start;
	bool moves; /* from processor to processor, when it has slept */
	bool sleeps;
	int64_t burn_ns; /* between two of its turns; 0: 7 ms */
};

static _Atomic bool over;

static inline void pin_thread(uint32_t tid, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	assert_int_equal(sched_setaffinity((pid_t)tid, sizeof(set), &set), 0);
}

static inline void *burn(void *arg)
{
	struct burner *b = arg;

	pin_thread(0, 0);
	atomic_store(&b->tid, (uint32_t)syscall(SYS_gettid));
	for (int turn = 0; !atomic_load(&over); turn++) {
		if (b->moves)
			pin_thread(0, turn % 2);
		int64_t until =
			clock_mono_ns() + (b->burn_ns ? b->burn_ns : 7 * NS_PER_MS);

		while (!atomic_load(&over) && clock_mono_ns() < until)
			;
		if (b->sleeps)
			usleep(500);
	}
	return NULL;
}

static inline uint64_t field(const char *file, uint32_t tid, int number)
{
	char path[64], text[1024] = "";

	snprintf(path, sizeof(path), "/proc/%" PRIu32 "/%s", tid, file);
	_cleanup_close_ int fd = open(path, O_RDONLY);

	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	char *at = strrchr(text, ')') ? strrchr(text, ')') + 2 : text;

	for (int i = at == text ? 1 : 3; i < number; i++)
		at = strchr(at, ' ') + 1;
	return strtoull(at, NULL, 10);
}

/* A process that works, on that processor. */
static inline uint32_t fork_burner(int cpu)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid > 0)
		return (uint32_t)pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pin_thread(0, cpu);
	for (;;)
		;
}

static inline void end_process(uint32_t pid)
{
	kill((pid_t)pid, SIGKILL);
	waitpid((pid_t)pid, NULL, 0);
}

static inline enum delay_known read_burner(struct delays *d, const struct burner *b,
	struct delay_figures *f, struct delay_spread *spread)
{
	const struct delay_thread thread = { b->tid, b->start,
		field("schedstat", b->tid, 1) };

	return delays_read(d, &thread, clock_mono_ns(), f, spread);
}

/* As a vCPU, if @d is not NULL. */
static inline void start_burner(struct burner *b, struct delays *d)
{
	struct delay_figures f = { 0 };
	struct delay_spread spread = { 0 };

	assert_int_equal(pthread_create(&b->thread, NULL, burn, b), 0);
	while (!atomic_load(&b->tid))
		sched_yield();
	b->start = field("stat", b->tid, 22);
	if (d)
		(void)read_burner(d, b, &f, &spread);
}

/* A thread that has ended for who joins it may wait for a processor once more before it is gone. */
static inline void await_end(const struct burner *b)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%" PRIu32, b->tid);
	while (access(path, F_OK) == 0)
		usleep(1000);
}

static inline void end_burners(struct burner *burners, size_t n)
{
	atomic_store(&over, true);
	for (size_t i = 0; i < n; i++)
		pthread_join(burners[i].thread, NULL);
	for (size_t i = 0; i < n; i++)
		await_end(&burners[i]);
	atomic_store(&over, false);
}

static inline const struct delay_vcpu *vcpu_of(
	const struct maps *m, const struct burner *b)
{
	const struct delay_bucket *bucket =
		&m->threads[delay_bucket(b->tid, DELAY_BUCKET_BITS(BITS))];
	size_t i = 0;

	while (bucket->tid[i] != b->tid)
		i++;
	return &m->vcpus[bucket->vcpu[i]];
}

struct look {
	uint64_t ours, kernels;
	uint32_t lost;
};

/* While no wait ends: the program counts one a moment before the kernel does, which shows in how many. */
static inline struct look look_at(const struct maps *m, const struct burner *b)
{
	const struct delay_vcpu *v = vcpu_of(m, b);
	struct look look;
	uint32_t came = 0;

	do {
		look.ours = sum_of(v);
		look.kernels = field("schedstat", b->tid, 2);
		look.lost = __atomic_load_n(&v->lost, __ATOMIC_ACQUIRE);
		came = (uint32_t)field("schedstat", b->tid, 3);
	} while (look.ours != sum_of(v) ||
		came != __atomic_load_n(&v->came, __ATOMIC_ACQUIRE));
	return look;
}

/* A thread is not sent away before it has had a processor for so long, unless something wakes up. */
#define SHORT_NS (1 * NS_PER_MS)

/* Until a wait ends.  Return: when it had not yet: whoever looks may be sent away himself. */
static inline int64_t await_wait(const struct maps *m, const struct burner *b)
{
	const struct delay_vcpu *v = vcpu_of(m, b);
	uint64_t before = sum_of(v);
	int64_t since = clock_mono_ns();

	for (;;) {
		int64_t now = clock_mono_ns();

		if (sum_of(v) != before)
			return since;
		since = now;
	}
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Two processes send each other a byte through pipes, on one processor, so that each byte is a switch:
 * switches MILLISECONDS.  Prints how many nanoseconds a switch took.
 *
 * switches --vcpus MILLISECONDS: each of them is a VM, and its thread a vCPU, whose waits are counted.
 * Prints how many nanoseconds longer that makes a switch.
 *
 * switches --memory: what is resident for each vCPU that is read, its part of the maps included but for
 * that of pairs, in bytes.
 *
 * switches --pairs: the same of each pair of VMs that waited for each other, with what is told of it.
 *
 * switches --beat: what 20,000 pairs take of a beat of the sampler's thread, in microseconds of CPU;
 * --beat-asked: with what they take of who shows them then.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bpf/delay_loader.h"
#include "bpf/delay_maps.h"
#include "collect/kernel/delay_pairs.h"
#include "collect/kernel/delays.h"
#include "core/blame.h"
#include "core/snapshot.h"
#include "util/clock.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"

static void die(const char *what)
{
	perror(what);
	exit(1);
}

#define ROUNDS 31

/* The two, and what goes between them. */
static int there[2], back[2];
static double ping_ns;
static int64_t ping_ms;

static void *answer(void *arg)
{
	char byte;

	(void)arg;
	while (read(there[0], &byte, 1) == 1 && write(back[1], &byte, 1) == 1)
		;
	_exit(0);
}

static void *ask(void *arg)
{
	int64_t start = clock_mono_ns(), now = start;
	uint64_t n = 0;
	char byte = 0;

	(void)arg;
	for (; now - start < ping_ms * NS_PER_MS; n++) {
		if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
			die("pipe");
		if (n % 64 == 0)
			now = clock_mono_ns();
	}
	ping_ns = (double)(clock_mono_ns() - start) / (double)(2 * n);
	return NULL;
}

/* A thread that is not the first of its process, as a vCPU's. */
static pthread_t begin(void *(*run)(void *))
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, run, NULL) != 0)
		die("thread");
	return thread;
}

static pid_t start_other(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0 || pipe(there) < 0 ||
		pipe(back) < 0)
		die("switches");
	pid_t pid = fork();

	if (pid == 0) {
		close(there[1]);
		pthread_join(begin(answer), NULL);
		_exit(0);
	}
	return pid;
}

static void end_other(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static int measure(int64_t ms)
{
	pid_t pid = start_other();

	ping_ms = ms;
	pthread_join(begin(ask), NULL);
	end_other(pid);
	printf("%.1f\n", ping_ns);
	return 0;
}

/* ---- as vCPUs ---- */

static uint64_t start_ticks(int pid, int tid)
{
	char path[64], text[1024] = "";

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid, tid);
	FILE *f = fopen(path, "re");

	if (!f || !fgets(text, sizeof(text), f))
		die("stat");
	fclose(f);
	char *at = strrchr(text, ')');

	for (int i = 2; at && i < 22; i++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at, NULL, 10) : 0;
}

/* Return: 0: it has no other thread than its first. */
static uint32_t find_thread(const char *path, uint32_t first)
{
	DIR *dir = opendir(path);
	uint32_t found = 0;

	if (!dir)
		die("task");
	for (struct dirent *e = readdir(dir); e && !found; e = readdir(dir)) {
		uint64_t tid = 0;

		if (parse_u64(e->d_name, &tid) == 0 && tid != first)
			found = (uint32_t)tid;
	}
	closedir(dir);
	return found;
}

/* The thread of a process that is not its first, once it is there. */
static struct delay_thread second_thread(int pid)
{
	char path[64];
	uint32_t tid = 0;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	while (!(tid = find_thread(path, (uint32_t)pid)))
		usleep(1000);
	return (struct delay_thread){ tid, start_ticks(pid, (int)tid), 0 };
}

/* The process is a VM's, and that thread a vCPU.  Return: how many waits it had since then. */
static uint64_t look(struct delays *d, int pid, const struct delay_thread *thread)
{
	struct delay_figures f;
	struct delay_spread spread = { 0 };

	if (!delays_tell_process(
		    d, (uint32_t)pid, start_ticks(pid, pid), &(uint32_t){ 0 }))
		die("process");
	(void)delays_read(d, thread, clock_mono_ns(), &f, &spread);
	return spread.n;
}

/* Return: for how long a switch took, counted or not. */
static double ping(int64_t ms, bool counted)
{
	struct strbuf why = STRBUF_INIT;
	int fds[DELAY_FDS];
	struct delay_maps maps = { .bits = 0 };
	struct delays *d = NULL;

	if (counted) {
		if (delay_attach(fds, &maps.bits, &why) < 0)
			die(strbuf_str(&why));
		for (size_t i = 0; i < DELAY_MAPS; i++)
			maps.fds[i] = dup(fds[i]);
		d = delays_new(&maps, clock_mono_ns());
		if (!d)
			die("maps");
	}
	pid_t pid = start_other();

	ping_ms = ms;
	pthread_t thread = begin(ask);

	const struct delay_thread own = second_thread(getpid()),
				  other = second_thread(pid);

	if (counted) {
		look(d, getpid(), &own);
		look(d, pid, &other);
	}
	pthread_join(thread, NULL);
	if (counted && !look(d, pid, &other))
		die("waits are not counted");
	end_other(pid);
	for (size_t i = 0; i < 2; i++) {
		close(there[i]);
		close(back[i]);
	}
	if (counted) {
		delays_free(d);
		for (size_t i = 0; i < DELAY_FDS; i++)
			close(fds[i]);
	}
	strbuf_done(&why);
	return ping_ns;
}

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static int measure_vcpus(int64_t ms)
{
	double more[ROUNDS];

	for (size_t i = 0; i < ROUNDS; i++) {
		double without = ping(ms, false);

		more[i] = ping(ms, true) - without;
	}
	qsort(more, ROUNDS, sizeof(*more), compare);
	printf("%.1f\n", more[ROUNDS / 2]);
	return 0;
}

static long resident(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	long size = 0, pages = 0;

	if (!f || fscanf(f, "%ld %ld", &size, &pages) != 2)
		die("statm");
	fclose(f);
	return pages * sysconf(_SC_PAGESIZE);
}

/* Of pairs there are places, whether or not there are pairs: --pairs. */
static long resident_pairs(int fd, uint32_t bits)
{
	long before = resident();
	struct delay_pairs_reader *p = delay_pairs_new(fd, bits, clock_mono_ns());

	if (!p)
		die("pairs");
	(void)delay_pairs_last_use(p); /* of all of them */
	long bytes = resident() - before;

	delay_pairs_free(p);
	return bytes;
}

/* All that there is room for: each has its place in both maps, and here. */
static int memory(void)
{
	const uint32_t bits = DELAY_MOST_BITS;
	struct delay_maps maps = { .bits = bits };
	const size_t bytes[DELAY_MAPS] = { delay_vcpus_bytes(bits),
		delay_threads_bytes(bits), delay_pairs_bytes(bits) };
	struct delay_figures f;
	struct delay_spread spread = { 0 };
	long before = resident();

	for (size_t i = 0; i < DELAY_MAPS; i++) {
		maps.fds[i] = memfd_create("maps", MFD_CLOEXEC);
		if (maps.fds[i] < 0 || ftruncate(maps.fds[i], (off_t)bytes[i]) < 0)
			die("maps");
	}
	struct delay_vcpu *vcpus = mmap(NULL, bytes[DELAY_FD_VCPUS],
		PROT_READ | PROT_WRITE, MAP_SHARED, maps.fds[DELAY_FD_VCPUS], 0);

	if (vcpus == MAP_FAILED)
		die("mmap");
	/* as if each had been seen */
	for (size_t i = 0; i < delay_n_vcpus(bits); i++)
		vcpus[i].use = 1;
	munmap(vcpus, bytes[DELAY_FD_VCPUS]);
	long apart = resident_pairs(maps.fds[DELAY_FD_PAIRS], bits);
	struct delays *d = delays_new(&maps, clock_mono_ns());

	if (!d)
		die("delays");
	for (uint32_t tid = 1; tid <= delay_n_vcpus(bits); tid++)
		(void)delays_read(d, &(struct delay_thread){ tid, 1, 0 }, clock_mono_ns(),
			&f, &spread);
	printf("%.0f\n",
		(double)(resident() - before - apart) / (double)delay_n_vcpus(bits));
	delays_free(d);
	return 0;
}

/* ---- pairs ---- */

/* With so many there are as many pairs as are told of. */
#define PAIR_BITS 12u
#define PAIR_VMS 257u

/* The one of that number, with the use that it has. */
static void tell_vm(struct delay_pairs_reader *p, uint32_t number)
{
	const struct vm_ident vm = {
		.uuid = { { (uint8_t)number, (uint8_t)(number >> 8) } },
		.name = "a name as VMs have it"
	};

	*delay_vm_use(delay_pairs_vm(p, &vm, clock_mono_ns())) = DELAY_FIRST_USE + number;
}

/* Each VM waited for each other one. */
static void fill(struct delay_pairs *map)
{
	const size_t room = delay_n_pair_buckets(PAIR_BITS) * DELAY_PAIRS;
	size_t n = 0;

	for (uint32_t a = 0; a < PAIR_VMS && n < room; a++)
		for (uint32_t b = 0; b < PAIR_VMS && n < room; b++) {
			if (a == b)
				continue;
			map[n / DELAY_PAIRS].key[n % DELAY_PAIRS] =
				delay_pair_key(DELAY_FIRST_USE + a, DELAY_FIRST_USE + b);
			map[n / DELAY_PAIRS].ns[n % DELAY_PAIRS] = 1;
			n++;
		}
}

/* As who shows it. */
static size_t n_told(struct blame *b)
{
	size_t all = 0;

	for (size_t i = 0; i < b->n_vms; i++) {
		size_t n;

		(void)blame_pairs_of(b, &b->vms[i], &n);
		all += n;
	}
	return all;
}

/* As long as somebody reads what was told before, there are two of that. */
static int pairs(void)
{
	const size_t bytes = delay_pairs_bytes(PAIR_BITS);
	int fd = memfd_create("pairs", MFD_CLOEXEC);
	mem_keep_little(); /* as the daemon */
	long before = resident();

	if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0)
		die("map");
	void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		die("mmap");
	fill(map);
	munmap(map, bytes);
	struct delay_pairs_reader *p = delay_pairs_new(fd, PAIR_BITS, clock_mono_ns());

	if (!p)
		die("pairs");
	for (uint32_t i = 0; i < PAIR_VMS; i++)
		tell_vm(p, i);
	delay_pairs_turn(p, clock_mono_ns());
	struct blame *told[] = { delay_pairs_blame(p), delay_pairs_blame(p) };

	if (n_told(told[0]) != LIMIT_BLAME_PAIRS || n_told(told[1]) != LIMIT_BLAME_PAIRS)
		die("they are not told");
	printf("%.0f\n", (double)(resident() - before) / LIMIT_BLAME_PAIRS);
	blame_unref(told[0]);
	blame_unref(told[1]);
	delay_pairs_free(p);
	close(fd);
	return 0;
}

/* ---- a beat with pairs ---- */

#define BEAT_VMS 142u
#define BEAT_PAIRS 20000u
#define BEATS 300

/* In places that have nothing to do with whose they are. */
static void scatter(struct delay_pairs *map)
{
	const size_t room = delay_n_pair_buckets(PAIR_BITS) * DELAY_PAIRS;
	size_t n = 0;

	for (uint32_t a = 0; a < BEAT_VMS; a++)
		for (uint32_t b = 0; b < BEAT_VMS && n < BEAT_PAIRS; b++) {
			size_t slot = n * 40503 % room;

			if (a == b)
				continue;
			map[slot / DELAY_PAIRS].key[slot % DELAY_PAIRS] =
				delay_pair_key(DELAY_FIRST_USE + a, DELAY_FIRST_USE + b);
			map[slot / DELAY_PAIRS].ns[slot % DELAY_PAIRS] = 1000000;
			n++;
		}
}

static int64_t thread_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

/* What pairs take of a beat, one a second: median.  @is_asked: also what they take of who shows them. */
static int beat(bool is_asked)
{
	const size_t bytes = delay_pairs_bytes(PAIR_BITS);
	int fd = memfd_create("pairs", MFD_CLOEXEC);
	struct blame *told = NULL;
	double us[BEATS];

	mem_keep_little(); /* as the daemon */
	if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0)
		die("map");
	void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		die("mmap");
	scatter(map);
	struct delay_pairs_reader *p = delay_pairs_new(fd, PAIR_BITS, NS_PER_S);

	if (!p)
		die("pairs");
	for (size_t i = 0; i < BEATS; i++) {
		for (uint32_t vm = 0; vm < BEAT_VMS; vm++)
			tell_vm(p, vm);
		int64_t begin = thread_ns();

		delay_pairs_turn(p, (int64_t)(i + 2) * NS_PER_S);
		blame_unref(told);
		told = delay_pairs_blame(p);
		if (is_asked && n_told(told) != BEAT_PAIRS)
			die("they are not told");
		us[i] = (double)(thread_ns() - begin) / 1000;
	}
	qsort(us, BEATS, sizeof(*us), compare);
	printf("%.0f\n", us[BEATS / 2]);
	blame_unref(told);
	delay_pairs_free(p);
	munmap(map, bytes);
	close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--beat"))
		return beat(false);
	if (argc == 2 && !strcmp(argv[1], "--beat-asked"))
		return beat(true);
	if (argc == 2 && !strcmp(argv[1], "--memory"))
		return memory();
	if (argc == 2 && !strcmp(argv[1], "--pairs"))
		return pairs();
	bool vcpus = argc == 3 && !strcmp(argv[1], "--vcpus");
	long ms = argc == 2 || vcpus ? strtol(argv[argc - 1], NULL, 10) : 0;

	if (ms > 0)
		return vcpus ? measure_vcpus(ms) : measure(ms);
	fprintf(stderr,
		"usage: switches [--vcpus] MILLISECONDS | --memory | --pairs | --beat | --beat-asked\n");
	return 2;
}

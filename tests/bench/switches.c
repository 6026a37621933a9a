/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Two processes that are no VMs' send each other a byte through pipes, on one processor, so that each
 * byte is a switch: switches MILLISECONDS.  Prints how many nanoseconds a switch took.
 *
 * switches --memory: what is resident for each vCPU that is read, all maps included, in bytes.
 */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bpf/delay_maps.h"
#include "collect/kernel/delays.h"
#include "util/clock.h"

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void answer(int from, int to)
{
	char byte;

	while (read(from, &byte, 1) == 1 && write(to, &byte, 1) == 1)
		;
	_exit(0);
}

static int measure(int64_t ms)
{
	int there[2], back[2];
	uint64_t n = 0;
	char byte = 0;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0 || pipe(there) < 0 ||
		pipe(back) < 0)
		die("switches");
	pid_t pid = fork();

	if (pid == 0) {
		close(there[1]);
		answer(there[0], back[1]);
	}
	int64_t start = clock_mono_ns(), now = start;

	for (; now - start < ms * NS_PER_MS; n++) {
		if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
			die("pipe");
		if (n % 64 == 0)
			now = clock_mono_ns();
	}
	now = clock_mono_ns();
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	printf("%.1f\n", (double)(now - start) / (double)(2 * n));
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

/* All that there is room for: each has its place in both maps, and here. */
static int memory(void)
{
	const uint32_t bits = DELAY_MOST_BITS;
	struct delay_maps maps = { .bits = bits };
	const size_t bytes[DELAY_MAPS] = { delay_vcpus_bytes(bits),
		delay_threads_bytes(bits) };
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
	struct delays *d = delays_new(&maps, clock_mono_ns());

	if (!d)
		die("delays");
	for (uint32_t tid = 1; tid <= delay_n_vcpus(bits); tid++)
		(void)delays_read(d, &(struct delay_thread){ tid, 1, 0 }, clock_mono_ns(),
			&f, &spread);
	printf("%.0f\n", (double)(resident() - before) / (double)delay_n_vcpus(bits));
	delays_free(d);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--memory"))
		return memory();
	long ms = argc == 2 ? strtol(argv[1], NULL, 10) : 0;

	if (ms > 0)
		return measure(ms);
	fprintf(stderr, "usage: switches MILLISECONDS | --memory\n");
	return 2;
}

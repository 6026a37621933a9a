/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Counts the waits of vCPUs as the daemon does, on a host that has no libvirt: count-waits PID:TID...,
 * of QEMU's processes and the threads of their vCPUs, until it is ended.  Prints "counting" when all are
 * known.  Whoever reads the maps finds them in this process (steal.py).
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bpf/delay_loader.h"
#include "bpf/delay_maps.h"
#include "collect/kernel/delays.h"
#include "util/clock.h"
#include "util/strbuf.h"

#define VCPUS 16
#define PERIOD_US 300000

struct vcpu {
	uint32_t pid, tid, use;
};

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "count-waits: %s\n", what);
	exit(1);
}

/* Of /proc/TID/@file.  Return: 0: it is gone. */
static uint64_t field(const char *file, uint32_t tid, int number)
{
	char path[64], text[1024] = "";

	snprintf(path, sizeof(path), "/proc/%" PRIu32 "/%s", tid, file);
	FILE *f = fopen(path, "re");
	size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

	if (f)
		fclose(f);
	text[n] = '\0';
	/* a name may have blanks in it */
	const char *end = strrchr(text, ')'), *at = end ? end + 2 : text;

	for (int i = end ? 3 : 1; i < number && at; i++)
		at = strchr(at, ' ') ? strchr(at, ' ') + 1 : NULL;
	return at ? strtoull(at, NULL, 10) : 0;
}

/* Those that run still.  Return: so many have figures. */
static size_t turn(struct delays *d, struct vcpu *vcpus, size_t n)
{
	size_t known = 0;

	delays_begin(d);
	for (size_t i = 0; i < n; i++) {
		struct vcpu *v = &vcpus[i];
		struct delay_figures f = { 0 };
		struct delay_spread spread = { 0 };
		const struct delay_thread thread = { v->tid, field("stat", v->tid, 22),
			field("schedstat", v->tid, 1) };

		if (!thread.start_ticks)
			continue;
		if (!delays_tell_process(d, v->pid, field("stat", v->pid, 22), &v->use))
			die("no room");
		known += delays_read(d, &thread, clock_mono_ns(), &f, &spread) ==
			DELAY_KNOWN;
	}
	delays_end(d, clock_mono_ns());
	return known;
}

int main(int argc, char **argv)
{
	struct strbuf why = STRBUF_INIT;
	struct delay_maps maps = { .bits = 0 };
	struct vcpu vcpus[VCPUS] = { 0 };
	size_t n = (size_t)argc - 1;
	int fds[DELAY_FDS];
	bool said = false;

	for (size_t i = 0; i < n && i < VCPUS; i++)
		if (sscanf(argv[i + 1], "%" SCNu32 ":%" SCNu32, &vcpus[i].pid,
			    &vcpus[i].tid) != 2)
			die("PID:TID...");
	if (n < 1 || n > VCPUS)
		die("PID:TID...");
	if (delay_attach(fds, &maps.bits, &why) < 0)
		die(strbuf_str(&why));
	for (size_t i = 0; i < DELAY_MAPS; i++)
		maps.fds[i] = dup(fds[i]);
	struct delays *d = delays_new(&maps, clock_mono_ns());

	if (!d)
		die("maps");
	for (;; usleep(PERIOD_US)) {
		if (turn(d, vcpus, n) < n || said)
			continue;
		said = true;
		puts("counting");
		fflush(stdout);
	}
}

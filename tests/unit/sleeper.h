/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A VM of the fake libvirt with a process, whose threads run when a test says so. */
#pragma once

#include "fixture.h"
#include "virt-program.h"

#define PID 70
#define MAIN "proc/70/task/70/schedstat"
#define IO "proc/70/task/72/schedstat"
#define MONITOR "proc/70/task/73/schedstat"
#define VCPU "proc/70/task/71/schedstat"

struct sleeper {
	struct program *p;
	struct fixture root;
	unsigned ran; /* so many times some thread has */
};

static inline void let_run(struct sleeper *s, const char *schedstat)
{
	_cleanup_free_ char *text = xasprintf("%u 5 7\n", 1000 + ++s->ran);

	fixture_add(&s->root, schedstat, text);
}

/* Runs on, whatever becomes of its file's name. */
static inline void give_process(struct sleeper *s, unsigned vm)
{
	_cleanup_run_ struct run *run = run_of(s->p, vm);

	run_set_process(run, PID, 1, openat(s->root.fd, "proc/70/stat", O_RDONLY));
}

/* @specs: taken over; @balloon_ns: setup_apart() */
static inline int setup_sleeper_with(
	void **state, struct spec_set *specs, int64_t balloon_ns)
{
	static struct sleeper s;

	setup_apart((void **)&s.p, specs, PERIOD_NS, balloon_ns);
	fixture_init(&s.root);
	fixture_add(&s.root, "proc/70/stat", "70 (qemu) S 1 2 3\n");
	fixture_add(&s.root, "proc/70/task/70/comm", "qemu-system-x86\n");
	fixture_add(&s.root, "proc/70/task/71/comm", "CPU 0/KVM\n");
	fixture_add(&s.root, "proc/70/task/72/comm", "IO iothread1\n");
	fixture_add(&s.root, "proc/70/task/73/comm", "IO mon_iothread\n");
	s.ran = 0;
	let_run(&s, MAIN);
	let_run(&s, IO);
	let_run(&s, VCPU);
	let_run(&s, MONITOR);
	s.p->root_fd = s.root.fd;
	start_vms(1);
	start_program(s.p, NULL);
	give_process(&s, 0);
	*state = &s;
	return 0;
}

static inline int teardown_sleeper(void **state)
{
	struct sleeper *s = *state;
	void *p = s->p;

	fixture_done(&s->root);
	return teardown(&p);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The slow lane: what libvirt alone knows, most of which it asks VMs' monitors for.  VMs
 * are asked in batches, spread over the slow period, by a few workers.  A call that a QEMU
 * which hangs holds up is abandoned; the VM that holds it is found, marked as silent and
 * skipped until it answers, alone, again.  A VM that the fast lane does not cover is asked
 * for everything, each period.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "model/vm.h"

struct board;
struct slow;
struct strbuf;

struct slow_params {
	struct board *board;
	int64_t period_ns, slow_period_ns;

	/* A call failed as a whole: is the connection still good?  From a worker. */
	void (*on_failure)(void *ctx, virConnectPtr conn, virErrorPtr error);
	/* A call succeeded.  From a worker. */
	void (*on_success)(void *ctx);
	void *ctx;
};

/* Starts the scheduler; workers come when there is work. */
struct slow *slow_start(const struct slow_params *params);

/*
 * Stops and frees; waits for calls until @deadline_mono_ns.
 * Return: false if a call did not end: then threads and memory are left to process exit.
 */
bool slow_stop(struct slow *slow, int64_t deadline_mono_ns);

/* After a reload, also of the board's specs; asks all VMs at once. */
void slow_reload(struct slow *slow, int64_t period_ns, int64_t slow_period_ns);

/*
 * Any thread; none of them waits for libvirt.
 *   put         a VM and its domain on the connection in force, references are taken; it
 *               is asked at once
 *   remove      a VM that is gone
 *   disconnect  all domains are of a connection that is lost
 */
void slow_put(struct slow *slow, struct vm *vm, virDomainPtr dom);
void slow_remove(struct slow *slow, const struct vm *vm);
void slow_disconnect(struct slow *slow);

struct slow_figures {
	uint64_t calls;     /* that were answered in time */
	uint64_t abandoned; /* that were given up */
	int64_t call_ns;    /* the last answered one took */
};

void slow_get_figures(struct slow *slow, struct slow_figures *ret);

/* Appends the lines of the status file. */
void slow_status(struct slow *slow, struct strbuf *out);

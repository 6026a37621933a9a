/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The slow lane: what libvirt alone knows, most of which it asks VMs' monitors for.  VMs
 * are asked in batches, spread over the slow period, by a few workers.  A call that a QEMU
 * which hangs holds up is abandoned; the VM that holds it is found, marked as silent and
 * skipped until it answers, alone, again.  Where a call fails, each of those that were asked
 * is asked alone, so that a VM costs no other its figures.  A VM that the fast lane does not
 * cover is asked for everything, each period.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <libvirt/libvirt.h>

struct board;
struct registry;
struct run;
struct slow;
struct strbuf;

struct slow_params {
	struct board *board;
	struct registry *registry;
	int root_fd; /* the directory that holds proc, "/" or a fixture; borrowed */

	/* A call failed as a whole.  Return: whether the connection is good.  From a worker. */
	bool (*on_failure)(void *ctx, virConnectPtr conn);
	void *ctx;
};

/*
 * Starts the scheduler; workers come when there is work.
 * Return: NULL with a logged error if there is no thread to be had.
 */
struct slow *slow_start(const struct slow_params *params);

/*
 * Stops; waits for calls until @deadline_mono_ns.
 * Return: false if a call did not end: then threads and memory are left to process exit.
 */
bool slow_stop(struct slow *slow, int64_t deadline_mono_ns);
void slow_free(struct slow *slow); /* after slow_stop(); NULL is accepted */

/* Another plan is on the board: asks all VMs at once. */
void slow_again(struct slow *slow);

/*
 * Any thread; none of them waits for libvirt.
 *   put         a run and its domain on the connection in force, of which a reference is
 *               taken; it is asked at once
 *   ask         it is asked at once
 *   gone        it has ended: its domain is let go of
 *   disconnect  all domains are of a connection that is lost
 */
void slow_put(struct slow *slow, struct run *run, virDomainPtr dom);
void slow_ask(struct slow *slow, const struct run *run);
void slow_gone(struct slow *slow, const struct run *run);
void slow_disconnect(struct slow *slow);

struct slow_figures {
	uint64_t calls;     /* that were answered in time */
	uint64_t abandoned; /* that were given up */
	uint64_t asleep;    /* VMs that need not be asked, as nothing can have changed */
	int64_t call_ns; /* the last answered one took; of several in a row the longest */
};

void slow_get_figures(struct slow *slow, struct slow_figures *ret);

/* Appends the lines of the status file. */
void slow_status(struct slow *slow, struct strbuf *out);

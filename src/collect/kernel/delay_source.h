/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the fast lane has the waits of vCPUs from (collect/kernel/delays), if a configuration asks
 * for them: the finder has the keeper attach what counts them, which can take a moment, and hands
 * the maps over; the sampler takes them in, and reads.  Who refuses has said why in the log; then
 * the figures do not apply, until another configuration asks for them anew.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct blame;
struct delay_maps;
struct delay_source;
struct strbuf;
struct vm_delays;
struct vm_ident;
struct vm_sample;

/* Who attaches it: keeper_delays() and keeper_report_no_delays(). */
struct delay_keeper {
	int fd;
	/* Return: 0, and descriptors that are ours; -errno with @why.  NULL: nobody does. */
	int (*get)(int fd, struct delay_maps *ret, struct strbuf *why);
	void (*let_go)(int fd);
};

struct delay_source *delay_source_new(const struct delay_keeper *keeper);
void delay_source_free(struct delay_source *s); /* NULL is accepted */

/*
 * The finder's thread: @wanted by the configuration in force.
 * Return: true if the sampler has something to take in.
 */
bool delay_source_look(struct delay_source *s, bool wanted);

/*
 * The sampler's thread: what it reads between the two is of one turn, if it @reads_all.
 * Return: true if waits are counted since just now, so that all VMs are to be read.
 */
bool delay_source_begin(struct delay_source *s, bool wanted);
void delay_source_end(struct delay_source *s, bool reads_all);

/*
 * In between: the figures of a VM, of each vCPU of @sample and of all of them.
 * @last: those of all, as they were; kept by the caller from one time to the next, {0} first, and
 * vm_delays_done() in the end.  @sample borrows its histogram.
 */
void delay_source_sample(struct delay_source *s, const struct vm_ident *ident,
	struct vm_sample *sample, struct vm_delays *last);

/*
 * The same thread, at the end of a turn that read all: which VM waited for which.
 * Return: the caller's, with one reference; NULL: nothing is counted.
 */
struct blame *delay_source_blame(struct delay_source *s);

/* Appends the first line of those below: whether waits are counted, or why not.  Any thread. */
void delay_source_state(struct delay_source *s, struct strbuf *out);

/* Appends the lines of the status file.  Any thread. */
void delay_source_status(struct delay_source *s, struct strbuf *out);

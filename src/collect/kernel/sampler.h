/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The fast lane: each period, on a thread of its own, the host's figures and those of all
 * running VMs, through kept-open descriptors; then one publication.  It never asks libvirt,
 * never waits for a VM, and skips beats that it is late for.  Between two beats it samples
 * what the finder (collect/kernel/finder.h) has just found, and nothing else.  Another plan
 * on the board is a beat.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "collect/kernel/delay_source.h"
#include "core/catalogue.h"
#include "core/fact.h"

struct board;
struct registry;
struct sampler;
struct strbuf;

struct sampler_params {
	struct board *board;
	struct registry *registry;
	int root_fd;    /* holds proc, sys, etc and run; borrowed */
	bool inherited; /* the first reader finds what another process left */
	struct delay_keeper delays;
};

/*
 * Samples the host once, so that the first reader finds something, unless he does; starts nothing.
 */
struct sampler *sampler_new(const struct sampler_params *params);

/*
 * Starts the threads.
 * @fill: sets the facts that others know, FLEET_VIRT_PRODUCT and FLEET_SELF_SLOW_*, of
 * which the text is written to @product; return false while VMs cannot be known.  From the
 * sampler's thread; must not block.
 * Return: 0, or -errno with a logged error: then nothing runs.
 */
int sampler_start(struct sampler *sampler,
	bool (*fill)(void *ctx, struct fact *facts, struct strbuf *product), void *ctx);
void sampler_stop(struct sampler *sampler); /* no report may be under way */
void sampler_free(struct sampler *sampler); /* after sampler_stop(); NULL is accepted */

/* Samples what is new without moving the beats: others know more than they did.  Any thread. */
void sampler_kick(struct sampler *sampler);

/* Appends the line of those below that says whether waits are counted.  Any thread, as below. */
void sampler_delay_state(struct sampler *sampler, struct strbuf *out);

/* Appends the lines of the status file. */
void sampler_status(struct sampler *sampler, struct strbuf *out);

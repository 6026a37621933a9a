/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The fast lane: each period, on a thread of its own, the host's figures and those of all
 * VMs whose processes are known, through kept-open descriptors; then one publication.  It
 * never asks libvirt, never waits for a VM, and skips beats that it is late for.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/fact.h"
#include "model/vm.h"
#include "core/catalogue.h"

struct board;
struct fast_description;
struct fast_vm;
struct sampler;
struct strbuf;

struct sampler_params {
	struct board *board;
	int root_fd; /* holds proc, sys, etc and run; borrowed */
	int64_t period_ns, slow_period_ns;
};

/* Samples the host once, so that the first reader finds something; starts nothing. */
struct sampler *sampler_new(const struct sampler_params *params);

/*
 * Starts the thread.
 * @fill: sets the facts that others know, FLEET_VIRT_PRODUCT and FLEET_SELF_SLOW_*, of
 * which the text is written to @product; return false while VMs cannot be known.
 * @rediscover: a VM's description must be read again; NULL: all must be opened again.
 * Both from the sampler's thread; must not block.
 */
void sampler_start(struct sampler *sampler,
	bool (*fill)(void *ctx, struct fact *facts, struct strbuf *product),
	void (*rediscover)(void *ctx, const struct uuid *uuid), void *ctx);
void sampler_stop(struct sampler *sampler);
void sampler_free(struct sampler *sampler); /* after sampler_stop(); NULL is accepted */

/* After a reload; also samples at once. */
void sampler_reload(struct sampler *sampler, int64_t period_ns, int64_t slow_period_ns);

/* Samples at once, without moving the beats: others know more than they did.  Any thread. */
void sampler_kick(struct sampler *sampler);

/*
 * From the next cycle on.  What is handed over moves to the sampler.  Any thread.
 *   put       a VM, or a newer state of one
 *   describe  what a VM's description says
 *   remove    a VM that is gone
 */
void sampler_put(struct sampler *sampler, struct fast_vm *fv);
void sampler_describe(
	struct sampler *sampler, struct vm *vm, struct fast_description *description);
void sampler_remove(struct sampler *sampler, struct vm *vm);

/* What to open of a process just now (enum qemu_need), for the configuration in force. */
unsigned sampler_needs(struct sampler *sampler, struct spec_set *specs);

/* Appends the lines of the status file. */
void sampler_status(struct sampler *sampler, struct strbuf *out);

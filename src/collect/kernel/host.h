/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The host's own figures, from the kernel's files through descriptors that are kept open.
 * Never blocks on anything but the kernel.  One thread at a time.  What a file does not
 * offer is absent; that is no error.
 */
#pragma once

#include <stdint.h>

#include "core/catalogue.h"
#include "core/fact.h"

struct host;
struct metric_list;
struct plan;

/*
 * @root_fd: the directory that holds proc, sys and etc, "/" or a fixture; borrowed for the
 * host's life.
 */
struct host *host_new(int root_fd);
void host_free(struct host *host); /* NULL is accepted */

/*
 * Samples what @plan has of the host, and what figures of all VMs are made of.  Rates need
 * two samples half a period apart; until then the ones before stand, at first none.  Counters
 * are as the kernel tells them: model/counters.h.  Return: a list owned by the caller.
 */
struct metric_list *host_sample(struct host *host, const struct plan *plan);

/* A figure of the last sample; missing if nothing needed it. */
struct fact host_fact(const struct host *host, enum host_key key);

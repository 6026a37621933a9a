/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The export to xenstore: one thread with a loop, from when it is first enabled, which writes each
 * domain's document below its path, /local/domain/ID/metrics, where that domain alone can read it, whenever
 * it has changed, and removes it when the VM is gone.  Speaks xenstored's protocol itself, one request at a
 * time, so whatever xenstored does, this thread waits in its loop, and nobody waits for it.  What xenstored
 * answers is not believed to be well formed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct strbuf;
struct tree;
struct xenstore;

/*
 * @enabled: connects to xenstored, at $XENSTORED_PATH or /run/xenstored/socket, which is root's alone as a
 * rule; so before rights are given up.  Never waits; whether that went well its thread says.
 * Return: the export, without a thread.
 */
struct xenstore *xenstore_open(bool enabled);

/*
 * Starts its thread if it is enabled, or logs an error.  @tree outlives it; @period_ns: between two looks at
 * what changed.
 */
void xenstore_start(struct xenstore *xs, struct tree *tree, int64_t period_ns);

/* What was written stays, for who comes next.  NULL is accepted, and one without a thread. */
void xenstore_stop(struct xenstore *xs);

/*
 * After a reload, by who has started it: where it is not enabled any more, all is removed, and where it
 * never was before its thread starts.
 */
void xenstore_set(struct xenstore *xs, bool enabled, int64_t period_ns);

/* Appends the lines of the status file; none where it was never enabled. */
void xenstore_status(struct xenstore *xs, struct strbuf *out);

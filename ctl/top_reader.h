/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads the daemon's files for `vhostmdctl top` in a child, which may hang as long as the daemon
 * does: who shows something goes on.  The child opens each file anew by its path, so a daemon
 * that comes back is found; one that hangs is given up and replaced.  What was read is in memory
 * that both share.  One thread.
 *
 *   idle --ask--> asked --answer--> idle
 *                   \--too late, or the child ended--> lost --ask--> asked (another child)
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "top_model.h"

struct top_reader;

enum top_answer {
	TOP_NOTHING, /* not yet */
	TOP_READ,    /* the sample is there, until the next question */
	TOP_SAME,    /* nothing was sampled meanwhile */
	TOP_LOST,    /* nobody answers there */
};

/* @mount: the daemon's; not copied.  Return: NULL and errno. */
struct top_reader *top_reader_new(const char *mount);
void top_reader_free(struct top_reader *reader); /* NULL is accepted */

/* Becomes readable when there may be an answer; -1: there is no child. */
int top_reader_fd(const struct top_reader *reader);

/*
 * Asks for what was sampled since the last answer, or is within @wait_ms; not while an answer is
 * due.  @in_any_case: then, if nothing was, for the same again.
 * Return: false: no child can be had.
 */
bool top_reader_ask(struct top_reader *reader, int wait_ms, bool in_any_case);

/* Monotonic; when an answer that is due is too late; 0: none is due. */
int64_t top_reader_late_ns(const struct top_reader *reader);

/* Takes an answer without waiting.  @ret_error: of TOP_LOST, -errno. */
enum top_answer top_reader_take(
	struct top_reader *reader, struct top_sample *ret, int *ret_error);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Asking the daemon at its control socket (vhostmd-control(7)).  Says nothing.  One thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/cleanup.h"
#include "util/strbuf.h"

/* What it has answered; whose bytes these are is not known. */
struct control_answer {
	bool ok;
	char *word; /* of an error: what kind it is of; else "" */
	char *text; /* the rest of the first line */
	char *body; /* the lines below */
};

void control_answer_done(struct control_answer *answer);
#define _cleanup_answer_ _cleanup_(control_answer_done)

/*
 * Takes an answer apart.
 * Return: 0, and *@ret, for control_answer_done(); -ENODATA: it is not whole; -EPROTO: it is none.
 */
int control_parse(const char *bytes, size_t len, struct control_answer *ret);

/* The value of a line "KEY: VALUE" below the first, the caller's to free; NULL: there is none. */
char *control_value(const struct control_answer *answer, const char *key);

/*
 * Asks once.  @until_ns: of clock_mono_ns().
 * Return: 0, and *@ret, as above; -ENODATA: the connection has ended before the answer has, as when
 * the daemon's worker ends: ask again; -ETIMEDOUT; -ENOENT, -ECONNREFUSED: nobody listens; -EPROTO,
 * or another -errno.
 */
int control_ask(
	const char *path, const char *verb, int64_t until_ns, struct control_answer *ret);

/* Asks again until there is an answer, where that changes nothing. */
int control_ask_patiently(
	const char *path, const char *verb, int64_t until_ns, struct control_answer *ret);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon's own state, as the file `status` tells it (vhostmd(8), FILES).  One thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/cleanup.h"

struct status_line {
	char *key, *value;
};

struct status {
	struct status_line *lines;
	size_t n, cap;
};

/*
 * Reads the file below @mount.  Return: 0; -errno: nobody answers there, which was said.
 * *@ret is the caller's to end, in any case.
 */
int status_read(const char *mount, struct status *ret);

/* Takes apart what the file would have. */
void status_parse(const char *text, struct status *ret);
void status_done(struct status *status);
#define _cleanup_status_ _cleanup_(status_done)

/* The text of a line, NULL if there is none; its number, -1 if there is none. */
const char *status_text(const struct status *status, const char *key);
int64_t status_number(const struct status *status, const char *key);

/* Prints what matters, or with @all each line; as JSON if @json. */
void status_print(const struct status *status, bool all, bool json);

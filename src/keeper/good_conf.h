/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The text of the last configuration that a worker came up with, for the next one, should the
 * file be of no use by then.  The worker says by its hash which one that is; the text is read
 * from the file, and not parsed.  One thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "util/strbuf.h"

struct good_conf {
	struct strbuf text; /* empty: there is none */
	uint64_t hash;
};

/* A worker runs what has that hash: taken if it is what stands in the file. */
void good_conf_note(struct good_conf *good, const char *file, const char *hash);

/* It is that text, if that is not empty. */
void good_conf_set(struct good_conf *good, const char *text, size_t bytes);

void good_conf_done(struct good_conf *good);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the shared disk is expected outside the mount, as the worker sees it: has the keeper
 * put a link there, or goes on with the file of an older vhostmd (mdisk/oldfile.h), and says
 * what is in the way.  Calls from the main thread, but for status.
 */
#pragma once

#include <stdint.h>

struct shared_path;
struct strbuf;
struct tree;

/* @tree, @mount: borrowed. */
struct shared_path *shared_path_new(struct tree *tree, int keeper_fd, const char *mount);
void shared_path_free(struct shared_path *sp); /* NULL is accepted */

/*
 * At the start and after each reload, also with the same path: what was in the way may be
 * gone.  @path: NULL for nowhere.
 */
void shared_path_set(struct shared_path *sp, const char *path, int64_t period_ns);

/* Any thread. */
void shared_path_status(struct shared_path *sp, struct strbuf *out);

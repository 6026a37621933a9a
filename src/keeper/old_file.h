/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The file of an older vhostmd that the worker writes (mdisk/oldfile.h): its descriptor is kept, so
 * that the next worker, and the next program, go on with it where it has no name any more and
 * QEMUs have it open.  One thread, the keeper's.
 */
#pragma once

#include <stdbool.h>

struct keeper;
struct strbuf;

/* Keeps @fd, which is taken over, in place of the one before. */
void old_file_keep(struct keeper *k, int fd);

/* Nobody has it open any more, or it is looked for elsewhere. */
void old_file_drop(struct keeper *k);

/* Adds it to what is handed on (keeper/baggage.h); behind all else. */
void old_file_pack(const struct keeper *k, struct strbuf *out);

/* Whether programs that are executed inherit it. */
void old_file_inherit(const struct keeper *k, bool inherit);

/* What was handed on, if it is there. */
void old_file_adopt(struct keeper *k, const struct strbuf *baggage);

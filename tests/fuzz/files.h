/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A root directory in memory, whose files are a fuzzer's input, in the place of what
 * util/fileio.h and a few calls of libc open: the wraps in tests/fuzz/meson.build.  Text
 * that can be read and written by hand:
 *
 *     @proc/uptime
 *     1.5 2.5
 *
 *     @proc/loadavg
 *     ...
 *
 * A file ends before an empty line and '@', so that it has a newline at its end or has none.
 * Behind a file called "@" everything is as it is somewhat later: files that stay open have
 * other content, or are no more.  One thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Stands for a descriptor of the root. */
#define FILES_ROOT 0x40000000

/* @data stays the caller's, and as it is until files_end(). */
void files_begin(const uint8_t *data, size_t size);

/* The same with one file whose content all of it is. */
void files_begin_one(const char *path, const uint8_t *data, size_t size);

/* Return: false if nothing changes any more. */
bool files_next(void);

/* Ends the program if something was left open. */
void files_end(void);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files that are there whole or not at all: whole_file.c or, on Windows, windows/whole_file.c.  Any
 * thread.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/*
 * Writes a file in place of what is there: under another name in the same directory, which then
 * becomes the file's own.  A link stays, what it leads to is replaced; a file that is there keeps
 * mode, and owner where that is permitted.  What is no regular file (a pipe, /dev/null) is
 * written to as it is.
 * @mode: of a new file; the umask counts.  Return: 0 or -errno, and the file is as it was.
 */
int whole_file_write(const char *path, const void *data, size_t len, mode_t mode);

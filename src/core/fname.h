/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Names of VMs and metrics as file names.  Bytes that a file name cannot carry, control
 * characters and '%' are written as %XX; so are the names "." and "..".  A name that
 * would be too long is cut and ends in "%~" and 16 hex digits of its hash.  Different
 * names give different file names.  Pure function.
 */
#pragma once

struct strbuf;

/* Appends the file name for @name; at most 255 bytes, never empty. */
void fname_escape(const char *name, struct strbuf *out);

/*
 * Appends a metric's name to a list of such, separated by spaces, as metrics name others; a
 * space in a name becomes "%20".
 */
void fname_list_add(const char *name, struct strbuf *out);

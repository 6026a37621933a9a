/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Errors of the system as errors of this library, and what is said of them.  Any thread. */
#pragma once

struct buf;

/* @error: an errno.  Return: one of enum vhostmd_error, never 0. */
int failure_from_errno(int error);

/* The other way round, for functions that set errno.  @error: negative. */
int failure_to_errno(int error);

/* Adds a line "WHAT: WHY" to @tried.  Return: @error. */
int failure_note(struct buf *tried, const char *what, int error);

/* The same of an errno, with the system's own words. */
int failure_note_errno(struct buf *tried, const char *what, int error);

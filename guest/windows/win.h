/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of this folder share.  Any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* @error: GetLastError()'s.  Return: the errno that says the same. */
int win_errno(unsigned long error);

/* UTF-8 as Windows' functions want it, for free().  Return: NULL, with errno, if it is none. */
wchar_t *win_wide(const char *text);

/* The other way round, for free().  Return: NULL if there is no memory. */
char *win_narrow(const wchar_t *text);

/*
 * Opens what is there.  Who has it open may go on, and a server at the other end of a pipe learns
 * nothing of who opened it, and cannot act for him.
 * @access, @share, @flags: CreateFile()'s.  Return: a handle; -1, with errno.
 */
intptr_t win_open(
	const char *path, unsigned long access, unsigned long share, unsigned long flags);

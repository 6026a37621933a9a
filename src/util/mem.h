/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Allocation that does not fail.  All sizes that outsiders influence are bounded by
 * limits.h, so running out of memory means that the host itself is out of it: the process
 * ends with a message and the service manager restarts it.  Any thread.
 */
#pragma once

#include <stddef.h>

/* Like malloc/calloc/realloc/strdup/strndup; never return NULL.  The caller frees. */
void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
void *xreallocarray(void *p, size_t n, size_t size) __attribute__((returns_nonnull));
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull));
char *xstrndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull));
char *xasprintf(const char *fmt, ...)
	__attribute__((malloc, returns_nonnull, format(printf, 1, 2)));

/*
 * Lets the process keep little free memory; once, before threads are started.  Freed large
 * blocks go back to the system at once.
 */
void mem_keep_little(void);

/* Gives back what is free now; takes milliseconds. */
void mem_trim(void);

/*
 * Makes room for one more element in a growing array.
 * @p: the array, may be NULL; @n: elements in use; @cap: elements allocated, updated.
 * Return: the array, possibly moved.
 */
void *xgrow(void *p, size_t n, size_t *cap, size_t elem_size)
	__attribute__((returns_nonnull));

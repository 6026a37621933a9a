/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/mem.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *must(void *p)
{
	if (!p) {
		fputs("vhostmd: out of memory\n", stderr);
		abort();
	}
	return p;
}

void *xmalloc(size_t size)
{
	return must(malloc(size ? size : 1));
}

void *xcalloc(size_t n, size_t size)
{
	return must(calloc(n ? n : 1, size ? size : 1));
}

void *xreallocarray(void *p, size_t n, size_t size)
{
	size_t bytes = 0;

	if (__builtin_mul_overflow(n ? n : 1, size ? size : 1, &bytes))
		return must(NULL);
	return must(realloc(p, bytes));
}

char *xstrdup(const char *s)
{
	return must(strdup(s));
}

char *xstrndup(const char *s, size_t n)
{
	size_t len = strnlen(s, n);
	char *copy = xmalloc(len + 1);

	memcpy(copy, s, len);
	copy[len] = '\0';
	return copy;
}

char *xasprintf(const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;

	va_start(ap, fmt);
	int n = vasprintf(&s, fmt, ap);
	va_end(ap);
	return must(n < 0 ? NULL : s);
}

/* Of large ones there are few, usually, and in many arrays: several of each VM. */
static size_t first_cap(size_t elem_size)
{
	return elem_size <= 16 ? 8 : elem_size <= 32 ? 4 : elem_size <= 64 ? 2 : 1;
}

void *xgrow(void *p, size_t n, size_t *cap, size_t elem_size)
{
	if (n < *cap)
		return must(p);
	*cap = *cap ? *cap * 2 : first_cap(elem_size);
	return xreallocarray(p, *cap, elem_size);
}

/*
 * What one thread allocates others free: with an arena for each thread every one of them
 * keeps what was free at the worst moment.  A second one alone costs 3 KiB a VM.
 */
void mem_keep_little(void)
{
#ifdef __GLIBC__
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_THRESHOLD, 128 << 10);
#endif
}

void mem_trim(void)
{
#ifdef __GLIBC__
	malloc_trim(0);
#endif
}

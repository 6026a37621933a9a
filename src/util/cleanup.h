/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Scope-bound cleanup.  A variable marked _cleanup_* is always initialised on the line
 * that declares it; ownership leaves it only through TAKE_PTR() or TAKE_FD().
 */
#pragma once

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))

/* Defines func_p(T *p), which calls func(*p) when *p is not NULL. */
#define DEFINE_CLEANUP(type, func)                                                       \
	static inline void func##_p(type *p)                                             \
	{                                                                                \
		if (*p)                                                                  \
			func(*p);                                                        \
	}

static inline void free_p(void *p)
{
	free(*(void **)p);
}

static inline void close_p(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

DEFINE_CLEANUP(FILE *, fclose)
DEFINE_CLEANUP(DIR *, closedir)

#define _cleanup_free_ _cleanup_(free_p)
#define _cleanup_close_ _cleanup_(close_p)
#define _cleanup_fclose_ _cleanup_(fclose_p)
#define _cleanup_closedir_ _cleanup_(closedir_p)

#define TAKE_VALUE(var, empty)                                                           \
	__extension__({                                                                  \
		__typeof__(var) *take_from_ = &(var);                                    \
		__typeof__(var) taken_ = *take_from_;                                    \
		*take_from_ = (empty);                                                   \
		taken_;                                                                  \
	})
#define TAKE_PTR(ptr) TAKE_VALUE(ptr, NULL)
#define TAKE_FD(fd) TAKE_VALUE(fd, -1)

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

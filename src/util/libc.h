/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What C libraries do not have in common: libc.c or, on Windows, guest/windows/libc.c.  Any thread.
 */
#pragma once

#include <stddef.h>

/* strtod(3) in the C locale, whatever the user's is. */
double strtod_c(const char *s, char **ret_end);

/* Where @what is first in @in; NULL: nowhere, or it is empty. */
char *find_bytes(const char *in, size_t n, const char *what, size_t n_what);

/* Fills @ret, or leaves it as it is where the system has none at hand. */
void random_bytes(void *ret, size_t n);

#define HOST_NAME_BYTES 256u

/* This machine's own name, with its domain if that is part of it; "" if it has none. */
void host_name(char ret[static HOST_NAME_BYTES]);

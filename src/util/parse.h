/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Strict parsing of text from outside.  Pure functions, any thread.  All return 0, -EINVAL
 * (not of that form) or -ERANGE (does not fit), and leave their output untouched then.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decimal digits only: no sign, no space, no prefix. */
int parse_u64(const char *s, uint64_t *ret);

/* An optional '-', then decimal digits only. */
int parse_i64(const char *s, int64_t *ret);

/* A finite decimal floating-point number in the C locale's form; no hex, inf or nan. */
int parse_real(const char *s, double *ret);

/*
 * Reads the digits at *@pos and moves *@pos behind them.  For the fast scanners of /proc
 * files.  At least one digit is required; on overflow the digits are still skipped.
 */
int parse_u64_at(const char **pos, uint64_t *ret);

/* True if the @len bytes are well-formed UTF-8 (no surrogates, no overlong forms). */
bool utf8_valid(const char *s, size_t len);

/*
 * Decodes one code point of text that utf8_valid() accepted.
 * Return: its length in bytes, 1 to 4; the code point in *@ret.
 */
size_t utf8_decode(const char *s, uint32_t *ret);

/* Trims white space (space, tab, CR, LF, VT, FF) from both ends; returns the new start. */
char *str_trim(char *s);

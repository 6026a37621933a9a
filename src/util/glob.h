/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Patterns of names: '*' is any number of characters, '?' is one, all others are themselves.
 * Takes time in proportion to both lengths multiplied, whoever chose them.  Pure functions.
 */
#pragma once

#include <stdbool.h>

/*
 * False for an empty one and for one that was made for another kind of pattern, with '[', ']'
 * or '\': taken for itself it would match nothing, and nobody would notice.
 */
bool glob_valid(const char *pattern);

/* True if all of @text, which is UTF-8, is of the pattern. */
bool glob_match(const char *pattern, const char *text);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/glob.h"

#include <stddef.h>
#include <string.h>

bool glob_valid(const char *pattern)
{
	return *pattern && !pattern[strcspn(pattern, "[]\\")];
}

static const char *next_character(const char *s)
{
	do
		s++;
	while (((unsigned char)*s & 0xc0) == 0x80);
	return s;
}

/* Of several '*' only the last has to be tried again: those before it have their match. */
bool glob_match(const char *pattern, const char *text)
{
	const char *behind_star = NULL, *tried = NULL;

	while (*text) {
		if (*pattern == '*') {
			behind_star = ++pattern;
			tried = text;
		} else if (*pattern == '?') {
			pattern++;
			text = next_character(text);
		} else if (*pattern == *text) {
			pattern++;
			text++;
		} else if (behind_star) {
			pattern = behind_star;
			text = tried = next_character(tried);
		} else {
			return false;
		}
	}
	return !pattern[strspn(pattern, "*")];
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names of temporary files, in $TMPDIR, which scripts/test takes away however it ends. */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#define TMP_PATH_SIZE 128

/* Writes the path of a file called so; its last six characters may be XXXXXX. */
static inline char *tmp_path(char buf[static TMP_PATH_SIZE], const char *name)
{
	const char *dir = getenv("TMPDIR");

	snprintf(buf, TMP_PATH_SIZE, "%s/%s", dir && *dir ? dir : "/tmp", name);
	return buf;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The list of mounts, in which anybody's directories have their names. */
#include "files.h"
#include "fuzz.h"
#include "keeper/mount.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	files_begin_one("proc/self/mountinfo", data, size);
	(void)mount_is_listed("/run/a b");
	files_end();
	return 0;
}

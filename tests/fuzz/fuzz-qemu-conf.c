/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libvirt's configuration of QEMU: whose group its QEMUs have. */
#include <stdlib.h>

#include "conf/disk_access.h"
#include "files.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct disk_access access;

	files_begin_one("etc/libvirt/qemu.conf", data, size);
	disk_access_find(FILES_ROOT, &access);
	files_end();
	if (!access.why[0])
		abort();
	return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A live domain's XML. */
#include <stdlib.h>
#include <string.h>

#include "collect/foreign_xml.h"
#include "fuzz.h"
#include "util/cleanup.h"
#include "util/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = xstrndup((const char *)data, size);
	_cleanup_free_ char *path = NULL;

	if (foreign_channel_path(text, "org.github.vhostmd.1", &path) == 0 && !path)
		abort();
	return 0;
}

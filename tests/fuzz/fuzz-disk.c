/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A disk's header, as a guest reads it. */
#include "fuzz.h"
#include "mdisk/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct image_header h;

	if (image_parse_header(data, size, &h) == 0 &&
		h.length <= size - IMAGE_HEADER_BYTES)
		(void)image_checksum(data + IMAGE_HEADER_BYTES, h.length);
	return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A live domain's XML. */
#include <stdlib.h>
#include <string.h>

#include "collect/libvirt/domain_xml.h"
#include "fuzz.h"
#include "util/cleanup.h"
#include "util/limits.h"
#include "util/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = xstrndup((const char *)data, size);
	_cleanup_description_ struct description *domain = description_new();

	if (domain_xml_parse(text, "org.github.vhostmd.1", domain) < 0)
		return 0;
	if (domain->n_nics > LIMIT_DOMAIN_DEVICES ||
		domain->n_disks > LIMIT_DOMAIN_DEVICES)
		abort();
	return 0;
}

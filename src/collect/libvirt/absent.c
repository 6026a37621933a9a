/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* In the place of all others here where libvirt is not part of the build: no VM is known. */
#include "collect/libvirt/connection.h"

#include <stddef.h>

#include "core/catalogue.h"
#include "core/fact.h"
#include "util/cleanup.h"
#include "util/strbuf.h"

int virt_start(const struct virt_params *params, struct virt **ret)
{
	(void)params;
	*ret = NULL;
	return 0;
}

bool virt_stop(struct virt *virt)
{
	(void)virt;
	return true;
}

void virt_free(struct virt *virt)
{
	(void)virt;
}

bool virt_fill(struct virt *virt, struct fact *facts, struct strbuf *product)
{
	static const enum fleet_key keys[] = { FLEET_VIRT_PRODUCT, FLEET_VMS_COUNT,
		FLEET_VMS_VCPUS, FLEET_VMS_MEMORY, FLEET_OVERCOMMIT_CPU,
		FLEET_OVERCOMMIT_MEMORY, FLEET_SELF_SLOW_DURATION, FLEET_SELF_SLOW_CALLS,
		FLEET_SELF_SLOW_ABANDONED, FLEET_SELF_SLOW_ASLEEP,
		FLEET_SELF_VMS_SILENT };

	(void)virt;
	(void)product;
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		fact_set_absent(&facts[keys[i]]);
	return false;
}

void virt_status(struct virt *virt, struct strbuf *out)
{
	(void)virt;
	strbuf_adds(out, "libvirt.state: not built in\n");
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* In the place of all others here where libvirt is not part of the build: no VM is known. */
#include "collect/libvirt/connection.h"

#include <stddef.h>

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
	(void)virt;
	(void)facts;
	(void)product;
	return false;
}

void virt_status(struct virt *virt, struct strbuf *out)
{
	(void)virt;
	strbuf_adds(out, "libvirt.state: not built in\n");
}

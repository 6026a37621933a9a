/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* In the place of all others here where libvirt is not part of the build: no VM is known. */
#include "collect/libvirt/connection.h"

#include <stddef.h>

#include "util/strbuf.h"

struct virt *virt_start(const struct virt_params *params)
{
	(void)params;
	return NULL;
}

void virt_reload(struct virt *virt, int64_t period_ns, int64_t slow_period_ns)
{
	(void)virt;
	(void)period_ns;
	(void)slow_period_ns;
}

bool virt_stop(struct virt *virt)
{
	(void)virt;
	return true;
}

bool virt_fill(struct virt *virt, struct fact *facts, struct strbuf *product)
{
	(void)virt;
	(void)facts;
	(void)product;
	return false;
}

void virt_rediscover(struct virt *virt, const struct uuid *uuid)
{
	(void)virt;
	(void)uuid;
}

void virt_status(struct virt *virt, struct strbuf *out)
{
	(void)virt;
	strbuf_adds(out, "libvirt.state: not built in\n");
}

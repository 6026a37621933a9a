/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which hypervisor of libvirt's is meant where nobody says it.  Any thread. */
#pragma once

#include <stdlib.h>
#include <unistd.h>

/*
 * libvirt itself would choose by the user's rights, which may have been dropped.
 * Return: its URI; NULL to leave the choice to libvirt, which looks at the environment.
 */
static inline const char *hypervisor_uri(void)
{
	if (getenv("LIBVIRT_DEFAULT_URI"))
		return NULL;
	return access("/proc/xen/capabilities", F_OK) == 0 ? "xen:///system"
							   : "qemu:///system";
}

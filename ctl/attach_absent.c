/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where libvirt is not part of the build. */
#include "attach.h"

static int absent(void)
{
	ctl_error("this vhostmdctl was built without libvirt, which changes VMs");
	return CTL_FAILED;
}

int attach(const struct ctl *ctl, const struct attach_options *o, char *const *vms,
	size_t n, const char *match)
{
	(void)ctl, (void)o, (void)vms, (void)n, (void)match;
	return absent();
}

int detach(const struct ctl *ctl, const struct attach_options *o, char *const *vms,
	size_t n, const char *match)
{
	(void)ctl, (void)o, (void)vms, (void)n, (void)match;
	return absent();
}

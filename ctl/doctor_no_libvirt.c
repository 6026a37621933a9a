/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* In the place of doctor_libvirt.c where the build has no libvirt. */
#include "doctor_private.h"

void check_libvirt(struct doctor *d)
{
	if (!d->options->uri) {
		doctor_say(d, SEVERITY_OK, "libvirt was not asked");
		return;
	}
	doctor_say(d, SEVERITY_NOTE, "libvirt cannot be asked: this build is without it");
	doctor_mend(d, "virsh -r -c %s list", d->options->uri);
}

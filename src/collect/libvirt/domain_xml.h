/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reads a live domain's XML (libvirt: formatdomain.html).  Any thread. */
#pragma once

#include "core/spec.h"
#include "model/description.h"

/*
 * @xml: of bounded size; @channel: the name of the virtio-serial channel's target.
 * @specs: whose elements are looked for in <metadata>; NULL: none.
 * @ret: empty.  Return: 0; -EINVAL if it is not well-formed.
 */
int domain_xml_parse(const char *xml, const char *channel, const struct spec_set *specs,
	struct description *ret);

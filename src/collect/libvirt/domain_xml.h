/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reads a live domain's XML (libvirt: formatdomain.html).  Any thread. */
#pragma once

#include "model/description.h"

/*
 * @xml: of bounded size; @channel: the name of the virtio-serial channel's target.
 * @ret: empty.  Return: 0; -EINVAL if it is not well-formed.
 */
int domain_xml_parse(const char *xml, const char *channel, struct description *ret);

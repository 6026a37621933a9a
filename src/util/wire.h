/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What host and guest agree on over the virtio-serial channel (formats: virtio-serial). */
#pragma once

#define WIRE_CHANNEL_NAME "org.github.vhostmd.1"
#define WIRE_REQUEST "GET /metrics/XML\n\n"
#define WIRE_END "\n\n" /* of a request and of a reply; never inside one */
#define WIRE_REFUSAL "INVALID REQUEST\n\n"

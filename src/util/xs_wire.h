/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What goes over xenstored's socket, and the device that guests have for it: messages of a header,
 * in the byte order of the machine, and a payload; one reply for each request, with its number.
 * (xen/io/xs_wire.h of Xen.)  Pure.
 */
#pragma once

#include <assert.h>
#include <stdint.h>

enum xs_type {
	XS_READ = 2,
	XS_WRITE = 11,
	XS_RM = 13,
	XS_SET_PERMS = 14,
	XS_WATCH_EVENT = 15,
	XS_ERROR = 16,                /* the payload is the error's name, as "ENOENT" */
	XS_IS_DOMAIN_INTRODUCED = 17, /* "T" or "F" */
};

struct xs_header {
	uint32_t type;
	uint32_t number;      /* the same in the reply */
	uint32_t transaction; /* 0: none */
	uint32_t len;         /* of the payload */
};
static_assert(sizeof(struct xs_header) == 16, "four numbers");

#define XS_PAYLOAD_MAX 4096u

/* Of a domain's metrics: below its own path on the host; the guest asks for that alone. */
#define XS_METRICS "metrics"

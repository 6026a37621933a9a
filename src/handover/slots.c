/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handover/slots.h"

#include <errno.h>
#include <unistd.h>

/* How an answer, and what the kernel is told unasked, begins: struct fuse_out_header. */
struct notice {
	uint32_t bytes;
	int32_t code;
	uint64_t unique; /* 0: it answers nothing */
};

/* FUSE_NOTIFY_RESEND; kernels may be newer than the headers that this is built with. */
#define NOTIFY_RESEND 7

int slots_send_again(int fuse_fd)
{
	const struct notice resend = { .bytes = sizeof(resend), .code = NOTIFY_RESEND };

	return write(fuse_fd, &resend, sizeof(resend)) < 0 ? -errno : 0;
}

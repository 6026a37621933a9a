/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* In the place of delay_loader.c, where libbpf or a compiler for BPF was missing. */
#include <errno.h>

#include "bpf/delay_loader.h"
#include "util/strbuf.h"

int delay_attach(int ret_fds[DELAY_FDS], uint32_t *ret_bits, struct strbuf *why)
{
	(void)ret_fds;
	(void)ret_bits;
	strbuf_adds(why, "this vhostmd was built without eBPF");
	return -ENOSYS;
}

uint64_t delay_program(void)
{
	return 0;
}

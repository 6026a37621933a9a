/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Brings the program of bpf/delay.bpf.c into the kernel.  It is built in, and libbpf, which alone
 * knows how, fits it to the kernel that runs.  Needs CAP_BPF and CAP_PERFMON, or root.  No state;
 * one thread.
 */
#pragma once

#include <stdint.h>

#include "bpf/delay_maps.h"

struct strbuf;

/*
 * Loads and attaches it.
 * @ret_fds: of enum delay_fd, close-on-exec, the caller's; it counts until all but the maps are
 * closed.  @ret_bits: of the maps' sizes.
 * Return: 0; -ENOSYS where it is not built in, -EOPNOTSUPP where the kernel is too old or was
 * built without what is needed, -EPERM, or another -errno, each with @why.
 */
int delay_attach(int ret_fds[DELAY_FDS], uint32_t *ret_bits, struct strbuf *why);

/* Tells the program that is built in from others, and so what is in its maps; 0: there is none. */
uint64_t delay_program(void);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the keeper looks for in the file system where a worker or the configuration says.  Any
 * such path may lead into the keeper's own mount, by a symbolic link that somebody made, and who
 * looks for something there waits for a worker, whom the keeper must start.  So a child process
 * does it, which may hang, and is given up after a second.  One thread.
 *
 * All as the functions of message.h, place.h and bpf/delay_loader.h that are called there; -ETIMEDOUT if it took
 * too long, or another -errno if there was no child.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "bpf/delay_maps.h"

struct strbuf;

int apart_connect(const char *path);
/* delay_attach(): the kernel's description of itself is parsed there, by a library, for 60 ms; at most 3 s. */
int apart_attach(int ret_fds[DELAY_FDS], uint32_t *ret_bits, struct strbuf *why);
int apart_link(
	const char *path, const char *target, size_t *ret_kept, struct strbuf *why);
int apart_open_old(const char *path, int *ret_fd, struct strbuf *why);
/* Appends all of a regular file, which has at most @max bytes.  -EFBIG, -EMEDIUMTYPE. */
int apart_read(const char *path, size_t max, struct strbuf *out);
void apart_remove(const char *path, const char *target, uid_t uid, size_t kept);

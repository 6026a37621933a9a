/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What `vhostmdctl top` shows, as lines of text: the host, one VM with all that it has, help.
 * Knows nothing of terminals but their width.  Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct strbuf;
struct top_model;
struct top_vm;

/* "host: 8 CPUs, 23.4 % ..."; without a newline. */
void top_host_add(const struct top_model *model, struct strbuf *out);

/*
 * All of a VM, a line each with a newline: figures, the last minutes, vCPUs, disks, interfaces.
 * @width: columns of the terminal.  @blocks: the graphs may be of Unicode's blocks.
 */
void top_vm_add(const struct top_vm *vm, int width, bool blocks, int64_t now_ns,
	struct strbuf *out);

/* Keys, columns, and what the configuration lacks. */
void top_help_add(const struct top_model *model, struct strbuf *out);

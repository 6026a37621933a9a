/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/disk.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "fs/node.h"
#include "mdisk/disks.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/fileio.h"
#include "util/hash.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"

/*
 * The process of a thread, second field of "Tgid:" in proc(5)'s status file; the thread
 * itself if that cannot be seen.
 */
static pid_t process_of(pid_t thread)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/status", (int)thread);
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	uint64_t tgid = 0;

	if (thread <= 0 || read_file_at(AT_FDCWD, path, LIMIT_PROC_FILE_BYTES, &text) < 0)
		return thread;
	const char *p = strstr(strbuf_str(&text), "\nTgid:\t");

	if (!p)
		return thread;
	p += strlen("\nTgid:\t");
	return parse_u64_at(&p, &tgid) == 0 && tgid <= INT32_MAX ? (pid_t)tgid : thread;
}

/*
 * Each process that reads the shared disk past the page cache has a latch of its own; QEMU
 * is the usual one, for its VM.  The page cache of a disk is one reader more.
 */
static struct disks_place place_of(
	struct view *view, const struct node *node, bool direct, pid_t reader)
{
	bool shared = node->kind == NODE_SHARED_DISK;
	uint64_t latch[2] = { node->id,
		direct && shared ? (uint64_t)process_of(reader) : 0 };

	return (struct disks_place){ .key = siphash24(latch, sizeof(latch)),
		.view = view,
		.vm = node->scope,
		.shared = shared };
}

struct blob *disk_read(struct disks *disks, struct view *view, const struct node *node,
	bool direct, pid_t reader, uint64_t offset)
{
	struct disks_place place = place_of(view, node, direct, reader);
	bool from_start = offset == 0;

	return direct
		? disks_read(disks, &place, from_start, clock_mono_ns())
		: disks_read_cached(disks, &place, reader, from_start, clock_mono_ns());
}

int64_t disk_time(struct disks *disks, struct view *view, const struct node *node,
	pid_t reader, bool opening, int64_t *ret_keep_ns)
{
	struct disks_place place = place_of(view, node, false, 0);

	return disks_time(disks, &place, reader, opening, clock_mono_ns(), ret_keep_ns);
}

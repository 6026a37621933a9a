/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files hold: bytes, sizes, times, extended attributes.  Nothing of FUSE.  Any
 * thread.
 *
 * A reader learns a file's size first and reads its bytes later, and the two must belong
 * together even if a new value is published in between.  So what was last told about a
 * file is held for the reads that follow.  Disks have a rule of their own (mdisk/disks.h)
 * and a constant size.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "fs/node.h"

struct blob;
struct content;
struct disks;
struct strbuf;
struct tree;

struct content_config {
	struct node_config nodes;
	mode_t mode; /* of files; directories can be searched by whom they can be read */
	gid_t gid;
};

/*
 * @status: appends the text of the status file; any thread; must not block.
 * @tree, @disks outlive it.
 */
struct content *content_new(struct tree *tree, struct disks *disks,
	const struct content_config *config,
	void (*status)(void *ctx, struct strbuf *out), void *ctx);
void content_free(struct content *content);

/* After a reload. */
void content_set_config(struct content *content, const struct content_config *config);

/*
 * What the kernel asks when a path is walked, and stat(2)'s answer.  @reader: the thread
 * that asks, as FUSE tells; threads of one process are one reader.  Return: 0 or -errno.
 */
int content_lookup(struct content *content, uint64_t parent, const char *name,
	pid_t reader, struct stat *ret);
int content_stat(struct content *content, uint64_t id, pid_t reader, struct stat *ret);

/*
 * Whether a file may be opened, and how.
 * Return: 0; -ENODATA if its metric cannot be had now; -EISDIR, -ENOENT.
 * @ret_direct: its reads must not be served from the page cache.
 */
int content_open(struct content *content, uint64_t id, bool *ret_direct);

/*
 * The bytes of a read: @ret_data points into *@ret_blob, which the caller unrefs, followed
 * by @ret_zeros zero bytes.
 * Return: 0 or -errno.
 */
int content_read(struct content *content, uint64_t id, pid_t reader, uint64_t offset,
	size_t size, struct blob **ret_blob, const char **ret_data, size_t *ret_size,
	size_t *ret_zeros);

/* Appends a link's target. */
int content_readlink(struct content *content, uint64_t id, struct strbuf *out);

/*
 * A directory's entries behind @after, with their attributes if @with_stats.
 * The caller frees the entries with node_entries_free() and the stats with free().
 */
int content_list(struct content *content, uint64_t id, uint64_t after, bool with_stats,
	struct node_entry **ret, struct stat **ret_stats, size_t *ret_n);

/* Extended attributes of metrics: user.vhostmd.type, .unit, .source.  -ENODATA. */
int content_getxattr(
	struct content *content, uint64_t id, const char *name, struct strbuf *out);
/* Appends the names, each with a NUL. */
int content_listxattr(struct content *content, uint64_t id, struct strbuf *out);

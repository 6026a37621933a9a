/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files hold: bytes, sizes, times, extended attributes; what of it the kernel may
 * keep, and what it must forget.  Nothing of FUSE.  Any thread.
 *
 * A file of a metric is answered by the kernel's page cache until its value changes
 * (fs/armed.h).  Its mtime is the time of the sample that brought the value, so that what
 * stays the same costs nothing.  A value of another length is another file under the same
 * name (node_sized()), so that nobody finds the tail of a longer value behind a shorter one.
 * A document is looked up as one rendering (fs/pinned.h), which never changes, and for a
 * moment as the same one (fs/held.h).
 * A disk has a constant size and a latch of its own (mdisk/disks.h).  Its mtime tells images
 * apart, by which the kernel keeps its page cache (fs/disk.h).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "fs/armed.h"
#include "fs/node.h"

struct arena;
struct blob;
struct content;
struct disks;
struct handover;
struct strbuf;
struct tree;

struct content_config {
	struct node_config nodes;
	mode_t mode; /* of files; directories can be searched by whom they can be read */
	gid_t gid;
	mode_t disk_mode; /* of disks, to which anybody may find the way */
	gid_t disk_gid;
};

/*
 * @status: appends the text of the status file; any thread; must not block.
 * @tree, @disks outlive it.
 */
struct content *content_new(struct tree *tree, struct disks *disks,
	const struct content_config *config,
	void (*status)(void *ctx, struct strbuf *out), void *ctx);
void content_free(struct content *content);

/*
 * Takes over what the process before us left, and keeps what the next one needs there.  After
 * the first publication, before anybody is served; @handover and @arena, which is in it,
 * outlive it.
 */
void content_inherit(
	struct content *content, struct handover *handover, struct arena *arena);

/* What the kernel sent before anybody served again was received. */
void content_caught_up(struct content *content);

/* After a reload. */
void content_set_config(struct content *content, const struct content_config *config);

/*
 * Who asks for a document from now on gets one that was made after this, also if another was told
 * just before: somebody has waited for what has changed.
 */
void content_renew_documents(struct content *content);

/* An answer that the kernel may keep until it is taken back by content_changes(). */
struct content_answer {
	uint64_t id; /* what the kernel is to ask by */
	struct stat st;
	bool keep_entry; /* that the name stands for this file */
	bool keep_attr;  /* what st says; if not: */
	int64_t attr_ns; /* for so long, whatever happens */
	uint64_t generation;
};

/*
 * What the kernel asks when a path is walked, and stat(2)'s answer.  Once the answer is
 * given, content_told() must be called with its generation.
 * @reader: the thread that asks, as FUSE tells.  Return: 0 or -errno.
 */
int content_lookup(struct content *content, uint64_t parent, const char *name,
	pid_t reader, struct content_answer *ret);
int content_stat(
	struct content *content, uint64_t id, pid_t reader, struct content_answer *ret);

struct content_bytes {
	struct blob *blob; /* the caller unrefs */
	const char *data;  /* points into it */
	size_t size;
	size_t zeros; /* that follow the data */
	uint64_t generation;
};

/*
 * The bytes of a read.
 * @direct: they are for the reader alone (O_DIRECT), not for the page cache; @reader: the
 * thread that asks, as FUSE tells.
 * Return: 0; then content_told() as above; -ENODATA if the metric cannot be had now; -errno.
 */
int content_read(struct content *content, uint64_t id, bool direct, pid_t reader,
	uint64_t offset, size_t size, struct content_bytes *ret);

/*
 * An answer was given.  If it was out of date by then, the kernel, which may have heard of
 * the change before the answer, is made to hear of it again.
 */
void content_told(struct content *content, uint64_t generation);

/*
 * The kernel has forgotten @n entries that led to @id, or they were not told after all: it
 * is counted how many of content_lookup()'s and content_list()'s answers it has.
 */
void content_forgotten(struct content *content, uint64_t id, uint64_t n);

/* Appends a link's target, which the kernel keeps.  Return: 0; then content_told() as above. */
int content_readlink(struct content *content, uint64_t id, struct strbuf *out,
	uint64_t *ret_generation);

/*
 * The first @max of a directory's entries behind @after; with answers that the kernel may keep
 * if @with_stats.  Then content_told() as above.
 * The caller frees the entries with node_entries_free() and the answers with free().
 */
int content_list(struct content *content, uint64_t id, uint64_t after, size_t max,
	bool with_stats, struct node_entry **ret, struct content_answer **ret_answers,
	size_t *ret_n);

/* Extended attributes of metrics (fs/xattr.h).  -ENODATA. */
int content_getxattr(
	struct content *content, uint64_t id, const char *name, struct strbuf *out);
/* Appends the names, each with a NUL. */
int content_listxattr(struct content *content, uint64_t id, struct strbuf *out);

/*
 * A number that differs after the content changed that who reads the file gets, which may be a moment
 * later than the metric; -ENOENT.
 */
int content_version(struct content *content, uint64_t id, int64_t *ret);

/*
 * Waits for something to change, but not for longer than about a second, and tells what the
 * kernel must forget.  One thread.
 * Return: how many; the caller frees with armed_changes_free().
 */
size_t content_changes(struct content *content, struct armed_change **ret);

/*
 * The kernel has forgotten a node that content_changes() named.
 * @known: it had it; if not, an answer about it may still be on its way.
 */
void content_taken(struct content *content, uint64_t id, bool known);

/*
 * What must be done after content_taken() if the kernel had the node.  A file that somebody has
 * open may go on with more bytes than it had.  The size is the file's, not the reader's: who saw
 * the old one, and reads after another was told the new one and did not see it yet, would be
 * shown the beginning.  So the kernel is given size and bytes before anybody asks.
 * Return: the bytes that it must be given at once, referenced: it counts as told; NULL: none.
 */
struct blob *content_outgrown(struct content *content, uint64_t id);

/* Makes content_changes() return soon. */
void content_wake(struct content *content);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The file tree as arithmetic: node ids, names, listings.  Pure functions of a view; nothing
 * of FUSE, no I/O, any thread.
 *
 * Identity.  A node id is a function of what the node names and of nothing else: not of
 * when or how often it was looked up, not of this process.  So a kernel's ids stay good
 * when another process takes over the session.  Fixed nodes have small ids.  All others
 * carry their kind in the upper 4 bits and 60 bits below:
 *   a VM's directory, links and disk   uuid_key() of its uuid
 *   a link by id                       the id
 *   a metric                           a hash of its scope's key and its name (54 bits),
 *                                      above it the size of its text: node_sized()
 *   a rendering of a document          which document, and a number
 * A disk's id needs no table to be understood: if no VM with that key runs, its disk shows
 * the host alone.  A metric's id does: node_index, a cache that is rebuilt from the view
 * whenever it does not know an id.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct metric;
struct snapshot;
struct view;

enum node_kind {
	/* the kinds of fixed nodes are their ids */
	NODE_ROOT = 1, /* as the kernel wants it */
	NODE_METRICS,
	NODE_HOST,
	NODE_VMS,
	NODE_BY_UUID,
	NODE_BY_ID,
	NODE_DISKS,
	NODE_METRICS_XML,
	NODE_METRICS_PROM,
	NODE_STATUS,
	NODE_SHARED_DISK,
	NODE_FIXED_END,

	NODE_VM = 1 << 8, /* | 4 bits that the id carries */
	NODE_VM_METRIC,
	NODE_HOST_METRIC,
	NODE_UUID_LINK,
	NODE_ID_LINK,
	NODE_DISK,
	NODE_DOCUMENT, /* one rendering of metrics.xml, metrics.prom or status */
};

/* What an id means in a view.  Pointers are borrowed from the view. */
struct node {
	enum node_kind kind;
	uint64_t id;
	struct snapshot *scope; /* of metrics, VMs, links; of disks NULL if not running */
	const struct metric *metric; /* of metrics */
};

/*
 * A document is looked up as the rendering that is newest then, and a reader of that sees
 * nothing else to its end.  Nobody is told its fixed id.
 */
uint64_t node_document_id(enum node_kind document, uint64_t number);

/* Return: true if the id is that of a rendering; @ret: of which document. */
bool node_is_document(uint64_t id, enum node_kind *ret);

/*
 * The id under which a metric is told while its text has that many bytes.  A file of the
 * page cache that grew would show who is between two reads the tail of the new text behind
 * the old; so no file grows, but the name goes on to another.  Sizes count modulo 64.
 */
uint64_t node_sized(uint64_t id, size_t size);

/* What users see as the file's number: of a metric, the same for all sizes. */
uint64_t node_number(uint64_t id);

/* True of the id of a VM's directory, whether or not that VM runs. */
bool node_is_vm(uint64_t id);

/* True of the id of a directory, be it of a VM that does not run. */
bool node_is_directory(uint64_t id);

/* The cache behind node_resolve(); has its own lock. */
struct node_index;

struct node_index *node_index_new(void);
void node_index_free(struct node_index *index);

/* What the export shows besides the tree; immutable, copied by value. */
struct node_config {
	bool shared_disk;
	bool disks;
};

/* Return: 0; -ENOENT if there is no such thing (any more) in @view. */
int node_resolve(struct node_index *index, const struct node_config *config,
	struct view *view, uint64_t id, struct node *ret);

/* Finds @name in the directory @parent.  Return: 0, -ENOENT, or -ENOTDIR. */
int node_lookup(struct node_index *index, const struct node_config *config,
	struct view *view, const struct node *parent, const char *name, struct node *ret);

/*
 * True if a metric, a VM's directory or a link is listed under that name; others lead there,
 * too, such as an id with zeros before it.
 */
bool node_is_named(const struct node *node, const char *name);

/*
 * The directory where a node is listed that has no fixed place.  *@ret_name: its name there,
 * the caller's to free.  Return: the directory's id; 0 if it has a fixed place.
 */
uint64_t node_parent(const struct node *node, char **ret_name);

/* S_IFDIR, S_IFREG or S_IFLNK. */
mode_t node_type(enum node_kind kind);

bool node_is_disk(const struct node *node);

/* Appends where a link points. */
struct strbuf;
void node_link_target(const struct node *node, struct strbuf *out);

/*
 * A directory's entries, "." and ".." included.  @offset is a cookie that stays good
 * however the directory changes: entries are ordered by it, and a listing goes on behind
 * the last cookie that was seen.
 */
#define NODE_OFFSET_DOTS 2 /* up to here stand "." and ".." */
struct node_entry {
	char *name;
	uint64_t offset; /* 1 to INT64_MAX */
	struct node node;
};

/* Return: 0 and the first @max (not 0) entries whose offset is above @after; -ENOTDIR. */
int node_list(struct node_index *index, const struct node_config *config,
	struct view *view, const struct node *dir, uint64_t after, size_t max,
	struct node_entry **ret, size_t *ret_n);
void node_entries_free(struct node_entry *entries, size_t n);

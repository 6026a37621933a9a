/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/content.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/blob.h"
#include "core/metric_list.h"
#include "core/render_prom.h"
#include "core/render_xml.h"
#include "core/snapshot.h"
#include "mdisk/disks.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/fileio.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"

/*
 * What was last told.  About a metric: by file, because the page cache that its reads go
 * through belongs to all readers; it is a single request.  About a document: by file and
 * reader, whose reads go past the page cache; the parts that one reader gets are those of
 * one rendering, whatever others read.  Who loses his place to somebody else is merely
 * served from the newest snapshot.
 */
#define N_HELD 4096u

/*
 * A reader asks for the size again before each of his reads, also before the one that finds
 * the end; a longer value told then would show its tail behind the shorter one.  So what
 * was read a moment ago is told once more, but not for ever.
 */
static const struct pause {
	int64_t quiet_ns, hold_max_ns;
} document_pause = { 200 * NS_PER_MS, 3 * NS_PER_S },
  metric_pause = { 20 * NS_PER_MS, 100 * NS_PER_MS };

/* Documents are large: who has not read for so long has gone. */
#define FORGET_NS (10 * NS_PER_S)

struct held {
	uint64_t id;
	pid_t reader; /* the process that reads a document; 0 for metrics */
	struct blob *blob;
	uint64_t ended_at; /* of a document that was read to its end, which blob was */
	int64_t told_ns, read_ns; /* monotonic */
};

struct content {
	struct tree *tree;
	struct disks *disks;
	struct node_index *index;
	void (*status)(void *ctx, struct strbuf *out);
	void *ctx;
	struct timespec start;

	pthread_mutex_t lock; /* guards all below; taken alone */
	struct content_config config;
	struct held held[N_HELD];
};

struct content *content_new(struct tree *tree, struct disks *disks,
	const struct content_config *config,
	void (*status)(void *ctx, struct strbuf *out), void *ctx)
{
	struct content *c = xcalloc(1, sizeof(*c));

	c->tree = tree;
	c->disks = disks;
	c->index = node_index_new();
	c->status = status;
	c->ctx = ctx;
	c->config = *config;
	c->start = ns_to_timespec(clock_real_ns());
	pthread_mutex_init(&c->lock, NULL);
	return c;
}

void content_free(struct content *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < N_HELD; i++)
		blob_unref(c->held[i].blob);
	node_index_free(c->index);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

void content_set_config(struct content *c, const struct content_config *config)
{
	pthread_mutex_lock(&c->lock);
	c->config = *config;
	pthread_mutex_unlock(&c->lock);
}

static struct content_config get_config(struct content *c)
{
	pthread_mutex_lock(&c->lock);
	struct content_config config = c->config;

	pthread_mutex_unlock(&c->lock);
	return config;
}

static bool is_document(const struct node *node)
{
	return node->kind == NODE_METRICS_XML || node->kind == NODE_METRICS_PROM ||
		node->kind == NODE_STATUS;
}

/*
 * The process of a thread, whose threads may take turns in reading one file; the thread
 * itself if that cannot be seen.  Second field of "Tgid:" in proc(5)'s status file.
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

static struct held *held_place(struct content *c, uint64_t id, pid_t reader)
{
	return &c->held[(id + (uint64_t)reader * 61) % N_HELD];
}

static bool is_for(const struct held *h, uint64_t id, pid_t reader)
{
	return h->blob && h->id == id && h->reader == reader;
}

/* Somebody is in the middle of reading what was told before. */
static bool is_busy(const struct held *h, int64_t now)
{
	const struct pause *pause = h->reader ? &document_pause : &metric_pause;

	return now - h->read_ns < pause->quiet_ns &&
		now - h->told_ns < pause->hold_max_ns;
}

/*
 * The reader has seen the end: only where that is must be remembered, for those who look
 * twice.
 */
static void release(struct content *c, uint64_t id, pid_t reader)
{
	struct blob *drop = NULL;

	pthread_mutex_lock(&c->lock);
	struct held *h = held_place(c, id, reader);

	if (is_for(h, id, reader)) {
		drop = h->blob;
		h->ended_at = h->blob->size;
		h->blob = NULL;
	}
	pthread_mutex_unlock(&c->lock);
	blob_unref(drop);
}

/* True if the reader has seen the end already, and looks behind it. */
static bool is_behind_end(struct content *c, uint64_t id, pid_t reader, uint64_t offset)
{
	pthread_mutex_lock(&c->lock);
	const struct held *h = held_place(c, id, reader);
	bool behind = !h->blob && h->id == id && h->reader == reader && h->ended_at &&
		offset >= h->ended_at;

	pthread_mutex_unlock(&c->lock);
	return behind;
}

static void forget_documents_locked(struct content *c, int64_t now)
{
	for (size_t i = 0; i < N_HELD; i++) {
		struct held *h = &c->held[i];
		int64_t used = h->read_ns > h->told_ns ? h->read_ns : h->told_ns;

		if (h->reader && now - used > FORGET_NS) {
			blob_unref(h->blob);
			*h = (struct held){ 0 };
		}
	}
}

/* Takes over @fresh, which is about to be told.  Return: what to tell, referenced. */
static struct blob *hold(struct content *c, uint64_t id, pid_t reader, struct blob *fresh)
{
	int64_t now = clock_mono_ns();

	pthread_mutex_lock(&c->lock);
	if (reader)
		forget_documents_locked(c, now);
	struct held *h = held_place(c, id, reader);
	struct blob *drop = fresh;

	if (!is_for(h, id, reader) || !is_busy(h, now)) {
		drop = h->blob;
		*h = (struct held){ id, reader, fresh, 0, now, 0 };
	}
	struct blob *told = blob_ref(h->blob);

	pthread_mutex_unlock(&c->lock);
	blob_unref(drop);
	return told;
}

/* What was told, referenced; NULL if that is forgotten. */
static struct blob *recall(struct content *c, uint64_t id, pid_t reader)
{
	struct blob *blob = NULL;

	pthread_mutex_lock(&c->lock);
	struct held *h = held_place(c, id, reader);

	if (is_for(h, id, reader)) {
		h->read_ns = clock_mono_ns();
		blob = blob_ref(h->blob);
	}
	pthread_mutex_unlock(&c->lock);
	return blob;
}

/* The newest bytes of a file that is no disk, referenced; NULL if there are none. */
static struct blob *newest(struct content *c, struct view *view, const struct node *node)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	switch (node->kind) {
	case NODE_METRICS_XML:
		return blob_ref(render_xml_view(view));
	case NODE_METRICS_PROM:
		return blob_ref(render_prom_view(view));
	case NODE_STATUS:
		c->status(c->ctx, &text);
		return blob_new(text.data, text.len, view->generation, clock_real_ns());
	default:
		if (!node->metric || !node->metric->available)
			return NULL;
		value_format(&node->metric->value, &text);
		strbuf_addc(&text, '\n');
		return blob_new(
			text.data, text.len, view->generation, node->metric->time_ns);
	}
}

static bool is_disk(const struct node *node)
{
	return node->kind == NODE_DISK || node->kind == NODE_SHARED_DISK;
}

static mode_t node_mode(const struct content_config *config, const struct node *node)
{
	mode_t type = node_type(node->kind);

	if (type == S_IFLNK)
		return S_IFLNK | 0777;
	if (type == S_IFDIR)
		return S_IFDIR | config->mode | (config->mode & 0444) >> 2;
	return S_IFREG | config->mode;
}

static void fill_times(struct stat *st, struct timespec ts)
{
	st->st_mtim = st->st_ctim = st->st_atim = ts;
}

/* @reader: whose later reads must agree with the answer; NOBODY: nobody's. */
#define NOBODY ((pid_t)-1)

static void fill_stat(struct content *c, struct view *view, const struct node *node,
	const struct content_config *config, pid_t reader, struct stat *ret)
{
	_cleanup_strbuf_ struct strbuf target = STRBUF_INIT;
	_cleanup_blob_ struct blob *blob = NULL;

	*ret = (struct stat){ .st_ino = node->id,
		.st_mode = node_mode(config, node),
		.st_nlink = node_type(node->kind) == S_IFDIR ? 2 : 1,
		.st_gid = config->gid,
		.st_blksize = 4096 };
	fill_times(ret, c->start);
	if (node_type(node->kind) == S_IFLNK) {
		node_link_target(node, &target);
		ret->st_size = (off_t)target.len;
	} else if (is_disk(node)) {
		const struct snapshot *s = node->scope ? node->scope : view->host;

		ret->st_size = (off_t)disks_size(c->disks);
		if (s->time_ns)
			fill_times(ret, ns_to_timespec(s->time_ns));
	} else if (node_type(node->kind) == S_IFREG) {
		blob = newest(c, view, node);
		if (blob && reader != NOBODY)
			blob = hold(c, node->id,
				is_document(node) ? process_of(reader) : 0,
				TAKE_PTR(blob));
		/* a reader of an "empty" file would not even ask, and get no error */
		ret->st_size = blob ? (off_t)blob->size : 1;
		if (blob && blob->time_ns)
			fill_times(ret, ns_to_timespec(blob->time_ns));
	}
	ret->st_blocks = (ret->st_size + 511) / 512;
}

/* What an id means at this moment; holds the view that its pointers are borrowed from. */
struct place {
	struct view *view;
	struct content_config config;
	struct node node;
};

static void place_done(struct place *place)
{
	view_unref(place->view);
}
#define _cleanup_place_ _cleanup_(place_done)

static int find_place(struct content *c, uint64_t id, struct place *ret)
{
	*ret = (struct place){ .view = tree_view(c->tree), .config = get_config(c) };
	return node_resolve(c->index, &ret->config.nodes, ret->view, id, &ret->node);
}

int content_lookup(struct content *c, uint64_t parent, const char *name, pid_t reader,
	struct stat *ret)
{
	_cleanup_place_ struct place dir = { 0 };
	struct node node;
	int r = find_place(c, parent, &dir);

	if (r == 0)
		r = node_lookup(
			c->index, &dir.config.nodes, dir.view, &dir.node, name, &node);
	if (r == 0)
		fill_stat(c, dir.view, &node, &dir.config, reader, ret);
	return r;
}

int content_stat(struct content *c, uint64_t id, pid_t reader, struct stat *ret)
{
	_cleanup_place_ struct place at = { 0 };
	int r = find_place(c, id, &at);

	if (r == 0)
		fill_stat(c, at.view, &at.node, &at.config, reader, ret);
	return r;
}

int content_open(struct content *c, uint64_t id, bool *ret_direct)
{
	_cleanup_place_ struct place at = { 0 };
	int r = find_place(c, id, &at);

	if (r < 0)
		return r;
	if (node_type(at.node.kind) == S_IFDIR)
		return -EISDIR;
	if (at.node.metric && !at.node.metric->available)
		return -ENODATA;
	*ret_direct = is_disk(&at.node) || is_document(&at.node);
	return 0;
}

/* Return: the image, referenced. */
static struct blob *disk_image(
	struct content *c, struct view *view, const struct node *node, uint64_t offset)
{
	return disks_read(c->disks, node->id, view, node->scope,
		node->kind == NODE_SHARED_DISK, offset == 0, clock_mono_ns());
}

/* The part of @file_size bytes that a read gets, of which @blob holds the first. */
static void cut(const struct blob *blob, uint64_t file_size, uint64_t offset, size_t size,
	const char **ret_data, size_t *ret_size, size_t *ret_zeros)
{
	uint64_t end = offset > file_size || size > file_size - offset ? file_size
								       : offset + size;
	uint64_t data_end = end < blob->size ? end : blob->size;

	*ret_data = blob->data;
	*ret_size = 0;
	*ret_zeros = 0;
	if (offset >= end)
		return;
	if (offset < data_end) {
		*ret_data = blob->data + offset;
		*ret_size = (size_t)(data_end - offset);
	}
	*ret_zeros = (size_t)(end - offset) - *ret_size;
}

int content_read(struct content *c, uint64_t id, pid_t reader, uint64_t offset,
	size_t size, struct blob **ret_blob, const char **ret_data, size_t *ret_size,
	size_t *ret_zeros)
{
	_cleanup_place_ struct place at = { 0 };
	struct blob *blob = NULL;
	int r = find_place(c, id, &at);

	if (r < 0)
		return r;
	reader = is_document(&at.node) ? process_of(reader) : 0;
	if (is_disk(&at.node))
		blob = disk_image(c, at.view, &at.node, offset);
	else if (!at.node.metric || at.node.metric->available)
		blob = recall(c, id, reader);
	if (!blob && is_document(&at.node) && is_behind_end(c, id, reader, offset))
		blob = blob_new(NULL, 0, 0, 0);
	if (!blob) {
		blob = newest(c, at.view, &at.node);
		/* a reader who started over without asking for the size */
		if (blob && is_document(&at.node))
			blob = hold(c, id, reader, blob);
	}
	if (!blob)
		return -ENODATA;
	cut(blob, is_disk(&at.node) ? disks_size(c->disks) : blob->size, offset, size,
		ret_data, ret_size, ret_zeros);
	if (is_document(&at.node) && offset >= blob->size)
		release(c, id, reader);
	*ret_blob = blob;
	return 0;
}

int content_readlink(struct content *c, uint64_t id, struct strbuf *out)
{
	_cleanup_place_ struct place at = { 0 };
	int r = find_place(c, id, &at);

	if (r < 0)
		return r;
	if (node_type(at.node.kind) != S_IFLNK)
		return -EINVAL;
	node_link_target(&at.node, out);
	return 0;
}

int content_list(struct content *c, uint64_t id, uint64_t after, bool with_stats,
	struct node_entry **ret, struct stat **ret_stats, size_t *ret_n)
{
	_cleanup_place_ struct place at = { 0 };
	int r = find_place(c, id, &at);

	if (r == 0)
		r = node_list(
			c->index, &at.config.nodes, at.view, &at.node, after, ret, ret_n);
	if (r < 0)
		return r;
	struct stat *stats = xcalloc(*ret_n, sizeof(*stats));

	for (size_t i = 0; i < *ret_n; i++) {
		const struct node *entry = &(*ret)[i].node;

		if (with_stats)
			fill_stat(c, at.view, entry, &at.config, NOBODY, &stats[i]);
		else
			stats[i] = (struct stat){ .st_ino = entry->id,
				.st_mode = node_type(entry->kind) };
	}
	*ret_stats = stats;
	return 0;
}

static const char *const xattrs[] = { "user.vhostmd.type", "user.vhostmd.unit",
	"user.vhostmd.source" };

/* Attribute @i of a metric; NULL if it has none. */
static const char *xattr_value(const struct metric *metric, size_t i)
{
	switch (i) {
	case 0:
		return metric_type_name(metric->value.type);
	case 1:
		return metric->label->unit;
	default:
		return metric->label->source;
	}
}

int content_getxattr(struct content *c, uint64_t id, const char *name, struct strbuf *out)
{
	_cleanup_place_ struct place at = { 0 };
	int r = find_place(c, id, &at);

	if (r < 0)
		return r;
	for (size_t i = 0; at.node.metric && i < ARRAY_LEN(xattrs); i++) {
		const char *value = xattr_value(at.node.metric, i);

		if (!value || strcmp(name, xattrs[i]) != 0)
			continue;
		strbuf_adds(out, value);
		return 0;
	}
	return -ENODATA;
}

int content_listxattr(struct content *c, uint64_t id, struct strbuf *out)
{
	_cleanup_place_ struct place at = { 0 };
	int r = find_place(c, id, &at);

	if (r < 0)
		return r;
	for (size_t i = 0; at.node.metric && i < ARRAY_LEN(xattrs); i++)
		if (xattr_value(at.node.metric, i))
			strbuf_add(out, xattrs[i], strlen(xattrs[i]) + 1);
	return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/content.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/blob.h"
#include "core/metric_list.h"
#include "core/render_prom.h"
#include "core/render_xml.h"
#include "core/snapshot.h"
#include "fs/attr.h"
#include "fs/disk.h"
#include "fs/held.h"
#include "fs/pinned.h"
#include "fs/xattr.h"
#include "handover/arena.h"
#include "handover/handover.h"
#include "mdisk/disks.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/lock.h"
#include "util/mem.h"
#include "util/strbuf.h"

/* How often renderings that nobody uses any more are looked for. */
#define HOUSEKEEPING_NS NS_PER_S

/* After so many images were forgotten at once their memory is given back. */
#define TRIM_DISKS 16u

struct content {
	struct tree *tree;
	struct disks *disks;
	struct node_index *index;
	struct armed *armed;
	struct pinned *pinned;
	struct held *held;
	struct arena *arena; /* of renderings and images; NULL: nobody comes after us */
	void (*status)(void *ctx, struct strbuf *out);
	void *ctx;
	_Atomic int64_t since_ns; /* the configuration is in force, in real time */
	_Atomic uint64_t own_renderings, *n_renderings; /* of status so far */

	/* of the thread that asks for changes */
	struct view *seen; /* up to which they were told; NULL: none */
	int64_t again_ns;  /* when something that was left must be looked at; 0: never */
	int64_t swept_ns;  /* disks_sweep() */
	_Atomic bool missed; /* an answer was out of date when it was given */
	_Atomic bool reconfigured;

	struct lock lock; /* guards all below; taken alone */
	struct content_config config;
};

struct content *content_new(struct tree *tree, struct disks *disks,
	const struct content_config *config,
	void (*status)(void *ctx, struct strbuf *out), void *ctx)
{
	struct content *c = xcalloc(1, sizeof(*c));

	c->tree = tree;
	c->disks = disks;
	c->index = node_index_new();
	c->armed = armed_new();
	c->pinned = pinned_new();
	c->held = held_new();
	c->status = status;
	c->ctx = ctx;
	c->config = *config;
	c->n_renderings = &c->own_renderings;
	atomic_init(&c->since_ns, clock_real_ns());
	lock_init(&c->lock);
	return c;
}

void content_free(struct content *c)
{
	if (!c)
		return;
	view_unref(c->seen);
	held_free(c->held);
	pinned_free(c->pinned);
	armed_free(c->armed);
	node_index_free(c->index);
	lock_done(&c->lock);
	free(c);
}

void content_set_config(struct content *c, const struct content_config *config)
{
	lock_take(&c->lock);
	c->config = *config;
	lock_release(&c->lock);
	/* a listing that comes later than this is known by its directory's time */
	atomic_store(&c->since_ns, clock_real_ns());
	/* modes, groups and sizes are in no version: everything is told anew */
	atomic_store(&c->reconfigured, true);
	tree_wake(c->tree);
}

static struct content_config get_config(struct content *c)
{
	lock_take(&c->lock);
	struct content_config config = c->config;

	lock_release(&c->lock);
	return config;
}

static bool is_document(const struct node *node)
{
	return node->kind == NODE_METRICS_XML || node->kind == NODE_METRICS_PROM ||
		node->kind == NODE_STATUS;
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
			text.data, text.len, view->generation, node->metric->changed_ns);
	}
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

/* ---- what was left to us ---- */

static void find_entry(void *ctx, struct armed_heir *heir)
{
	struct content *c = ctx;
	_cleanup_place_ struct place at = { 0 };

	if (find_place(c, heir->ino, &at) == 0)
		heir->parent = node_parent(&at.node, &heir->name);
}

void content_inherit(struct content *c, struct handover *handover, struct arena *arena)
{
	c->n_renderings = &handover->renderings;
	armed_inherit(c->armed, handover_told(handover), find_entry, c);
	c->arena = arena;
	pinned_inherit(c->pinned, arena, clock_mono_ns());
}

void content_caught_up(struct content *c)
{
	armed_caught_up(c->armed, clock_mono_ns());
}

/* ---- answers ---- */

/* @disk_ns: the time of a disk. */
static void fill_stat(const struct content *c, const struct place *at,
	const struct node *node, const struct blob *blob, int64_t disk_ns,
	struct stat *ret)
{
	const struct attr_params params = { .mode = at->config.mode,
		.gid = at->config.gid,
		.disk_mode = at->config.disk_mode,
		.disk_gid = at->config.disk_gid,
		.since = ns_to_timespec(atomic_load(&c->since_ns)),
		.disk_bytes = disks_size(c->disks),
		.disk_ns = disk_ns };

	attr_stat(&params, at->view, node, blob, ret);
}

/* The id of a metric whose text is in @blob, NULL: that cannot be had. */
static uint64_t sized_id(uint64_t id, const struct blob *blob)
{
	return node_sized(id, blob ? blob->size : 0);
}

/* True if its name is for ever; the disks may be switched off by a reload. */
static bool is_fixed(const struct node *node)
{
	return node->kind < NODE_FIXED_END && node->kind != NODE_DISKS &&
		node_type(node->kind) == S_IFDIR;
}

/*
 * True of names that are not listed, of which there may be any number: they are not to be
 * remembered.
 */
static bool is_alias(const struct node *node, const char *name)
{
	return node->kind >= NODE_FIXED_END && name && !node_is_named(node, name);
}

/* @parent, @name: of the entry, 0 and NULL: none. */
static bool arm(struct content *c, const struct place *at, const struct node *node,
	struct blob *told, uint64_t parent, const char *name, bool *ret_entry)
{
	struct armed_node n = { .ino = node->id,
		.group = attr_group(node),
		.version = attr_version(at->view, node),
		.generation = at->view->generation,
		.told = told,
		.parent = is_fixed(node) || is_alias(node, name) ? 0 : parent,
		.name = name,
		.entered = parent,
		.moved = node->metric && node->id != sized_id(node->id, told) };

	return armed_set(c->armed, &n, ret_entry);
}

void content_renew_documents(struct content *c)
{
	held_forget(c->held);
}

static_assert(NODE_STATUS - NODE_METRICS_XML + 1 == HELD_DOCUMENTS, "held by kind");

/* The rendering that @reader is to be told, referenced. */
static struct blob *rendering_for(struct content *c, const struct place *at,
	const struct node *node, pid_t reader, uint64_t *ret_id)
{
	unsigned document = node->kind - NODE_METRICS_XML;
	int64_t now_ns = clock_mono_ns();
	uint64_t id = held_get(c->held, document, reader, now_ns);
	struct blob *blob = id ? pinned_get(c->pinned, id, now_ns) : NULL;

	if (blob) {
		*ret_id = id;
		return blob;
	}
	blob = newest(c, at->view, node);
	*ret_id = node_document_id(node->kind,
		node->kind == NODE_STATUS ? atomic_fetch_add(c->n_renderings, 1)
					  : at->view->generation);
	pinned_add(c->pinned, *ret_id, blob, now_ns);
	held_told(c->held, document, reader, *ret_id, now_ns);
	return blob;
}

/* A rendering that the kernel learns of; its id is in @ret. */
static void answer_document(struct content *c, const struct place *at,
	const struct node *node, pid_t reader, struct content_answer *ret)
{
	struct node rendering = *node;
	_cleanup_blob_ struct blob *blob =
		rendering_for(c, at, node, reader, &rendering.id);

	*ret = (struct content_answer){
		.id = rendering.id, .keep_attr = true, .generation = at->view->generation
	};
	fill_stat(c, at, &rendering, blob, 0, &ret->st);
}

/* @blob: of a metric. */
static void answer(struct content *c, const struct place *at, const struct node *node,
	struct blob *blob, uint64_t parent, const char *name, struct content_answer *ret)
{
	*ret = (struct content_answer){ .id = node->id,
		.generation = at->view->generation };
	fill_stat(c, at, node, blob, 0, &ret->st);
	if (is_document(node))
		return;
	ret->keep_attr = arm(c, at, node, blob, parent, name, &ret->keep_entry);
	ret->keep_entry |= is_fixed(node);
}

/* Of any uuid and of all readers: nothing of it is to be remembered. */
static void answer_disk(struct content *c, const struct place *at,
	const struct node *node, pid_t reader, bool opening, struct content_answer *ret)
{
	*ret = (struct content_answer){ .id = node->id,
		.generation = at->view->generation };
	int64_t time_ns =
		disk_time(c->disks, at->view, node, reader, opening, &ret->attr_ns);

	/* before the first sample */
	if (time_ns < NS_PER_S)
		time_ns += atomic_load(&c->since_ns);
	fill_stat(c, at, node, NULL, time_ns, &ret->st);
}

/* What an entry stands for now. */
static void answer_entry(struct content *c, const struct place *at,
	const struct node *node, uint64_t parent, const char *name,
	struct content_answer *ret)
{
	_cleanup_blob_ struct blob *blob =
		node->metric ? newest(c, at->view, node) : NULL;
	struct node now = *node;

	if (node->metric)
		now.id = sized_id(node->id, blob);
	answer(c, at, &now, blob, parent, name, ret);
}

int content_lookup(struct content *c, uint64_t parent, const char *name, pid_t reader,
	struct content_answer *ret)
{
	_cleanup_place_ struct place dir = { 0 };
	struct node node;
	int r = find_place(c, parent, &dir);

	if (r == 0)
		r = node_lookup(
			c->index, &dir.config.nodes, dir.view, &dir.node, name, &node);
	if (r == 0 && is_document(&node))
		answer_document(c, &dir, &node, reader, ret);
	else if (r == 0 && node_is_disk(&node))
		answer_disk(c, &dir, &node, reader, true, ret);
	else if (r == 0)
		answer_entry(c, &dir, &node, parent, name, ret);
	return r;
}

/*
 * A rendering by its id; -ESTALE if it was dropped: who read its beginning must not get the rest of
 * another one.
 */
static int find_rendering(struct content *c, uint64_t id, struct blob **ret)
{
	*ret = pinned_get(c->pinned, id, clock_mono_ns());
	return *ret ? 0 : -ESTALE;
}

/* Resolves also renderings, as the document that they are of, with their own id. */
static int find_file(struct content *c, uint64_t id, struct place *ret)
{
	enum node_kind document;
	int r = find_place(c, node_is_document(id, &document) ? document : id, ret);

	if (r == 0)
		ret->node.id = id;
	return r;
}

/* @blob: the newest bytes of a metric. */
static struct armed_question question_of(
	const struct node *node, const struct blob *blob, bool reading)
{
	return (struct armed_question){ .size = blob ? blob->size : 0,
		.moved = node->id != sized_id(node->id, blob),
		.reading = reading,
		.ns = clock_mono_ns() };
}

/* The bytes that were told of a metric, until that is taken back; else its newest. */
static struct blob *told_or_newest(
	struct content *c, const struct place *at, bool reading, bool *ret_told)
{
	struct blob *blob = newest(c, at->view, &at->node), *told = NULL;
	const struct armed_question question = question_of(&at->node, blob, reading);

	*ret_told = armed_recall(c->armed, at->node.id, &question, &told);
	if (!*ret_told)
		return blob;
	blob_unref(blob);
	return told;
}

static void stat_metric(
	struct content *c, const struct place *at, struct content_answer *ret)
{
	bool told;
	_cleanup_blob_ struct blob *blob = told_or_newest(c, at, false, &told);
	int64_t told_ns = blob ? blob->time_ns : 0;
	int64_t newest_ns = at->node.metric->available ? at->node.metric->changed_ns : 0;

	if (!told || told_ns == newest_ns) {
		answer(c, at, &at->node, blob, 0, NULL, ret);
		return;
	}
	/* until the kernel has forgotten the old bytes their size is good */
	*ret = (struct content_answer){ .generation = at->view->generation };
	fill_stat(c, at, &at->node, blob, 0, &ret->st);
}

int content_stat(struct content *c, uint64_t id, pid_t reader, struct content_answer *ret)
{
	_cleanup_place_ struct place at = { 0 };
	_cleanup_blob_ struct blob *blob = NULL;
	int r = find_file(c, id, &at);

	if (r == 0 && is_document(&at.node))
		r = find_rendering(c, id, &blob);
	if (r < 0)
		return r;
	if (at.node.metric) {
		stat_metric(c, &at, ret);
	} else if (is_document(&at.node)) {
		*ret = (struct content_answer){ .keep_attr = true,
			.generation = at.view->generation };
		fill_stat(c, &at, &at.node, blob, 0, &ret->st);
	} else if (node_is_disk(&at.node)) {
		answer_disk(c, &at, &at.node, reader, false, ret);
	} else {
		answer(c, &at, &at.node, NULL, 0, NULL, ret);
	}
	ret->id = id;
	return 0;
}

void content_told(struct content *c, uint64_t generation)
{
	if (tree_generation(c->tree) == generation)
		return;
	atomic_store(&c->missed, true);
	tree_wake(c->tree);
}

void content_forgotten(struct content *c, uint64_t id, uint64_t n)
{
	armed_forgotten(c->armed, id, n);
}

/* The bytes of a metric; -ENODATA if there are none. */
static int metric_bytes(struct content *c, const struct place *at, struct blob **ret)
{
	bool told, entry;

	*ret = told_or_newest(c, at, true, &told);
	if (!*ret)
		return -ENODATA;
	/* asked for without the size: from now on the kernel has the bytes */
	if (!told)
		arm(c, at, &at->node, *ret, 0, NULL, &entry);
	return 0;
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

int content_read(struct content *c, uint64_t id, bool direct, pid_t reader,
	uint64_t offset, size_t size, struct content_bytes *ret)
{
	_cleanup_place_ struct place at = { 0 };
	struct blob *blob = NULL;
	int r = find_file(c, id, &at);

	if (r < 0)
		return r;
	if (node_is_disk(&at.node))
		blob = disk_read(c->disks, at.view, &at.node, direct, reader, offset);
	else if (is_document(&at.node))
		r = find_rendering(c, id, &blob);
	else if (at.node.metric)
		r = metric_bytes(c, &at, &blob);
	else
		r = -EISDIR;
	if (r < 0)
		return r;
	*ret = (struct content_bytes){ .blob = blob, .generation = at.view->generation };
	cut(blob, node_is_disk(&at.node) ? disks_size(c->disks) : blob->size, offset,
		size, &ret->data, &ret->size, &ret->zeros);
	return 0;
}

int content_readlink(
	struct content *c, uint64_t id, struct strbuf *out, uint64_t *ret_generation)
{
	_cleanup_place_ struct place at = { 0 };
	int r = find_place(c, id, &at);
	bool entry;

	if (r < 0)
		return r;
	if (node_type(at.node.kind) != S_IFLNK)
		return -EINVAL;
	node_link_target(&at.node, out);
	/* also asked for when nothing else is known of it any more */
	arm(c, &at, &at.node, NULL, 0, NULL, &entry);
	*ret_generation = at.view->generation;
	return 0;
}

/* A VM that is gone while its directory is open has nothing in it any more. */
static void list_nothing(
	uint64_t id, uint64_t after, size_t max, struct node_entry **ret, size_t *ret_n)
{
	static const char *const dots[] = { ".", ".." };

	*ret = xcalloc(ARRAY_LEN(dots), sizeof(**ret));
	*ret_n = 0;
	for (uint64_t i = 0; i < ARRAY_LEN(dots); i++)
		if (i + 1 > after && *ret_n < max)
			(*ret)[(*ret_n)++] = (struct node_entry){ xstrdup(dots[i]), i + 1,
				{ .kind = NODE_VM, .id = id } };
}

int content_list(struct content *c, uint64_t id, uint64_t after, size_t max,
	bool with_stats, struct node_entry **ret, struct content_answer **ret_answers,
	size_t *ret_n)
{
	_cleanup_place_ struct place at = { 0 };
	int r = find_place(c, id, &at);
	bool entry;

	if (r == 0) {
		r = node_list(c->index, &at.config.nodes, at.view, &at.node, after, max,
			ret, ret_n);
		if (r == 0)
			arm(c, &at, &at.node, NULL, 0, NULL, &entry);
	} else if (r == -ENOENT && node_is_vm(id)) {
		list_nothing(id, after, max, ret, ret_n);
		r = 0;
	}
	if (r < 0)
		return r;
	struct content_answer *answers = xcalloc(*ret_n, sizeof(*answers));

	for (size_t i = 0; i < *ret_n; i++) {
		const struct node_entry *e = &(*ret)[i];

		if (with_stats && e->offset > NODE_OFFSET_DOTS && !node_is_disk(&e->node))
			answer_entry(c, &at, &e->node, id, e->name, &answers[i]);
		else
			answers[i].st = (struct stat){ .st_ino = e->node.id,
				.st_mode = node_type(e->node.kind) };
		answers[i].generation = at.view->generation;
	}
	*ret_answers = answers;
	return 0;
}

int content_getxattr(struct content *c, uint64_t id, const char *name, struct strbuf *out)
{
	_cleanup_place_ struct place at = { 0 };
	int r = find_file(c, id, &at);

	if (r < 0)
		return r;
	return at.node.metric ? xattr_get(at.node.metric, name, out) : -ENODATA;
}

int content_listxattr(struct content *c, uint64_t id, struct strbuf *out)
{
	_cleanup_place_ struct place at = { 0 };
	int r = find_file(c, id, &at);

	if (r == 0 && at.node.metric)
		xattr_list(at.node.metric, out);
	return r;
}

/* ---- what the kernel must forget ---- */

/* Of the bytes that who reads a metric gets now: those that were told, until they are taken back. */
static int64_t shown_version(struct content *c, const struct place *at)
{
	int64_t newest_ns = attr_version(at->view, &at->node), told_ns;

	if (!armed_version(c->armed, at->node.id, &told_ns) || told_ns == newest_ns)
		return newest_ns;
	_cleanup_blob_ struct blob *blob = newest(c, at->view, &at->node);
	const struct armed_question question = question_of(&at->node, blob, false);

	return armed_shows_told(c->armed, at->node.id, &question) ? told_ns : newest_ns;
}

int content_version(struct content *c, uint64_t id, int64_t *ret)
{
	_cleanup_place_ struct place at = { 0 };
	int r = find_file(c, id, &at);

	if (r == 0)
		*ret = at.node.metric ? shown_version(c, &at)
				      : (int64_t)at.view->generation;
	return r;
}

struct comparison {
	struct content *c;
	struct place now;
	bool all;    /* look at everything */
	bool forget; /* take everything back */
};

/* Whether anything of a group may differ from what was seen last. */
static bool touched(void *ctx, uint64_t group)
{
	const struct comparison *cmp = ctx;
	const struct view *seen = cmp->c->seen, *now = cmp->now.view;

	if (cmp->all || !seen)
		return true;
	if (group == ARMED_TREE)
		return seen->generation != now->generation;
	if (!group)
		return seen->host != now->host;
	return view_find_key(seen, group) != view_find_key(now, group);
}

/* True if the metric's names stand for another node than they did. */
static bool has_moved(struct comparison *cmp, const struct node *node)
{
	if (!node->metric)
		return false;
	_cleanup_blob_ struct blob *blob = newest(cmp->c, cmp->now.view, node);

	return sized_id(node->id, blob) != node->id;
}

/* The same VM may run again under another name; all else has its name by its number. */
static bool stands(void *ctx, uint64_t ino, const char *name)
{
	static const struct node vms = { .kind = NODE_VMS, .id = NODE_VMS };
	struct comparison *cmp = ctx;
	struct node node;

	return !node_is_vm(ino) ||
		(node_lookup(cmp->c->index, &cmp->now.config.nodes, cmp->now.view, &vms,
			 name, &node) == 0 &&
			node.id == ino);
}

static enum armed_verdict check(
	void *ctx, uint64_t ino, int64_t version, uint64_t *ret_group)
{
	struct comparison *cmp = ctx;
	struct node node;
	int r = node_resolve(
		cmp->c->index, &cmp->now.config.nodes, cmp->now.view, ino, &node);

	if (r < 0)
		return ARMED_GONE;
	*ret_group = attr_group(&node);
	if (!cmp->forget && attr_version(cmp->now.view, &node) == version)
		return ARMED_SAME;
	return has_moved(cmp, &node) ? ARMED_MOVED : ARMED_CHANGED;
}

void content_taken(struct content *c, uint64_t id, bool known)
{
	enum node_kind document;

	if (node_is_document(id, &document))
		pinned_taken(c->pinned, id);
	c->again_ns = ns_earlier(
		c->again_ns, armed_taken(c->armed, id, known, clock_mono_ns()));
}

struct blob *content_outgrown(struct content *c, uint64_t id)
{
	_cleanup_place_ struct place at = { 0 };
	_cleanup_blob_ struct blob *blob = NULL;
	bool entry;

	if (find_place(c, id, &at) < 0 || !at.node.metric)
		return NULL;
	blob = newest(c, at.view, &at.node);
	const struct armed_question question = question_of(&at.node, blob, false);

	if (!blob || !armed_outgrown(c->armed, id, &question) ||
		!arm(c, &at, &at.node, blob, 0, NULL, &entry))
		return NULL;
	return TAKE_PTR(blob);
}

size_t content_changes(struct content *c, struct armed_change **ret)
{
	int64_t until = ns_earlier(clock_mono_ns() + HOUSEKEEPING_NS, c->again_ns);
	struct comparison cmp = { .c = c, .now = { .config = get_config(c) } };

	cmp.now.view =
		tree_wait(c->tree, c->seen ? c->seen->generation : UINT64_MAX, until);
	cmp.forget = atomic_exchange(&c->reconfigured, false);
	cmp.all = atomic_exchange(&c->missed, false) || cmp.forget;
	const struct armed_now now = { .ctx = &cmp,
		.ns = clock_mono_ns(),
		.seen = c->seen ? c->seen->generation : 0,
		.touched = touched,
		.check = check,
		.stands = stands };
	size_t n = armed_collect(c->armed, &now, ret, &c->again_ns);

	uint64_t *dropped = NULL;
	size_t n_dropped = pinned_expire(c->pinned, clock_mono_ns(), &dropped);

	if (n_dropped)
		*ret = xreallocarray(*ret, n + n_dropped, sizeof(**ret));
	for (size_t i = 0; i < n_dropped; i++)
		(*ret)[n++] = (struct armed_change){ .ino = dropped[i], .node = true };
	free(dropped);
	if (clock_mono_ns() - c->swept_ns >= HOUSEKEEPING_NS) {
		c->swept_ns = clock_mono_ns();
		if (disks_sweep(c->disks, c->swept_ns) >= TRIM_DISKS)
			mem_trim();
		arena_trim(c->arena);
	}
	view_unref(c->seen);
	c->seen = cmp.now.view;
	return n;
}

void content_wake(struct content *c)
{
	tree_wake(c->tree);
}

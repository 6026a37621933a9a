/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/node.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/fname.h"
#include "core/snapshot.h"
#include "util/cleanup.h"
#include "util/hash.h"
#include "util/lock.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"

#define KEY_BITS 60
#define KEY_MASK ((UINT64_C(1) << KEY_BITS) - 1)
#define SHARED_DISK_NAME "vhostmd0.img"

/* The table of fixed nodes. */
static const struct {
	enum node_kind kind, parent;
	const char *name;
	mode_t type;
} fixed[] = {
	{ NODE_ROOT, NODE_ROOT, "", S_IFDIR },
	{ NODE_METRICS, NODE_ROOT, "metrics", S_IFDIR },
	{ NODE_HOST, NODE_METRICS, "host", S_IFDIR },
	{ NODE_VMS, NODE_METRICS, "vm", S_IFDIR },
	{ NODE_BY_UUID, NODE_METRICS, "vm-by-uuid", S_IFDIR },
	{ NODE_BY_ID, NODE_METRICS, "vm-by-id", S_IFDIR },
	{ NODE_DISKS, NODE_ROOT, "disk", S_IFDIR },
	{ NODE_METRICS_XML, NODE_ROOT, "metrics.xml", S_IFREG },
	{ NODE_METRICS_PROM, NODE_ROOT, "metrics.prom", S_IFREG },
	{ NODE_STATUS, NODE_ROOT, "status", S_IFREG },
	{ NODE_SHARED_DISK, NODE_DISKS, SHARED_DISK_NAME, S_IFREG },
};

static bool is_shown(const struct node_config *config, enum node_kind kind)
{
	if (kind == NODE_DISKS)
		return config->disks;
	return kind != NODE_SHARED_DISK || config->shared_disk;
}

static uint64_t make_id(enum node_kind kind, uint64_t key)
{
	return (uint64_t)(kind - NODE_VM + 1) << KEY_BITS | (key & KEY_MASK);
}

static enum node_kind id_kind(uint64_t id)
{
	if (id >> KEY_BITS)
		return NODE_VM + (int)(id >> KEY_BITS) - 1;
	return id < NODE_FIXED_END ? (enum node_kind)id : 0;
}

#define DOCUMENT_BITS 56 /* of a rendering's number; above stands which document */

uint64_t node_document_id(enum node_kind document, uint64_t number)
{
	uint64_t which = (uint64_t)(document - NODE_METRICS_XML);

	return make_id(NODE_DOCUMENT,
		which << DOCUMENT_BITS | (number & ((UINT64_C(1) << DOCUMENT_BITS) - 1)));
}

bool node_is_document(uint64_t id, enum node_kind *ret)
{
	uint64_t which = (id & KEY_MASK) >> DOCUMENT_BITS;

	if (id_kind(id) != NODE_DOCUMENT || which > NODE_STATUS - NODE_METRICS_XML)
		return false;
	*ret = NODE_METRICS_XML + (int)which;
	return true;
}

#define SIZE_BITS 6
#define SIZE_SHIFT (KEY_BITS - SIZE_BITS)
#define SIZE_MASK (((UINT64_C(1) << SIZE_BITS) - 1) << SIZE_SHIFT)

static bool is_metric(uint64_t id)
{
	return id_kind(id) == NODE_HOST_METRIC || id_kind(id) == NODE_VM_METRIC;
}

uint64_t node_sized(uint64_t id, size_t size)
{
	return (id & ~SIZE_MASK) | ((uint64_t)size << SIZE_SHIFT & SIZE_MASK);
}

uint64_t node_number(uint64_t id)
{
	return is_metric(id) ? id & ~SIZE_MASK : id;
}

bool node_is_vm(uint64_t id)
{
	return id_kind(id) == NODE_VM;
}

bool node_is_directory(uint64_t id)
{
	enum node_kind kind = id_kind(id);

	return kind && node_type(kind) == S_IFDIR;
}

static uint64_t metric_id(const struct snapshot *scope, const struct metric *metric)
{
	uint64_t parts[2] = { scope->is_host ? 0 : scope->key, metric->label->name_hash };

	return node_number(make_id(scope->is_host ? NODE_HOST_METRIC : NODE_VM_METRIC,
		siphash24(parts, sizeof(parts))));
}

static struct node metric_node(struct snapshot *scope, const struct metric *metric)
{
	return (struct node){ scope->is_host ? NODE_HOST_METRIC : NODE_VM_METRIC,
		metric_id(scope, metric), scope, metric };
}

static struct node vm_node(enum node_kind kind, struct snapshot *vm)
{
	return (struct node){ kind,
		make_id(kind, kind == NODE_ID_LINK ? (uint64_t)vm->vm.id : vm->key), vm,
		NULL };
}

/* ---- the index of metric ids ---- */

struct slot {
	uint64_t id;  /* 0: free */
	uint64_t key; /* of the VM; 0 for the host */
	uint32_t at;  /* where the metric was in its snapshot: a hint */
};

struct node_index {
	struct lock lock; /* guards all below */
	struct slot *slots;
	size_t size; /* a power of two */
	size_t used;
	uint64_t generation; /* of the view that it was last made from */
};

struct node_index *node_index_new(void)
{
	struct node_index *index = xcalloc(1, sizeof(*index));

	lock_init(&index->lock);
	index->size = 256;
	index->slots = xcalloc(index->size, sizeof(*index->slots));
	return index;
}

void node_index_free(struct node_index *index)
{
	if (!index)
		return;
	free(index->slots);
	lock_done(&index->lock);
	free(index);
}

/* The slot that holds @id, or the free one where it would go. */
static struct slot *probe(struct slot *slots, size_t size, uint64_t id)
{
	size_t i = (size_t)id & (size - 1);

	while (slots[i].id && slots[i].id != id)
		i = (i + 1) & (size - 1);
	return &slots[i];
}

static void put_scope(
	struct slot *slots, size_t size, size_t *used, struct snapshot *scope)
{
	for (size_t i = 0; i < scope->n; i++) {
		uint64_t id = metric_id(scope, snapshot_metric(scope, i));
		struct slot *slot = probe(slots, size, id);

		if (slot->id)
			continue; /* the first of several with one name */
		*slot = (struct slot){ id, scope->key, (uint32_t)i };
		++*used;
	}
}

/* Makes the index anew from @view: what is gone is forgotten. */
static void rebuild_locked(struct node_index *index, const struct view *view)
{
	assert_locked(&index->lock);
	size_t n = view->host->n, size = 256;

	for (size_t i = 0; i < view->n_vms; i++)
		n += view->vms[i]->n;
	while (size < 2 * n)
		size *= 2;
	free(index->slots);
	index->slots = xcalloc(size, sizeof(*index->slots));
	index->size = size;
	index->used = 0;
	index->generation = view->generation;
	put_scope(index->slots, size, &index->used, view->host);
	for (size_t i = 0; i < view->n_vms; i++)
		put_scope(index->slots, size, &index->used, view->vms[i]);
}

static bool find_locked(struct node_index *index, uint64_t id, struct slot *ret)
{
	assert_locked(&index->lock);
	*ret = *probe(index->slots, index->size, id);
	return ret->id == id;
}

static void index_remember(struct node_index *index, const struct node *node, size_t at)
{
	lock_take(&index->lock);
	struct slot *slot = probe(index->slots, index->size, node->id);

	/* when it is full, the next unknown id makes it anew */
	if (slot->id || index->used < index->size / 4 * 3) {
		index->used += !slot->id;
		*slot = (struct slot){ node->id, node->scope->key, (uint32_t)at };
	}
	lock_release(&index->lock);
}

static const struct metric *metric_of(struct snapshot *scope, uint64_t id, size_t hint)
{
	if (hint < scope->n && metric_id(scope, snapshot_metric(scope, hint)) == id)
		return snapshot_metric(scope, hint);
	for (size_t i = 0; i < scope->n; i++)
		if (metric_id(scope, snapshot_metric(scope, i)) == id)
			return snapshot_metric(scope, i);
	return NULL;
}

static int resolve_metric(
	struct node_index *index, struct view *view, uint64_t id, struct node *ret)
{
	struct slot slot;
	uint64_t number = node_number(id);

	lock_take(&index->lock);
	bool found = find_locked(index, number, &slot);

	if (!found && index->generation != view->generation) {
		rebuild_locked(index, view);
		found = find_locked(index, number, &slot);
	}
	lock_release(&index->lock);
	if (!found)
		return -ENOENT;
	struct snapshot *scope = id_kind(id) == NODE_HOST_METRIC
		? view->host
		: view_find_key(view, slot.key);
	const struct metric *metric = scope ? metric_of(scope, number, slot.at) : NULL;

	if (!metric)
		return -ENOENT;
	*ret = (struct node){ id_kind(id), id, scope, metric };
	return 0;
}

/* ---- resolving, looking up ---- */

int node_resolve(struct node_index *index, const struct node_config *config,
	struct view *view, uint64_t id, struct node *ret)
{
	enum node_kind kind = id_kind(id);
	uint64_t key = id & KEY_MASK;
	struct snapshot *vm = NULL;

	switch (kind) {
	case NODE_HOST_METRIC:
	case NODE_VM_METRIC:
		return resolve_metric(index, view, id, ret);
	case NODE_VM:
	case NODE_UUID_LINK:
	case NODE_DISK:
		vm = view_find_key(view, key);
		break;
	case NODE_ID_LINK:
		vm = key <= INT32_MAX ? view_find_id(view, (int)key) : NULL;
		break;
	default:
		if (kind < NODE_ROOT || kind >= NODE_FIXED_END || !is_shown(config, kind))
			return -ENOENT;
		*ret = (struct node){ kind, id, kind == NODE_HOST ? view->host : NULL,
			NULL };
		return 0;
	}
	if (!vm && kind != NODE_DISK)
		return -ENOENT;
	if (kind == NODE_DISK && !config->disks)
		return -ENOENT;
	*ret = (struct node){ kind, id, vm, NULL };
	return 0;
}

static bool fname_is(const char *fname, const char *name)
{
	_cleanup_strbuf_ struct strbuf escaped = STRBUF_INIT;

	/* Only an escaped name holds '%'. */
	if (!strchr(fname, '%'))
		return !strcmp(fname, name);
	fname_escape(name, &escaped);
	return !strcmp(fname, strbuf_str(&escaped));
}

static int lookup_metric(struct node_index *index, struct snapshot *scope,
	const char *fname, struct node *ret)
{
	for (size_t i = 0; i < scope->n; i++) {
		if (!fname_is(fname, snapshot_metric(scope, i)->label->name))
			continue;
		*ret = metric_node(scope, snapshot_metric(scope, i));
		index_remember(index, ret, i);
		return 0;
	}
	return -ENOENT;
}

static int lookup_disk(struct view *view, const char *fname, struct node *ret)
{
	char text[UUID_TEXT_LEN + 1];
	struct uuid uuid;

	if (strlen(fname) != UUID_TEXT_LEN + 4 ||
		strcmp(fname + UUID_TEXT_LEN, ".img") != 0)
		return -ENOENT;
	memcpy(text, fname, UUID_TEXT_LEN);
	text[UUID_TEXT_LEN] = '\0';
	if (uuid_parse(text, &uuid) < 0)
		return -ENOENT;
	/* libvirt wants to see the file before the VM runs here */
	*ret = (struct node){ NODE_DISK, make_id(NODE_DISK, uuid_key(&uuid)),
		view_find_uuid(view, &uuid), NULL };
	return 0;
}

static int lookup_vm(
	struct view *view, enum node_kind dir, const char *fname, struct node *ret)
{
	struct snapshot *vm = NULL;
	struct uuid uuid;
	uint64_t id = 0;

	if (dir == NODE_VMS) {
		for (size_t i = 0; i < view->n_vms && !vm; i++)
			if (fname_is(fname, view->vms[i]->vm.name))
				vm = view->vms[i];
	} else if (dir == NODE_BY_UUID) {
		vm = uuid_parse(fname, &uuid) == 0 ? view_find_uuid(view, &uuid) : NULL;
	} else if (parse_u64(fname, &id) == 0 && id <= INT32_MAX) {
		vm = view_find_id(view, (int)id);
	}
	if (!vm)
		return -ENOENT;
	*ret = vm_node(dir == NODE_VMS        ? NODE_VM
			: dir == NODE_BY_UUID ? NODE_UUID_LINK
					      : NODE_ID_LINK,
		vm);
	return 0;
}

int node_lookup(struct node_index *index, const struct node_config *config,
	struct view *view, const struct node *parent, const char *name, struct node *ret)
{
	if (node_type(parent->kind) != S_IFDIR)
		return -ENOTDIR;
	for (size_t i = 1; i < ARRAY_LEN(fixed); i++)
		if (fixed[i].parent == parent->kind && !strcmp(fixed[i].name, name))
			return node_resolve(index, config, view, fixed[i].kind, ret);
	switch (parent->kind) {
	case NODE_HOST:
	case NODE_VM:
		return lookup_metric(index, parent->scope, name, ret);
	case NODE_VMS:
	case NODE_BY_UUID:
	case NODE_BY_ID:
		return lookup_vm(view, parent->kind, name, ret);
	case NODE_DISKS:
		return lookup_disk(view, name, ret);
	default:
		return -ENOENT;
	}
}

mode_t node_type(enum node_kind kind)
{
	for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
		if (fixed[i].kind == kind)
			return fixed[i].type;
	switch (kind) {
	case NODE_VM:
		return S_IFDIR;
	case NODE_UUID_LINK:
	case NODE_ID_LINK:
		return S_IFLNK;
	default:
		return S_IFREG;
	}
}

bool node_is_disk(const struct node *node)
{
	return node->kind == NODE_DISK || node->kind == NODE_SHARED_DISK;
}

void node_link_target(const struct node *node, struct strbuf *out)
{
	strbuf_adds(out, "../vm/");
	fname_escape(node->scope->vm.name, out);
}

/* ---- listing ---- */

struct candidate {
	uint64_t offset;
	struct node node;
	size_t at; /* of a metric, in its snapshot */
};

/* The first entries behind an offset: a heap whose top is the last of them. */
struct listing {
	uint64_t after;
	size_t max, n, cap;
	struct candidate *heap;
};

/* True if an entry is among the first, as far as they are known. */
static bool is_wanted(const struct listing *l, uint64_t offset)
{
	return offset > l->after && (l->n < l->max || offset < l->heap[0].offset);
}

static void sift_up(struct candidate *heap, size_t i, struct candidate c)
{
	for (size_t up; i > 0 && heap[up = (i - 1) / 2].offset < c.offset; i = up)
		heap[i] = heap[up];
	heap[i] = c;
}

static void sift_down(struct candidate *heap, size_t n, struct candidate c)
{
	size_t i = 0;

	for (size_t down; (down = 2 * i + 1) < n; i = down) {
		if (down + 1 < n && heap[down + 1].offset > heap[down].offset)
			down++;
		if (heap[down].offset <= c.offset)
			break;
		heap[i] = heap[down];
	}
	heap[i] = c;
}

static void add_entry(struct listing *l, uint64_t offset, struct node node, size_t at)
{
	const struct candidate c = { offset, node, at };

	if (!is_wanted(l, offset))
		return;
	if (l->n == l->max) {
		sift_down(l->heap, l->n, c);
		return;
	}
	l->heap = xgrow(l->heap, l->n, &l->cap, sizeof(*l->heap));
	sift_up(l->heap, l->n++, c);
}

/* Cookies of entries that have no fixed place: their id's hash, above the fixed ones. */
#define FIRST_COOKIE 256u

static uint64_t cookie(uint64_t id)
{
	return (id & KEY_MASK) + FIRST_COOKIE;
}

static void list_metrics(struct snapshot *scope, struct listing *l)
{
	for (size_t i = 0; i < scope->n; i++) {
		struct node node = metric_node(scope, snapshot_metric(scope, i));

		if (is_wanted(l, cookie(node.id)) &&
			snapshot_find(scope, snapshot_metric(scope, i)->label->name) ==
				snapshot_metric(scope, i))
			add_entry(l, cookie(node.id), node, i);
	}
}

/* The first VM whose key's cookie is above @after; the view is sorted by key. */
static size_t first_vm(const struct view *view, uint64_t after)
{
	size_t low = 0, high = view->n_vms;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (cookie(view->vms[middle]->key) > after)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static void list_vms(const struct view *view, enum node_kind kind, struct listing *l)
{
	bool by_key = kind != NODE_ID_LINK;

	for (size_t i = by_key ? first_vm(view, l->after) : 0; i < view->n_vms; i++) {
		struct node node = vm_node(kind, view->vms[i]);

		if (by_key && !is_wanted(l, cookie(node.id)))
			break;
		add_entry(l, cookie(node.id), node, 0);
	}
}

/* Under which a node is listed that has no fixed place. */
static char *listed_name(const struct node *node)
{
	_cleanup_strbuf_ struct strbuf name = STRBUF_INIT;

	if (node->metric)
		fname_escape(node->metric->label->name, &name);
	else if (node->kind == NODE_VM)
		fname_escape(node->scope->vm.name, &name);
	else if (node->kind == NODE_ID_LINK)
		strbuf_addf(&name, "%d", node->scope->vm.id);
	else
		strbuf_addf(&name, "%s%s", node->scope->uuid_text,
			node->kind == NODE_DISK ? ".img" : "");
	return strbuf_steal(&name);
}

uint64_t node_parent(const struct node *node, char **ret_name)
{
	static const enum node_kind parents[] = { [NODE_VM - NODE_VM] = NODE_VMS,
		[NODE_HOST_METRIC - NODE_VM] = NODE_HOST,
		[NODE_UUID_LINK - NODE_VM] = NODE_BY_UUID,
		[NODE_ID_LINK - NODE_VM] = NODE_BY_ID };
	uint64_t id = 0;

	if (node->kind == NODE_VM_METRIC)
		id = vm_node(NODE_VM, node->scope).id;
	else if (node->kind >= NODE_VM && node->kind - NODE_VM < (int)ARRAY_LEN(parents))
		id = parents[node->kind - NODE_VM];
	if (id)
		*ret_name = listed_name(node);
	return id;
}

bool node_is_named(const struct node *node, const char *name)
{
	_cleanup_free_ char *listed = listed_name(node);

	return !strcmp(listed, name);
}

static char *entry_name(const struct candidate *c)
{
	if (c->offset <= NODE_OFFSET_DOTS)
		return xstrdup(c->offset == 1 ? "." : "..");
	if (c->offset < FIRST_COOKIE)
		return xstrdup(fixed[c->offset - NODE_OFFSET_DOTS].name);
	return listed_name(&c->node);
}

static int compare_candidates(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* In order, with their names. */
static struct node_entry *make_entries(struct node_index *index, struct listing *l)
{
	struct node_entry *entries = xcalloc(l->n + 1, sizeof(*entries));

	if (l->n)
		qsort(l->heap, l->n, sizeof(*l->heap), compare_candidates);
	for (size_t i = 0; i < l->n; i++) {
		const struct candidate *c = &l->heap[i];

		entries[i] = (struct node_entry){ entry_name(c), c->offset, c->node };
		if (c->node.metric)
			index_remember(index, &c->node, c->at);
	}
	return entries;
}

static void list_fixed(const struct node_config *config, struct view *view,
	const struct node *dir, struct listing *l)
{
	add_entry(l, 1, *dir, 0);
	add_entry(l, 2, *dir, 0);
	for (size_t i = 1; i < ARRAY_LEN(fixed); i++) {
		struct node node = { fixed[i].kind, fixed[i].kind,
			fixed[i].kind == NODE_HOST ? view->host : NULL, NULL };

		if (fixed[i].parent == dir->kind && is_shown(config, fixed[i].kind))
			add_entry(l, NODE_OFFSET_DOTS + i, node, 0);
	}
}

int node_list(struct node_index *index, const struct node_config *config,
	struct view *view, const struct node *dir, uint64_t after, size_t max,
	struct node_entry **ret, size_t *ret_n)
{
	struct listing l = { .after = after, .max = max };

	if (node_type(dir->kind) != S_IFDIR)
		return -ENOTDIR;
	list_fixed(config, view, dir, &l);
	if (dir->kind == NODE_HOST || dir->kind == NODE_VM)
		list_metrics(dir->scope, &l);
	else if (dir->kind == NODE_VMS)
		list_vms(view, NODE_VM, &l);
	else if (dir->kind == NODE_BY_UUID)
		list_vms(view, NODE_UUID_LINK, &l);
	else if (dir->kind == NODE_BY_ID)
		list_vms(view, NODE_ID_LINK, &l);
	else if (dir->kind == NODE_DISKS)
		list_vms(view, NODE_DISK, &l);
	*ret = make_entries(index, &l);
	*ret_n = l.n;
	free(l.heap);
	return 0;
}

void node_entries_free(struct node_entry *entries, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(entries[i].name);
	free(entries);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What FUSE may ask for: any id, name, offset and size, in any order.  A letter says what is
 * asked, its arguments follow; an id stays that of the last answer.
 *
 *     i ID       asks by this one (8 bytes) from now on
 *     f NUMBER   by that of a fixed node
 *     s SIZE     by the same for a text of that size
 *     l NAME\0   looks a name up
 *     d AFTER N  lists behind the cookie (8 bytes), at most N + 1 entries
 *     r OFFSET SIZE  reads (8 and 2 bytes)
 *     x NAME\0   asks for an extended attribute
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/blob.h"
#include "core/metric_list.h"
#include "core/snapshot.h"
#include "fs/content.h"
#include "fs/node.h"
#include "fuzz.h"
#include "mdisk/disks.h"
#include "specs.h"
#include "util/cleanup.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/strbuf.h"

static const struct node_config all = { .shared_disk = true, .disks = true };

struct walk {
	struct view *view;
	struct node_index *index;
	struct content *content;
	uint64_t id;
};

/* ---- what there is to be seen ---- */

static struct metric_list *make_list(struct spec_set *specs)
{
	struct metric_list_builder *b = metric_list_builder_new(specs, 1000);
	const struct value v = value_string("text");

	metric_list_builder_add(b, 0, NULL, &v);
	metric_list_builder_add(b, 1, NULL, NULL);
	metric_list_builder_add(b, 2, NULL, &v);
	metric_list_builder_add(b, 3, NULL, &v); /* of the name of the first one */
	return metric_list_builder_finish(b);
}

static struct tree *make_tree(void)
{
	static const char *const names[] = { "a", "..", "a/b%", "\x01" };
	struct spec_set *specs = specs_named(
		METRIC_STRING, (const char *const[]){ "n", "a/b", ".", "n", NULL });
	struct metric_list *list = make_list(specs);
	struct snapshot *vms[ARRAY_LEN(names)];
	struct tree *tree = tree_new();

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct vm_ident vm = { .id = (int)i + 7, .name = names[i] };

		vm.uuid.b[15] = (uint8_t)i;
		vms[i] = snapshot_new(&vm, 1, &list, 1, 1);
	}
	tree_publish(tree, 1, snapshot_new(NULL, 1, &list, 1, 1), vms, ARRAY_LEN(names));
	metric_list_unref(list);
	spec_set_unref(specs);
	return tree;
}

static void no_status(void *ctx, struct strbuf *out)
{
	(void)ctx;
	strbuf_adds(out, "ok\n");
}

/* ---- what must be so ---- */

static bool is_same(const struct node *a, const struct node *b)
{
	return a->kind == b->kind && a->id == b->id && a->scope == b->scope &&
		a->metric == b->metric;
}

/* What was found is found by its id, by another process' index, too. */
static void check_node(struct walk *w, const struct node *node)
{
	struct node_index *other = node_index_new();
	struct node again;

	if (node_resolve(w->index, &all, w->view, node->id, &again) < 0 ||
		!is_same(node, &again))
		abort();
	if (node_resolve(other, &all, w->view, node->id, &again) < 0 ||
		!is_same(node, &again))
		abort();
	node_index_free(other);
}

static void look_up(struct walk *w, const char *name)
{
	struct content_answer answer;
	struct node dir, node;
	int found = node_resolve(w->index, &all, w->view, w->id, &dir);

	if (found == 0)
		found = node_lookup(w->index, &all, w->view, &dir, name, &node);
	if (found == 0)
		check_node(w, &node);
	int r = content_lookup(w->content, w->id, name, 1, &answer);

	if (r == 0)
		content_told(w->content, answer.generation);
	if ((r == 0) != (found == 0))
		abort();
	if (r < 0)
		return;
	if ((answer.st.st_mode & S_IFMT) != node_type(node.kind))
		abort();
	w->id = answer.id;
	content_forgotten(w->content, answer.id, 1);
}

static void check_entry(
	struct walk *w, const struct node *dir, const struct node_entry *entry)
{
	struct node node;

	if (entry->offset <= NODE_OFFSET_DOTS)
		return;
	check_node(w, &entry->node);
	if (!*entry->name || strchr(entry->name, '/') ||
		node_lookup(w->index, &all, w->view, dir, entry->name, &node) < 0 ||
		!is_same(&node, &entry->node))
		abort();
}

static void list(struct walk *w, uint64_t after, size_t max)
{
	struct content_answer *answers = NULL;
	struct node_entry *entries = NULL;
	struct node dir;
	size_t n = 0;
	int r = content_list(
		w->content, w->id, after, max, max % 2, &entries, &answers, &n);

	if (r < 0)
		return;
	bool there = node_resolve(w->index, &all, w->view, w->id, &dir) == 0;

	/* a VM that is gone has nothing in its directory */
	if (n > max || (!there && !node_is_vm(w->id)))
		abort();
	for (size_t i = 0; i < n; i++) {
		if (entries[i].offset <= after || entries[i].offset > INT64_MAX ||
			(!there && entries[i].offset > NODE_OFFSET_DOTS))
			abort();
		after = entries[i].offset;
		check_entry(w, &dir, &entries[i]);
		if (answers && after > NODE_OFFSET_DOTS)
			content_forgotten(w->content, answers[i].id, 1);
	}
	content_told(w->content, 1);
	node_entries_free(entries, n);
	free(answers);
}

static void read_bytes(struct walk *w, uint64_t offset, size_t size)
{
	struct content_bytes bytes;

	if (content_read(w->content, w->id, size % 2, 1, offset, size, &bytes) < 0)
		return;
	if (bytes.size > size || bytes.zeros > size - bytes.size)
		abort();
	/* a sanitizer sees what is beyond the blob */
	_cleanup_free_ char *copy = xmalloc(bytes.size + 1);

	memcpy(copy, bytes.data, bytes.size);
	content_told(w->content, bytes.generation);
	blob_unref(bytes.blob);
}

static void look_at(struct walk *w, const char *attribute)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct content_answer answer;
	uint64_t generation = 0;
	int64_t version = 0;
	struct node node;
	int found = node_resolve(w->index, &all, w->view, w->id, &node);

	if (found == 0 && node.id != w->id)
		abort();
	if (content_stat(w->content, w->id, 1, &answer) == 0)
		content_told(w->content, answer.generation);
	if (content_readlink(w->content, w->id, &out, &generation) == 0)
		content_told(w->content, generation);
	(void)content_getxattr(w->content, w->id, attribute, &out);
	(void)content_listxattr(w->content, w->id, &out);
	(void)content_version(w->content, w->id, &version);
}

/* ---- the input ---- */

struct input {
	const uint8_t *at;
	size_t left;
};

static uint64_t take(struct input *in, size_t bytes)
{
	uint64_t v = 0;

	for (; bytes && in->left; bytes--, in->left--)
		v = v << 8 | *in->at++;
	return v;
}

static void take_name(struct input *in, char ret[300])
{
	size_t n = 0;

	for (char c = (char)take(in, 1); c; c = (char)take(in, 1))
		if (n < 299)
			ret[n++] = c;
	ret[n] = '\0';
}

static void step(struct walk *w, struct input *in)
{
	char name[300] = "";

	switch (take(in, 1)) {
	case 'i':
		w->id = take(in, 8);
		break;
	case 'f':
		w->id = take(in, 1) % (NODE_FIXED_END + 1);
		break;
	case 's':
		w->id = node_sized(w->id, take(in, 1));
		break;
	case 'l':
		take_name(in, name);
		look_up(w, name);
		break;
	case 'd': {
		uint64_t after = take(in, 8);

		list(w, after, take(in, 1) + 1);
		break;
	}
	case 'r': {
		uint64_t offset = take(in, 8);

		read_bytes(w, offset, take(in, 2));
		break;
	}
	case 'x':
		take_name(in, name);
		break;
	default:
		break;
	}
	look_at(w, name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct tree *tree;
	const struct content_config config = {
		.nodes = all, .mode = 0444, .disk_mode = 0440
	};
	struct input in = { data, size };

	if (!tree)
		tree = make_tree();
	struct disks *disks = disks_new(DISK_BLOCK_BYTES);
	struct walk w = { .view = tree_view(tree),
		.index = node_index_new(),
		.content = content_new(tree, disks, &config, no_status, NULL),
		.id = NODE_ROOT };

	while (in.left)
		step(&w, &in);
	content_free(w.content);
	node_index_free(w.index);
	view_unref(w.view);
	disks_free(disks);
	return 0;
}

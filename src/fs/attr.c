/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/attr.h"

#include "core/blob.h"
#include "core/metric_list.h"
#include "core/snapshot.h"
#include "fs/armed.h"
#include "fs/node.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/strbuf.h"

static mode_t node_mode(const struct attr_params *params, const struct node *node)
{
	mode_t type = node_type(node->kind);

	if (type == S_IFLNK)
		return S_IFLNK | 0777;
	if (node->kind == NODE_ROOT || node->kind == NODE_DISKS)
		return S_IFDIR | params->mode | 0111; /* QEMU passes, who may not list */
	if (type == S_IFDIR)
		return S_IFDIR | params->mode | (params->mode & 0444) >> 2;
	return S_IFREG | (node_is_disk(node) ? params->disk_mode : params->mode);
}

static void fill_times(struct stat *st, struct timespec ts)
{
	st->st_mtim = st->st_ctim = st->st_atim = ts;
}

static struct timespec later(struct timespec a, struct timespec b)
{
	bool a_is = a.tv_sec != b.tv_sec ? a.tv_sec > b.tv_sec : a.tv_nsec > b.tv_nsec;

	return a_is ? a : b;
}

static struct timespec node_time(const struct attr_params *params,
	const struct view *view, const struct node *node)
{
	const struct snapshot *scope = node->scope ? node->scope : view->host;

	switch (node->kind) {
	case NODE_HOST:
	case NODE_VM:
		return scope->shape_ns ? ns_to_timespec(scope->shape_ns) : params->since;
	case NODE_VMS:
	case NODE_BY_UUID:
	case NODE_BY_ID:
		return view->vms_ns ? ns_to_timespec(view->vms_ns) : params->since;
	case NODE_DISKS:
		return later(ns_to_timespec(view->vms_ns), params->since);
	case NODE_DISK:
	case NODE_SHARED_DISK:
		return ns_to_timespec(params->disk_ns);
	default:
		return node->metric ? ns_to_timespec(node->metric->changed_ns)
				    : params->since;
	}
}

void attr_stat(const struct attr_params *params, const struct view *view,
	const struct node *node, const struct blob *blob, struct stat *ret)
{
	_cleanup_strbuf_ struct strbuf target = STRBUF_INIT;

	*ret = (struct stat){ .st_ino = node_number(node->id),
		.st_mode = node_mode(params, node),
		.st_nlink = node_type(node->kind) == S_IFDIR ? 2 : 1,
		.st_gid = node_is_disk(node) ? params->disk_gid : params->gid,
		.st_blksize = 4096 };
	fill_times(ret, node_time(params, view, node));
	if (node_type(node->kind) == S_IFLNK) {
		node_link_target(node, &target);
		ret->st_size = (off_t)target.len;
	} else if (node_is_disk(node)) {
		ret->st_size = (off_t)params->disk_bytes;
	} else if (node_type(node->kind) == S_IFREG) {
		/* a reader of an "empty" file would not even ask, and get no error */
		ret->st_size = blob ? (off_t)blob->size : 1;
		if (blob && blob->time_ns)
			fill_times(ret, ns_to_timespec(blob->time_ns));
	}
	ret->st_blocks = (ret->st_size + 511) / 512;
}

uint64_t attr_group(const struct node *node)
{
	if (node->scope && !node->scope->is_host)
		return node->scope->key;
	return node->kind == NODE_HOST || node->metric ? 0 : ARMED_TREE;
}

int64_t attr_version(const struct view *view, const struct node *node)
{
	const struct snapshot *scope = node->scope;

	if (node->metric)
		return node->metric->changed_ns;
	switch (node->kind) {
	case NODE_HOST:
		return scope->shape_ns;
	case NODE_VM:
		return scope->shape_ns ^ (int64_t)scope->name_hash;
	case NODE_UUID_LINK:
	case NODE_ID_LINK:
		return (int64_t)scope->name_hash;
	case NODE_VMS:
	case NODE_BY_UUID:
	case NODE_BY_ID:
	case NODE_DISKS:
		return (int64_t)view->vms_generation;
	default:
		return 0;
	}
}

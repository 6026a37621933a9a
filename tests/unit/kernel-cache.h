/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A kernel's caches of one FUSE file system, as far as a file system can see them: entries
 * by name, nodes with attributes, pages and listings.  What of Linux it goes by:
 *  - an answer is taken in by who asked, whenever he gets a processor; requests that were
 *    not sent yet, sent, and answered stand beside each other
 *  - attributes in an answer to a request that is older than the node's newest attributes,
 *    or than a notification about it, are dropped
 *  - pages of a file whose size or time is another than it was are dropped
 *  - attributes are looked at before each read, and asked for if their time is over
 *  - a page is locked from the request to the answer, and a notification waits for that
 *  - a directory is locked for look-ups and listings in it, and taking an entry back waits
 *    for them
 *  - a listing is good while the directory's time is what it was
 *  - a node that nothing refers to may be evicted, and its look-ups are given back later
 * Here only the state; kernel-model.h moves it.
 */
#pragma once

#include "test.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "util/mem.h"

/* So small that a disk has several. */
#define PAGE_BYTES 256u
#define N_PAGES 64u

struct page {
	bool cached;
	size_t size;
	char data[PAGE_BYTES];
};

struct inode {
	struct inode *next;
	uint64_t ino, lookups;
	uint64_t attr_stamp; /* of the newest attributes, or notification */
	int64_t attr_until_ns;
	int64_t attr_dropped_ns;
	bool size_missed; /* another size came with an answer that was dropped */
	struct stat st;
	struct page pages[N_PAGES];
	char *listing; /* names, each with a newline; NULL: not cached */
	struct timespec listing_time;
};

struct entry {
	uint64_t parent, ino;
	char name[64];
};

#define MAX_ENTRIES 1024u
#define INODE_BUCKETS 256u

struct kernel {
	struct inode *inodes[INODE_BUCKETS];
	struct entry entries[MAX_ENTRIES];
	size_t n_entries, n_inodes;
	uint64_t stamp; /* of the last change of any attributes */
};

static inline struct inode **inode_at(struct kernel *k, uint64_t ino)
{
	struct inode **at = &k->inodes[(ino ^ ino >> 54) % INODE_BUCKETS];

	while (*at && (*at)->ino != ino)
		at = &(*at)->next;
	return at;
}

static inline struct inode *inode_get(struct kernel *k, uint64_t ino)
{
	return *inode_at(k, ino);
}

static inline void drop_pages(struct inode *node)
{
	for (size_t i = 0; i < N_PAGES; i++)
		node->pages[i].cached = false;
	free(node->listing);
	node->listing = NULL;
}

static inline struct inode *inode_make(struct kernel *k, uint64_t ino)
{
	struct inode **at = inode_at(k, ino);

	if (!*at) {
		*at = xcalloc(1, sizeof(**at));
		(*at)->ino = ino;
		k->n_inodes++;
	}
	return *at;
}

static inline struct entry *entry_get(struct kernel *k, uint64_t parent, const char *name)
{
	for (size_t i = 0; i < k->n_entries; i++)
		if (k->entries[i].parent == parent && !strcmp(k->entries[i].name, name))
			return &k->entries[i];
	return NULL;
}

static inline void entry_drop(struct kernel *k, struct entry *e)
{
	*e = k->entries[--k->n_entries];
}

static inline void entry_set(
	struct kernel *k, uint64_t parent, const char *name, uint64_t ino)
{
	struct entry *e = entry_get(k, parent, name);

	if (!e) {
		assert_true(k->n_entries < MAX_ENTRIES);
		e = &k->entries[k->n_entries++];
		e->parent = parent;
		snprintf(e->name, sizeof(e->name), "%s", name);
	}
	e->ino = ino;
}

/* True if a file's pages cannot be of the same bytes. */
static inline bool attr_differ(const struct inode *node, const struct stat *st)
{
	const struct timespec *a = &node->st.st_mtim, *b = &st->st_mtim;

	return node->st.st_size != st->st_size ||
		(S_ISREG(st->st_mode) &&
			(a->tv_sec != b->tv_sec || a->tv_nsec != b->tv_nsec));
}

static inline bool attr_valid(const struct inode *node, int64_t now_ns)
{
	return now_ns < node->attr_until_ns;
}

/* Attributes that came with an answer to a request that was sent at @stamp. */
static inline void attr_take(struct kernel *k, struct inode *node, const struct stat *st,
	int64_t until_ns, uint64_t stamp)
{
	if (node->attr_stamp > stamp) {
		node->size_missed |= node->st.st_size != st->st_size;
		return;
	}
	node->size_missed = false;
	if (attr_differ(node, st))
		drop_pages(node);
	node->st = *st;
	node->attr_until_ns = until_ns;
	node->attr_stamp = ++k->stamp;
}

static inline void attr_drop(struct kernel *k, struct inode *node, int64_t now_ns)
{
	node->attr_until_ns = 0;
	node->attr_dropped_ns = now_ns;
	node->attr_stamp = ++k->stamp;
}

/* It is told bytes unasked: at once it has their end, if that is behind its own. */
static inline void size_store(struct kernel *k, struct inode *node, size_t size)
{
	if (node->st.st_size < (off_t)size)
		node->st.st_size = (off_t)size;
	node->size_missed = false;
	node->attr_stamp = ++k->stamp;
}

/* Then, when nobody reads the page, the bytes; only to their end does it know the page. */
static inline void page_store(struct inode *node, const char *data, size_t size)
{
	struct page *page = &node->pages[0];

	assert_true(size <= PAGE_BYTES);
	page->cached |= node->st.st_size == (off_t)size;
	page->size = size;
	memset(page->data, 0, PAGE_BYTES);
	memcpy(page->data, data, size);
}

/* Forgets a node and all names that lead to it or are in it.  Return: its look-ups. */
static inline uint64_t inode_evict(struct kernel *k, uint64_t ino)
{
	struct inode **at = inode_at(k, ino), *node = *at;
	uint64_t lookups = node->lookups;

	for (size_t i = k->n_entries; i > 0; i--)
		if (k->entries[i - 1].ino == ino || k->entries[i - 1].parent == ino)
			entry_drop(k, &k->entries[i - 1]);
	*at = node->next;
	drop_pages(node);
	free(node);
	k->n_inodes--;
	return lookups;
}

static inline void kernel_done(struct kernel *k)
{
	for (size_t i = 0; i < INODE_BUCKETS; i++)
		while (k->inodes[i])
			inode_evict(k, k->inodes[i]->ino);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define FUSE_USE_VERSION 312

#include "fs/watch.h"

#include <assert.h>
#include <stdlib.h>

#include <fuse_lowlevel.h>

#include "handover/ledger.h"
#include "util/cleanup.h"
#include "util/limits.h"
#include "util/lock.h"
#include "util/mem.h"

#define N_BUCKETS 16384u
static_assert((N_BUCKETS & (N_BUCKETS - 1)) == 0, "a bucket is found by a mask");

/* In the order of polling. */
struct ring {
	struct ring *older, *newer;
};

struct watcher {
	struct ring ring;     /* must be first */
	struct watcher *next; /* in the bucket of its file */
	uint64_t file, ino;
	int64_t version;                /* seen last */
	struct fuse_pollhandle *handle; /* NULL: nobody waits */
	struct waited *waited;          /* NULL: the same */
	uint32_t row;                   /* that it waits, in the ledger */
	struct watcher *next_waiting, **at_waiting;
};

/* A node that somebody waits for. */
struct waited {
	struct waited *next; /* in the bucket of its node */
	uint64_t ino;
	struct watcher *waiting; /* never empty */
};

struct watch {
	struct lock lock; /* guards all below */
	struct watcher *files[N_BUCKETS];
	struct waited *nodes[N_BUCKETS];
	size_t n_files, n_nodes;
	struct ring looked, waiting; /* heads: newer is the oldest */
	uint64_t pushed_out;         /* the greatest file of any that was */
	_Atomic uint64_t *polled;    /* the greatest file; for who comes after us */
	struct ledger *ledger;       /* who waits; for him, too */
};

static size_t bucket_of(uint64_t key)
{
	return (size_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 40) & (N_BUCKETS - 1);
}

static void ring_remove(struct ring *r)
{
	r->older->newer = r->newer;
	r->newer->older = r->older;
}

static void ring_add_newest(struct ring *head, struct ring *r)
{
	*r = (struct ring){ .older = head->older, .newer = head };
	r->older->newer = r;
	head->older = r;
}

struct watch *watch_new(_Atomic uint64_t *polled, struct ledger *waiting)
{
	struct watch *w = xcalloc(1, sizeof(*w));

	lock_init(&w->lock);
	w->polled = polled;
	w->pushed_out = polled ? atomic_load(polled) : 0;
	w->ledger = waiting;
	w->looked = (struct ring){ &w->looked, &w->looked };
	w->waiting = (struct ring){ &w->waiting, &w->waiting };
	return w;
}

void watch_free(struct watch *w)
{
	if (!w)
		return;
	for (size_t i = 0; i < N_BUCKETS; i++) {
		while (w->files[i]) {
			struct watcher *watcher = w->files[i];

			w->files[i] = watcher->next;
			if (watcher->handle)
				fuse_pollhandle_destroy(watcher->handle);
			free(watcher);
		}
		while (w->nodes[i]) {
			struct waited *node = w->nodes[i];

			w->nodes[i] = node->next;
			free(node);
		}
	}
	ledger_free(w->ledger);
	lock_done(&w->lock);
	free(w);
}

static struct watcher **find_file_locked(struct watch *w, uint64_t file, uint64_t ino)
{
	assert_locked(&w->lock);
	struct watcher **at = &w->files[bucket_of(file)];

	while (*at && ((*at)->file != file || (*at)->ino != ino))
		at = &(*at)->next;
	return at;
}

static struct waited **find_node_locked(struct watch *w, uint64_t ino)
{
	assert_locked(&w->lock);
	struct waited **at = &w->nodes[bucket_of(ino)];

	while (*at && (*at)->ino != ino)
		at = &(*at)->next;
	return at;
}

/* looked -> waiting */
static void wait_locked(struct watch *w, struct watcher *watcher)
{
	assert_locked(&w->lock);
	struct waited **at = find_node_locked(w, watcher->ino);

	if (!*at) {
		*at = xcalloc(1, sizeof(**at));
		(*at)->ino = watcher->ino;
		w->n_nodes++;
	}
	watcher->waited = *at;
	watcher->next_waiting = (*at)->waiting;
	watcher->at_waiting = &(*at)->waiting;
	if (watcher->next_waiting)
		watcher->next_waiting->at_waiting = &watcher->next_waiting;
	(*at)->waiting = watcher;
	watcher->row = ledger_add(w->ledger, watcher->file, watcher->ino);
}

/* Who is to be woken; in the ledger until he is. */
struct sleeper {
	struct fuse_pollhandle *handle; /* NULL: nobody */
	uint32_t row;
};

/* waiting -> looked.  Return: who waited. */
static struct sleeper end_wait_locked(struct watch *w, struct watcher *watcher)
{
	assert_locked(&w->lock);
	struct waited *node = TAKE_PTR(watcher->waited);

	assert(node && watcher->handle);
	*watcher->at_waiting = watcher->next_waiting;
	if (watcher->next_waiting)
		watcher->next_waiting->at_waiting = watcher->at_waiting;
	if (!node->waiting) {
		struct waited **at = find_node_locked(w, node->ino);

		*at = node->next;
		w->n_nodes--;
		free(node);
	}
	return (struct sleeper){ TAKE_PTR(watcher->handle), watcher->row };
}

/* Makes room.  Return: whom to wake, if anybody. */
static struct sleeper push_out_locked(struct watch *w)
{
	assert_locked(&w->lock);
	struct ring *head = w->looked.newer != &w->looked ? &w->looked : &w->waiting;
	struct watcher *watcher = (struct watcher *)head->newer;
	struct watcher **at = find_file_locked(w, watcher->file, watcher->ino);
	struct sleeper sleeper = { 0 };

	if (watcher->handle)
		sleeper = end_wait_locked(w, watcher);
	if (watcher->file > w->pushed_out)
		w->pushed_out = watcher->file;
	*at = watcher->next;
	ring_remove(&watcher->ring);
	free(watcher);
	w->n_files--;
	return sleeper;
}

static void wake(struct watch *w, struct sleeper sleeper)
{
	if (!sleeper.handle)
		return;
	/* who has closed the file meanwhile is nobody, which is no error */
	fuse_lowlevel_notify_poll(sleeper.handle);
	fuse_pollhandle_destroy(sleeper.handle);
	lock_take(&w->lock);
	ledger_drop(w->ledger, sleeper.row);
	lock_release(&w->lock);
}

/* @ret_out: who was pushed out for it, if anybody.  Its version is not set. */
static struct watcher *add_locked(
	struct watch *w, uint64_t file, uint64_t ino, struct sleeper *ret_out)
{
	assert_locked(&w->lock);
	if (w->n_files == LIMIT_POLLS)
		*ret_out = push_out_locked(w);
	struct watcher **at = &w->files[bucket_of(file)];
	struct watcher *watcher = xcalloc(1, sizeof(*watcher));

	watcher->file = file;
	watcher->ino = ino;
	watcher->next = *at;
	*at = watcher;
	w->n_files++;
	ring_add_newest(&w->looked, &watcher->ring);
	return watcher;
}

bool watch_poll(struct watch *w, uint64_t file, uint64_t ino, int64_t version,
	struct fuse_pollhandle *handle)
{
	struct sleeper old = { 0 }, out = { 0 };

	lock_take(&w->lock);
	struct watcher *watcher = *find_file_locked(w, file, ino);
	bool changed = watcher ? watcher->version != version : file <= w->pushed_out;

	if (!watcher)
		watcher = add_locked(w, file, ino, &out);
	if (w->polled && file > atomic_load(w->polled))
		atomic_store(w->polled, file);
	watcher->version = version;
	if (handle) {
		if (watcher->handle) {
			old = end_wait_locked(w, watcher);
			ledger_drop(w->ledger, old.row);
		}
		watcher->handle = handle;
		wait_locked(w, watcher);
	}
	ring_remove(&watcher->ring);
	ring_add_newest(watcher->handle ? &w->waiting : &w->looked, &watcher->ring);
	lock_release(&w->lock);
	/* one notification is for all who wait for a file: the newest handle will do */
	if (old.handle)
		fuse_pollhandle_destroy(old.handle);
	wake(w, out);
	return changed;
}

/* The nodes that somebody waits for; the caller frees. */
static uint64_t *waited_nodes(struct watch *w, size_t *ret_n)
{
	lock_take(&w->lock);
	uint64_t *inos = xcalloc(w->n_nodes, sizeof(*inos));

	*ret_n = 0;
	for (size_t i = 0; i < N_BUCKETS && *ret_n < w->n_nodes; i++)
		for (struct waited *node = w->nodes[i]; node; node = node->next)
			inos[(*ret_n)++] = node->ino;
	lock_release(&w->lock);
	return inos;
}

/* Wakes who has seen another version of a node than @version. */
static void wake_node(struct watch *w, uint64_t ino, bool gone, int64_t version)
{
	struct sleeper *sleepers = NULL;
	size_t n = 0, cap = 0;

	lock_take(&w->lock);
	struct waited *node = *find_node_locked(w, ino);
	struct watcher *next;

	for (struct watcher *at = node ? node->waiting : NULL; at; at = next) {
		next = at->next_waiting;
		if (!gone && at->version == version)
			continue;
		sleepers = xgrow(sleepers, n, &cap, sizeof(*sleepers));
		sleepers[n++] = end_wait_locked(w, at);
		ring_remove(&at->ring);
		ring_add_newest(&w->looked, &at->ring);
	}
	lock_release(&w->lock);
	for (size_t i = 0; i < n; i++)
		wake(w, sleepers[i]);
	free(sleepers);
}

void watch_notify(
	struct watch *w, int (*version)(void *ctx, uint64_t ino, int64_t *ret), void *ctx)
{
	size_t n = 0;
	_cleanup_free_ uint64_t *inos = waited_nodes(w, &n);

	for (size_t i = 0; i < n; i++) {
		int64_t now = 0;
		bool gone = version(ctx, inos[i], &now) < 0;

		wake_node(w, inos[i], gone, now);
	}
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define FUSE_USE_VERSION 312

#include "fs/watch.h"

#include <pthread.h>
#include <stdlib.h>

#include <fuse_lowlevel.h>

#include "util/cleanup.h"
#include "util/mem.h"

/* More than polls at once; who is pushed out misses a change at worst. */
#define N_SEEN 4096u
#define MAX_WAITING 4096u

struct seen {
	uint64_t ino;
	pid_t process;
	int64_t version;
};

struct waiter {
	uint64_t ino;
	int64_t version;
	struct fuse_pollhandle *handle;
};

struct watch {
	pthread_mutex_t lock; /* guards all below */
	struct seen seen[N_SEEN];
	struct waiter *waiters;
	size_t n, cap;
};

struct watch *watch_new(void)
{
	struct watch *w = xcalloc(1, sizeof(*w));

	pthread_mutex_init(&w->lock, NULL);
	return w;
}

void watch_free(struct watch *w)
{
	if (!w)
		return;
	for (size_t i = 0; i < w->n; i++)
		fuse_pollhandle_destroy(w->waiters[i].handle);
	free(w->waiters);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

bool watch_poll(struct watch *w, uint64_t ino, pid_t process, int64_t version,
	struct fuse_pollhandle *handle)
{
	struct fuse_pollhandle *drop = NULL;

	pthread_mutex_lock(&w->lock);
	struct seen *seen = &w->seen[(ino + (uint64_t)process * 61) % N_SEEN];
	bool known = seen->ino == ino && seen->process == process;
	bool changed = known && seen->version != version;

	*seen = (struct seen){ ino, process, version };
	if (handle && w->n == MAX_WAITING) {
		/* the oldest is most likely one that is not there any more */
		drop = w->waiters[0].handle;
		w->waiters[0] = w->waiters[--w->n];
	}
	if (handle) {
		w->waiters = xgrow(w->waiters, w->n, &w->cap, sizeof(*w->waiters));
		w->waiters[w->n++] = (struct waiter){ ino, version, handle };
	}
	pthread_mutex_unlock(&w->lock);
	if (drop)
		fuse_pollhandle_destroy(drop);
	return changed;
}

void watch_notify(
	struct watch *w, int (*version)(void *ctx, uint64_t ino, int64_t *ret), void *ctx)
{
	pthread_mutex_lock(&w->lock);
	_cleanup_free_ struct waiter *waiters = TAKE_PTR(w->waiters);
	size_t n = w->n;

	w->n = w->cap = 0;
	pthread_mutex_unlock(&w->lock);
	for (size_t i = 0; i < n; i++) {
		int64_t now = 0;

		if (version(ctx, waiters[i].ino, &now) == 0 &&
			now == waiters[i].version) {
			pthread_mutex_lock(&w->lock);
			w->waiters =
				xgrow(w->waiters, w->n, &w->cap, sizeof(*w->waiters));
			w->waiters[w->n++] = waiters[i];
			pthread_mutex_unlock(&w->lock);
			continue;
		}
		fuse_lowlevel_notify_poll(waiters[i].handle);
		fuse_pollhandle_destroy(waiters[i].handle);
	}
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/pinned.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "core/blob.h"
#include "util/clock.h"
#include "util/mem.h"

/*
 * Small ones are in the page cache as a whole after one read; of large ones a reader may
 * ask for the rest later.
 */
#define SMALL_BYTES (128u << 10)
#define SMALL_UNUSED_NS (3 * NS_PER_S)
#define UNUSED_NS (30 * NS_PER_S)
#define MAX_BYTES (32u << 20)
#define MIN_KEPT 8u /* whatever their size */

struct pin {
	uint64_t id;
	struct blob *blob;
	int64_t used_ns;
};

struct pinned {
	pthread_mutex_t lock; /* guards all below */
	struct pin *pins;     /* in the order of adding */
	size_t n, cap, bytes;
};

struct pinned *pinned_new(void)
{
	struct pinned *p = xcalloc(1, sizeof(*p));

	pthread_mutex_init(&p->lock, NULL);
	return p;
}

void pinned_free(struct pinned *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n; i++)
		blob_unref(p->pins[i].blob);
	free(p->pins);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

/* The newest ones are the ones that are read: they stand last. */
static struct pin *find_locked(struct pinned *p, uint64_t id)
{
	for (size_t i = p->n; i > 0; i--)
		if (p->pins[i - 1].id == id)
			return &p->pins[i - 1];
	return NULL;
}

void pinned_add(struct pinned *p, uint64_t id, struct blob *blob, int64_t now_ns)
{
	pthread_mutex_lock(&p->lock);
	struct pin *pin = find_locked(p, id);

	if (!pin) {
		p->pins = xgrow(p->pins, p->n, &p->cap, sizeof(*p->pins));
		pin = &p->pins[p->n++];
		*pin = (struct pin){ .id = id, .blob = blob_ref(blob) };
		p->bytes += blob->size;
	}
	pin->used_ns = now_ns;
	pthread_mutex_unlock(&p->lock);
}

struct blob *pinned_get(struct pinned *p, uint64_t id, int64_t now_ns)
{
	struct blob *blob = NULL;

	pthread_mutex_lock(&p->lock);
	struct pin *pin = find_locked(p, id);

	if (pin) {
		pin->used_ns = now_ns;
		blob = blob_ref(pin->blob);
	}
	pthread_mutex_unlock(&p->lock);
	return blob;
}

size_t pinned_expire(struct pinned *p, int64_t now_ns, uint64_t **ret)
{
	uint64_t *ids = NULL;
	size_t n = 0, kept = 0;

	pthread_mutex_lock(&p->lock);
	if (p->n)
		ids = xcalloc(p->n, sizeof(*ids));
	for (size_t i = 0; i < p->n; i++) {
		struct pin *pin = &p->pins[i];
		bool crowded = p->bytes > MAX_BYTES && p->n - i > MIN_KEPT;
		int64_t keep_ns =
			pin->blob->size > SMALL_BYTES ? UNUSED_NS : SMALL_UNUSED_NS;

		if (!crowded && now_ns - pin->used_ns < keep_ns) {
			p->pins[kept++] = *pin;
			continue;
		}
		p->bytes -= pin->blob->size;
		blob_unref(pin->blob);
		ids[n++] = pin->id;
	}
	p->n = kept;
	pthread_mutex_unlock(&p->lock);
	*ret = ids;
	return n;
}

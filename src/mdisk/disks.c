/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mdisk/disks.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/blob.h"
#include "core/render_xml.h"
#include "core/snapshot.h"
#include "mdisk/image.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/strbuf.h"

/*
 * The parts of a guest's read follow each other within milliseconds, on a busy host within
 * some tens.  After such a quiet time no read is under way and the disk may move on.  Who
 * reads again and again still pauses longer between two rounds than within one: for such a
 * reader the quiet time shrinks steadily, by half each HALVING, so that the longest of his
 * pauses is found first; but not behind a read of later blocks, after which he looks at the
 * header.  At the latest after HOLD_MAX the disk moves on, and a reader whose pauses are all
 * alike starts over once.  HOLD_MIN bounds how often an image is made.
 */
#define HOLD_MIN_NS (250 * NS_PER_MS)
#define QUIET_NS (200 * NS_PER_MS)
#define TIRELESS_NS NS_PER_S
#define HALVING_NS (200 * NS_PER_MS)
#define HOLD_MAX_NS (3 * NS_PER_S)

/* A disk that nobody read for so long is forgotten. */
#define FORGET_NS (10 * NS_PER_S)

#define N_BUCKETS 1024u

struct disk {
	struct disk *next; /* guarded by disks.lock */
	uint64_t key;      /* immutable */
	unsigned users;    /* guarded by disks.lock */

	pthread_mutex_t lock; /* guards all below; taken without disks.lock */
	struct blob *image;
	uint64_t host_generation, vm_generation; /* of the snapshots that it shows */
	int64_t moved_ns; /* when it moved on, or there was nothing newer */
	int64_t read_ns;
	bool inside;  /* the last read was of later blocks: the header is still to come */
	bool too_big; /* was logged */

	/* of a cached disk */
	bool cached;       /* some page cache may have pages of image */
	bool read_since;   /* it was moved */
	struct blob *busy; /* image with a busy header, served instead; NULL: settled */
};

struct disks {
	_Atomic uint64_t size_bytes;
	pthread_mutex_t lock; /* guards the table */
	struct disk *buckets[N_BUCKETS];

	pthread_mutex_t shared_lock; /* guards the rest; inside disk.lock */
	struct blob *shared;         /* the newest shared image that anybody asked for */
	int64_t shared_ns;           /* when he did */
};

struct disks *disks_new(uint64_t size_bytes)
{
	struct disks *disks = xcalloc(1, sizeof(*disks));

	atomic_init(&disks->size_bytes, size_bytes);
	pthread_mutex_init(&disks->lock, NULL);
	pthread_mutex_init(&disks->shared_lock, NULL);
	return disks;
}

static void disk_free(struct disk *disk)
{
	blob_unref(disk->image);
	blob_unref(disk->busy);
	pthread_mutex_destroy(&disk->lock);
	free(disk);
}

void disks_free(struct disks *disks)
{
	if (!disks)
		return;
	for (size_t i = 0; i < N_BUCKETS; i++) {
		while (disks->buckets[i]) {
			struct disk *disk = disks->buckets[i];

			disks->buckets[i] = disk->next;
			disk_free(disk);
		}
	}
	blob_unref(disks->shared);
	pthread_mutex_destroy(&disks->shared_lock);
	pthread_mutex_destroy(&disks->lock);
	free(disks);
}

uint64_t disks_size(struct disks *disks)
{
	return atomic_load(&disks->size_bytes);
}

void disks_set_size(struct disks *disks, uint64_t size_bytes)
{
	atomic_store(&disks->size_bytes, size_bytes);
}

size_t disks_sweep(struct disks *disks, int64_t now_ns)
{
	struct blob *shared = NULL;
	size_t n = 0;

	pthread_mutex_lock(&disks->lock);
	for (size_t i = 0; i < N_BUCKETS; i++) {
		struct disk **at = &disks->buckets[i];

		while (*at) {
			struct disk *disk = *at;

			/* nobody uses it, so nobody changes the others */
			if (!disk->users && !disk->cached &&
				now_ns - disk->read_ns > FORGET_NS) {
				*at = disk->next;
				disk_free(disk);
				n++;
			} else {
				at = &disk->next;
			}
		}
	}
	pthread_mutex_unlock(&disks->lock);
	pthread_mutex_lock(&disks->shared_lock);
	if (now_ns - disks->shared_ns > FORGET_NS)
		shared = TAKE_PTR(disks->shared);
	pthread_mutex_unlock(&disks->shared_lock);
	blob_unref(shared);
	return n;
}

static struct disk *acquire(struct disks *disks, uint64_t key)
{
	struct disk **bucket = &disks->buckets[key % N_BUCKETS];
	struct disk *disk;

	pthread_mutex_lock(&disks->lock);
	for (disk = *bucket; disk && disk->key != key; disk = disk->next)
		;
	if (!disk) {
		disk = xcalloc(1, sizeof(*disk));
		pthread_mutex_init(&disk->lock, NULL);
		disk->key = key;
		disk->next = *bucket;
		*bucket = disk;
	}
	disk->users++;
	pthread_mutex_unlock(&disks->lock);
	return disk;
}

static void release(struct disks *disks, struct disk *disk)
{
	pthread_mutex_lock(&disks->lock);
	disk->users--;
	pthread_mutex_unlock(&disks->lock);
}

/* The pause that shows that no read is under way. */
static int64_t quiet_ns_locked(const struct disk *disk, int64_t held_ns)
{
	int64_t past = held_ns - TIRELESS_NS;

	if (held_ns >= HOLD_MAX_NS)
		return 0;
	if (past <= 0 || disk->inside)
		return QUIET_NS;
	int64_t quiet = QUIET_NS >> (past / HALVING_NS);

	return quiet - quiet / 2 * (past % HALVING_NS) / HALVING_NS;
}

static bool may_move_locked(const struct disk *disk, int64_t now_ns)
{
	int64_t held = now_ns - disk->moved_ns;

	return !disk->image ||
		(held >= HOLD_MIN_NS &&
			now_ns - disk->read_ns >= quiet_ns_locked(disk, held));
}

static void note_size(const struct disks *disks, struct disk *disk, int r, bool shared,
	const struct snapshot *vm, size_t content_len)
{
	if (r < 0 && !disk->too_big)
		log_error("the disk of %s is too small: %zu bytes of metrics, %" PRIu64
			  " bytes of disk; it keeps its last content, raise <size>",
			shared       ? "all VMs"
				: vm ? vm->vm.name
				     : "a VM that does not run here",
			content_len, atomic_load(&disks->size_bytes));
	disk->too_big = r < 0;
}

static struct blob *render_private_locked(
	struct disks *disks, struct disk *disk, struct view *view, struct snapshot *vm)
{
	_cleanup_strbuf_ struct strbuf content = STRBUF_INIT;
	struct blob *image = NULL;
	int64_t time_ns = view->host->time_ns;

	render_xml_private(view->host, vm, false, &content);
	if (vm && vm->time_ns > time_ns)
		time_ns = vm->time_ns;
	int r = image_new(&content, view->generation, time_ns, disk->image,
		disks_size(disks), &image);

	note_size(disks, disk, r, false, vm, content.len);
	return image;
}

/* An image of everything that follows @before; NULL if it does not fit. */
static struct blob *render_all(struct disks *disks, struct disk *disk, struct view *view,
	const struct blob *before)
{
	_cleanup_strbuf_ struct strbuf content = STRBUF_INIT;
	struct blob *all = render_xml_view(view), *image = NULL;

	strbuf_add(&content, all->data, all->size);
	int r = image_new(&content, view->generation, all->time_ns, before,
		disks_size(disks), &image);

	note_size(disks, disk, r, true, NULL, content.len);
	return image;
}

/* True if a guest that saw @before would not see that @image differs. */
static bool looks_the_same(const struct blob *before, const struct blob *image)
{
	struct image_header old, fresh;

	return before && image_parse_header(before->data, before->size, &old) == 0 &&
		image_parse_header(image->data, image->size, &fresh) == 0 &&
		old.checksum == fresh.checksum &&
		(before->size != image->size ||
			memcmp(before->data, image->data, image->size) != 0);
}

/* Each reader of the shared disk has a latch of his own; the image is made once for all. */
static struct blob *render_shared_locked(
	struct disks *disks, struct disk *disk, struct view *view, int64_t now_ns)
{
	pthread_mutex_lock(&disks->shared_lock);
	disks->shared_ns = now_ns;
	if (!disks->shared || disks->shared->generation != view->generation) {
		struct blob *image = render_all(disks, disk, view, disks->shared);

		blob_unref(disks->shared);
		disks->shared = image;
	}
	struct blob *image = disks->shared ? blob_ref(disks->shared) : NULL;

	pthread_mutex_unlock(&disks->shared_lock);
	if (!image || !looks_the_same(disk->image, image))
		return image;
	blob_unref(image);
	return render_all(disks, disk, view, disk->image);
}

/* Puts the newest image in place, if there is one that differs. */
static void move_locked(struct disks *disks, struct disk *disk, struct view *view,
	struct snapshot *vm, bool shared, int64_t now_ns)
{
	uint64_t host_generation = shared ? view->generation : view->host->generation;
	uint64_t vm_generation = vm ? vm->generation : 0;
	struct blob *image = NULL;

	disk->moved_ns = now_ns;
	if (disk->image && host_generation == disk->host_generation &&
		vm_generation == disk->vm_generation)
		return;
	if (view->host->collected || (shared ? view->n_vms > 0 : vm && vm->collected))
		image = shared ? render_shared_locked(disks, disk, view, now_ns)
			       : render_private_locked(disks, disk, view, vm);
	if (!image && !disk->image)
		image = image_busy();
	if (!image)
		return;
	blob_unref(disk->image);
	disk->image = image;
	disk->host_generation = host_generation;
	disk->vm_generation = vm_generation;
}

struct blob *disks_read(struct disks *disks, const struct disks_place *place,
	bool from_start, int64_t now_ns)
{
	struct disk *disk = acquire(disks, place->key);

	pthread_mutex_lock(&disk->lock);
	if (!disk->image || (from_start && may_move_locked(disk, now_ns)))
		move_locked(disks, disk, place->view, place->vm, place->shared, now_ns);
	disk->read_ns = now_ns;
	disk->inside = !from_start;
	struct blob *image = blob_ref(disk->image);

	pthread_mutex_unlock(&disk->lock);
	release(disks, disk);
	return image;
}

struct blob *disks_read_cached(
	struct disks *disks, const struct disks_place *place, int64_t now_ns)
{
	struct disk *disk = acquire(disks, place->key);

	pthread_mutex_lock(&disk->lock);
	if (!disk->image || !disk->cached)
		move_locked(disks, disk, place->view, place->vm, place->shared, now_ns);
	disk->cached = true;
	disk->read_since = true;
	disk->read_ns = now_ns;
	struct blob *image = blob_ref(disk->busy ? disk->busy : disk->image);

	pthread_mutex_unlock(&disk->lock);
	release(disks, disk);
	return image;
}

bool disks_move_cached(
	struct disks *disks, const struct disks_place *place, int64_t now_ns)
{
	struct disk *disk = acquire(disks, place->key);

	pthread_mutex_lock(&disk->lock);
	bool may = !disk->image || now_ns - disk->moved_ns >= HOLD_MIN_NS;

	if (may) {
		move_locked(disks, disk, place->view, place->vm, place->shared, now_ns);
		blob_unref(disk->busy);
		disk->busy = image_make_busy(disk->image);
		disk->read_since = false;
	}
	pthread_mutex_unlock(&disk->lock);
	release(disks, disk);
	return may;
}

void disks_settle(struct disks *disks, uint64_t key)
{
	struct disk *disk = acquire(disks, key);

	pthread_mutex_lock(&disk->lock);
	blob_unref(disk->busy);
	disk->busy = NULL;
	disk->cached = disk->read_since;
	pthread_mutex_unlock(&disk->lock);
	release(disks, disk);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mdisk/disks.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/blob.h"
#include "core/sizes.h"
#include "core/snapshot.h"
#include "handover/handover.h"
#include "mdisk/image.h"
#include "mdisk/lack.h"
#include "mdisk/place.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/lock.h"
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
static_assert(HOLD_MIN_NS >= IMAGE_TICK_NS, "each image has a sum of its own");
#define QUIET_NS (200 * NS_PER_MS)
#define TIRELESS_NS NS_PER_S
#define HALVING_NS (200 * NS_PER_MS)
#define HOLD_MAX_NS (3 * NS_PER_S)

/*
 * How soon after an image moved on the header says busy to readers who come together: all
 * but those who get no processor have dropped their pages by then (disks_time()).
 */
#define DROPPED_NS (25 * NS_PER_MS)

/*
 * For how long a disk's time may be kept where nobody reads it through the page cache; and
 * for how long, at most, somebody may be on his way who was told so.
 */
#define KEEP_NS (250 * NS_PER_MS)
#define KEPT_NS (2 * KEEP_NS)

/* Who opens a disk may be about to read it through the page cache, after other questions. */
#define OPENED_NS KEEP_NS

/* A disk that nobody read for so long is forgotten. */
#define FORGET_NS (10 * NS_PER_S)

/* The shared image serves all readers for a moment, however many there are. */
#define SHARED_NS (200 * NS_PER_MS)
static_assert(SHARED_NS >= IMAGE_TICK_NS, "each image has a sum of its own");

/*
 * Readers of the shared disk that have a latch each, besides two for each VM (its QEMU, and
 * another while it migrates).
 */
#define SHARED_READERS_MAX 64u

/* Keys of latches that are for all who have none of their own. */
enum common { COMMON_PRIVATE = 1, COMMON_CACHED, COMMON_SHARED, COMMON_END };

/* In a key: the latch of what the page cache has of the disk. */
#define CACHED_KEY (UINT64_C(1) << 63)

#define N_BUCKETS 1024u

/* For how long a disk's time may be kept: disks_time(). */
struct keep {
	int64_t until_ns;      /* it was told so; 0: not */
	int64_t not_before_ns; /* until then it is not told so */
};

struct disk {
	struct disk *next; /* guarded by disks.lock */
	uint64_t key;      /* immutable */
	bool counted;      /* immutable: in n_shared */
	unsigned users;    /* guarded by disks.lock */
	struct keep keep;  /* guarded by disks.lock */

	struct lock lock; /* guards all below; taken without disks.lock */
	struct blob *image;
	uint64_t run;                            /* place_run() of what it shows */
	uint64_t host_generation, vm_generation; /* of the snapshots that it shows */
	int64_t moved_ns; /* when it moved on, or there was nothing newer */
	int64_t read_ns;
	int64_t used_ns; /* read or asked for */
	bool inside; /* the last read was of later blocks: the header is still to come */

	/* through the page cache: disks_time() */
	uint32_t row;       /* in disks.latches, the newest */
	int64_t time_ns;    /* the identity of image */
	int64_t changed_ns; /* when it became so, monotonic */
	pid_t asker;        /* who alone has asked since then; 0: others, too */
	bool crowded;       /* others came soon after him */
};

struct disks {
	struct sizes sizes;
	struct lack *lack;
	struct lock lock; /* guards the table */
	struct disk *buckets[N_BUCKETS];
	size_t n_shared;         /* latches of readers of the shared disk */
	struct keep shared_keep; /* disk.keep for all of them */
	int64_t forgotten_ns;    /* the highest time of those that were forgotten */

	struct lock shared_lock; /* guards the rest; inside disk.lock */
	struct blob *shared;     /* the newest shared image that anybody asked for */
	int64_t shared_ns;       /* when he did */
	int64_t shared_made_ns;
	struct ledger *latches; /* for who comes after us; NULL: nobody */

	/* immutable once anything is read; NULL: nobody comes after us */
	struct arena *arena;
	_Atomic int64_t *latest_ns; /* of all times that were told */
};

struct disks *disks_new(uint64_t size_bytes)
{
	struct disks *disks = xcalloc(1, sizeof(*disks));

	sizes_init(&disks->sizes, size_bytes);
	disks->lack = lack_new();
	lock_init(&disks->lock);
	lock_init(&disks->shared_lock);
	return disks;
}

static void disk_free(struct disk *disk)
{
	blob_unref(disk->image);
	lock_done(&disk->lock);
	free(disk);
}

void disks_free(struct disks *disks)
{
	if (!disks)
		return;
	/* who comes after us has them still */
	disks->arena = NULL;
	for (size_t i = 0; i < N_BUCKETS; i++) {
		while (disks->buckets[i]) {
			struct disk *disk = disks->buckets[i];

			disks->buckets[i] = disk->next;
			disk_free(disk);
		}
	}
	blob_unref(disks->shared);
	ledger_free(disks->latches);
	lack_free(disks->lack);
	sizes_done(&disks->sizes);
	lock_done(&disks->shared_lock);
	lock_done(&disks->lock);
	free(disks);
}

struct sizes *disks_sizes(struct disks *disks)
{
	return &disks->sizes;
}

void disks_set_size(struct disks *disks, uint64_t size_bytes, int64_t now_ns)
{
	/* the kernel may have been told the old one just now, and tell it for a while */
	if (sizes_set(&disks->sizes, size_bytes, now_ns + KEPT_NS) != size_bytes)
		lack_forget(disks->lack);
}

/*
 * What those who may have opened a disk take for its size: its VM since it started; and each
 * VM that runs may have the shared disk.
 */
static uint64_t known_size(struct disks *disks, const struct disks_place *place)
{
	const struct view *view = place->view;
	int64_t since_ns = INT64_MAX;

	if (place->vm)
		since_ns = place->vm->started_mono_ns;
	for (size_t i = 0; place->shared && i < view->n_vms; i++)
		if (view->vms[i]->started_mono_ns < since_ns)
			since_ns = view->vms[i]->started_mono_ns;
	return sizes_since(&disks->sizes, since_ns);
}

void disks_status(struct disks *disks, const struct view *view, struct strbuf *out)
{
	lack_status(disks->lack, view, out);
}

/* ---- who comes after us ---- */

static void let_go(void *ctx, uint64_t kept)
{
	struct disks *disks = ctx;

	arena_drop(disks->arena, kept);
}

/* An image that nobody else has yet. */
static void keep_image(struct disks *disks, struct blob *image)
{
	const struct arena_note note = { ARENA_IMAGE, 0, image->generation,
		image->time_ns };
	uint64_t kept = arena_put(disks->arena, &note, image->data, image->size);

	if (kept)
		blob_set_kept(image, kept, let_go, disks);
}

/* @content: of what @place shows.  Return: its image, owned by the caller. */
static struct blob *make_image(struct disks *disks, const struct disks_place *place,
	struct strbuf *content, int64_t time_ns, int64_t now_ns)
{
	uint64_t size = known_size(disks, place);
	size_t left_out = 0;
	struct blob *image = image_new(
		content, place->view->generation, time_ns, now_ns, size, &left_out);

	lack_note(disks->lack, place,
		(struct room){ left_out, size, size < disks_size(disks) }, now_ns);
	keep_image(disks, image);
	return image;
}

static void forget_latch(struct disks *disks, struct disk *disk)
{
	lock_take(&disks->shared_lock);
	ledger_drop(disks->latches, disk->row);
	disk->row = LEDGER_NONE;
	lock_release(&disks->shared_lock);
}

/* The new row first, so that one is there at any moment. */
static void keep_latch_locked(struct disks *disks, struct disk *disk)
{
	assert_locked(&disk->lock);
	lock_take(&disks->shared_lock);
	uint32_t before = disk->row;

	disk->row = disk->image->kept ? ledger_reserve(disks->latches) : LEDGER_NONE;
	if (disk->row != LEDGER_NONE) {
		struct latch_row *row = ledger_at(disks->latches, disk->row);

		row->image = disk->image->kept;
		row->run = disk->run;
		row->counted = disk->counted;
		row->host_generation = disk->host_generation;
		row->vm_generation = disk->vm_generation;
		row->moved_ns = disk->moved_ns;
		row->changed_ns = disk->changed_ns;
		row->time_ns = disk->time_ns;
		ledger_commit(disks->latches, disk->row, disk->key);
	}
	ledger_drop(disks->latches, before);
	lock_release(&disks->shared_lock);
}

/* Return: whether it was; not while somebody uses it. */
static bool drop_locked(struct disks *disks, struct disk **at)
{
	assert_locked(&disks->lock);
	struct disk *disk = *at;

	if (disk->users)
		return false;
	*at = disk->next;
	disks->n_shared -= disk->counted;
	if (disk->time_ns > disks->forgotten_ns)
		disks->forgotten_ns = disk->time_ns;
	forget_latch(disks, disk);
	disk_free(disk);
	return true;
}

/* Nobody uses it, so nobody changes when it was used. */
static bool is_left(const struct disk *disk, int64_t now_ns)
{
	return !disk->users && now_ns > disk->keep.until_ns &&
		now_ns - disk->used_ns > FORGET_NS;
}

size_t disks_sweep(struct disks *disks, int64_t now_ns)
{
	struct blob *shared = NULL;
	size_t n = 0;

	lock_take(&disks->lock);
	for (size_t i = 0; i < N_BUCKETS; i++) {
		struct disk **at = &disks->buckets[i];

		while (*at) {
			if (is_left(*at, now_ns) && drop_locked(disks, at))
				n++;
			else
				at = &(*at)->next;
		}
	}
	lock_release(&disks->lock);
	lock_take(&disks->shared_lock);
	if (now_ns - disks->shared_ns > FORGET_NS)
		shared = TAKE_PTR(disks->shared);
	lock_release(&disks->shared_lock);
	blob_unref(shared);
	return n;
}

static struct disk **place_locked(struct disks *disks, uint64_t key)
{
	assert_locked(&disks->lock);
	struct disk **at = &disks->buckets[key % N_BUCKETS];

	while (*at && (*at)->key != key)
		at = &(*at)->next;
	return at;
}

static struct disk *find_locked(struct disks *disks, uint64_t key)
{
	assert_locked(&disks->lock);
	return *place_locked(disks, key);
}

static struct disk *add_locked(struct disks *disks, uint64_t key, bool counted)
{
	assert_locked(&disks->lock);
	struct disk **bucket = &disks->buckets[key % N_BUCKETS];
	struct disk *disk = xcalloc(1, sizeof(*disk));

	lock_init(&disk->lock);
	disk->row = LEDGER_NONE;
	disk->key = key;
	disk->counted = counted;
	/* where the kernel may have pages of one that was busy, at that time */
	disk->time_ns = disks->forgotten_ns;
	disks->n_shared += counted;
	disk->next = *bucket;
	*bucket = disk;
	return disk;
}

/* The kernel is to drop all pages that it has at an earlier time. */
static int64_t time_after(int64_t before_ns, int64_t time_ns)
{
	return time_ns > before_ns ? time_ns : ((before_ns | 1) + 1) | (time_ns & 1);
}

/* A monotonic time of another process; what is longer ago makes no difference. */
static int64_t believed_moment(int64_t ns, int64_t now_ns)
{
	if (ns > now_ns)
		return now_ns;
	return ns < now_ns - HOLD_MAX_NS ? now_ns - HOLD_MAX_NS : ns;
}

/*
 * @image: with a reference that moves to the latch.  Nobody knows who had asked for its time,
 * so whoever asks next is told another.
 */
static void inherit_latch_locked(struct disks *disks, const struct latch_row *row,
	uint64_t key, uint32_t at, struct blob *image, int64_t now_ns)
{
	assert_locked(&disks->lock);
	struct disk *disk = add_locked(disks, key, row->counted == 1);

	disk->row = at;
	disk->image = image;
	disk->run = row->run;
	disk->host_generation = row->host_generation;
	disk->vm_generation = row->vm_generation;
	disk->moved_ns = believed_moment(row->moved_ns, now_ns);
	disk->changed_ns = believed_moment(row->changed_ns, now_ns);
	disk->read_ns = disk->used_ns = now_ns;
	disk->inside = disk->crowded = true;
	disk->keep.until_ns = now_ns + KEPT_NS;
	disk->time_ns = time_after(disks->forgotten_ns, row->time_ns);
}

/* A word of another process: no time that may come is behind it. */
static int64_t believed_time(int64_t time_ns)
{
	return time_ns >= 0 && time_ns < clock_real_ns() + NS_PER_S ? time_ns : 0;
}

/* All that are in the arena, by the place of their ids, each with a reference. */
static struct blob **find_images(struct disks *disks)
{
	struct blob **images = xcalloc(ARENA_ITEMS, sizeof(*images));
	struct arena_bytes bytes;

	for (uint32_t at = 0; arena_next(disks->arena, &at, &bytes);) {
		struct image_header header;

		if (bytes.note.kind != ARENA_IMAGE)
			continue;
		if (image_parse_header(bytes.data, bytes.bytes, &header) < 0) {
			arena_drop(disks->arena, bytes.id);
			continue;
		}
		struct blob *image = blob_new(bytes.data, bytes.bytes,
			bytes.note.generation, bytes.note.time_ns);

		blob_set_kept(image, bytes.id, let_go, disks);
		images[bytes.id % ARENA_ITEMS] = image;
	}
	return images;
}

/* Return: whether there is such a latch now. */
static bool inherit_row_locked(struct disks *disks, uint32_t at, uint64_t key,
	struct blob *const *images, int64_t now_ns)
{
	assert_locked(&disks->lock);
	const struct latch_row *there = ledger_at(disks->latches, at);
	struct latch_row row = { .image = there->image,
		.run = there->run,
		.counted = there->counted,
		.host_generation = there->host_generation,
		.vm_generation = there->vm_generation,
		.moved_ns = there->moved_ns,
		.changed_ns = there->changed_ns,
		.time_ns = believed_time(there->time_ns) };
	struct blob *image = images[row.image % ARENA_ITEMS];
	struct disk **known = place_locked(disks, key);

	if (!image || image->kept != row.image)
		return false;
	/* it moved on just when the process ended: the later is the one that was told */
	if (*known && (*known)->moved_ns >= row.moved_ns)
		return false;
	if (*known)
		drop_locked(disks, known);
	inherit_latch_locked(disks, &row, key, at, blob_ref(image), now_ns);
	return true;
}

void disks_inherit(struct disks *disks, struct handover *handover, struct arena *arena,
	int64_t now_ns)
{
	uint64_t key = 0;

	disks->arena = arena;
	disks->latest_ns = &handover->disk_time_ns;
	disks->latches = handover_latches(handover);
	struct blob **images = find_images(disks);

	lock_take(&disks->lock);
	disks->forgotten_ns = believed_time(atomic_load(disks->latest_ns));
	atomic_store(disks->latest_ns, disks->forgotten_ns);
	disks->shared_keep.until_ns = now_ns + KEPT_NS;
	for (uint32_t at = 0; (at = ledger_next(disks->latches, at, &key)) != LEDGER_NONE;
		at++)
		if (!inherit_row_locked(disks, at, key, images, now_ns))
			ledger_drop(disks->latches, at);
	lock_release(&disks->lock);
	for (size_t i = 0; i < ARENA_ITEMS; i++)
		blob_unref(images[i]);
	free(images);
}

/* Whose latch a place goes by: its own, or one for all. */
static uint64_t key_locked(
	struct disks *disks, const struct disks_place *place, bool cached)
{
	assert_locked(&disks->lock);
	if (!place->shared && !place->vm) {
		/* should it run again, its pages may be of the common image by then */
		struct disk **own = place_locked(disks, place->key ^ CACHED_KEY);

		if (*own)
			drop_locked(disks, own);
		return cached ? COMMON_CACHED : COMMON_PRIVATE;
	}
	if (cached)
		return place->key ^ CACHED_KEY;
	bool room = !place->shared ||
		disks->n_shared < SHARED_READERS_MAX + 2 * place->view->n_vms;

	return room || find_locked(disks, place->key) ? place->key : COMMON_SHARED;
}

/* Of a disk; NULL if nobody reads it past the page cache. */
static struct keep *keep_locked(struct disks *disks, const struct disks_place *place)
{
	assert_locked(&disks->lock);
	if (place->shared)
		return disks->n_shared ? &disks->shared_keep : NULL;
	struct disk *direct = find_locked(disks, place->key);

	return direct ? &direct->keep : NULL;
}

/* For a read past the page cache.  Return: the disk. */
static struct disk *acquire(struct disks *disks, const struct disks_place *place)
{
	lock_take(&disks->lock);
	uint64_t key = key_locked(disks, place, false);
	struct disk *disk = find_locked(disks, key);

	if (!disk)
		disk = add_locked(disks, key, place->shared && key == place->key);
	disk->users++;
	lock_release(&disks->lock);
	return disk;
}

/*
 * For a read through the page cache.
 * Return: the disk; *@ret_unasked: somebody may come who has not asked for its time.
 */
static struct disk *acquire_cached(struct disks *disks, const struct disks_place *place,
	int64_t now_ns, bool *ret_unasked)
{
	lock_take(&disks->lock);
	uint64_t key = key_locked(disks, place, true);
	struct disk *disk = find_locked(disks, key);
	const struct keep *keep = keep_locked(disks, place);

	*ret_unasked = keep && now_ns < keep->until_ns;
	if (!disk) {
		disk = add_locked(disks, key, false);
		/* whoever asks first is to be told another time */
		disk->crowded = *ret_unasked;
	}
	disk->users++;
	lock_release(&disks->lock);
	return disk;
}

/*
 * For who asks for the time.  Return: the disk; NULL if nobody has read it through the page
 * cache, then *@ret_before_ns: the last time that anything there may have,
 * *@ret_keep_ns: for how long that may be taken for granted.
 */
static struct disk *acquire_known(struct disks *disks, const struct disks_place *place,
	bool opening, int64_t now_ns, int64_t *ret_before_ns, int64_t *ret_keep_ns)
{
	lock_take(&disks->lock);
	struct disk *disk = find_locked(disks, key_locked(disks, place, true));
	struct keep *keep = keep_locked(disks, place);
	bool kept = false;

	if (keep) {
		if (opening)
			keep->not_before_ns = now_ns + OPENED_NS;
		kept = !disk && (place->shared || place->vm) &&
			now_ns >= keep->not_before_ns;
		keep->until_ns = kept ? now_ns + KEPT_NS : 0;
	}
	*ret_keep_ns = kept ? KEEP_NS : 0;
	*ret_before_ns = disks->forgotten_ns;
	if (disk)
		disk->users++;
	lock_release(&disks->lock);
	return disk;
}

static void release(struct disks *disks, struct disk *disk)
{
	lock_take(&disks->lock);
	disk->users--;
	lock_release(&disks->lock);
}

/* The pause that shows that no read is under way. */
static int64_t quiet_ns_locked(const struct disk *disk, int64_t held_ns)
{
	assert_locked(&disk->lock);
	int64_t past = held_ns - TIRELESS_NS;

	if (held_ns >= HOLD_MAX_NS)
		return 0;
	if (past <= 0 || disk->inside)
		return QUIET_NS;
	int64_t quiet = QUIET_NS >> (past / HALVING_NS);

	return quiet - quiet / 2 * (past % HALVING_NS) / HALVING_NS;
}

/* What there is, is of a run that is gone; who has the uuid now may be another's VM. */
static bool is_foreign_locked(const struct disk *disk, const struct disks_place *place)
{
	assert_locked(&disk->lock);
	return disk->image && disk->run != place_run(place);
}

static bool may_move_locked(
	const struct disk *disk, const struct disks_place *place, int64_t now_ns)
{
	assert_locked(&disk->lock);
	int64_t held = now_ns - disk->moved_ns;

	return !disk->image || is_foreign_locked(disk, place) ||
		(held >= HOLD_MIN_NS &&
			now_ns - disk->read_ns >= quiet_ns_locked(disk, held));
}

static struct blob *render(
	struct disks *disks, const struct disks_place *place, int64_t now_ns)
{
	_cleanup_strbuf_ struct strbuf content = STRBUF_INIT;
	int64_t time_ns = place_render(place, &content);

	return make_image(disks, place, &content, time_ns, now_ns);
}

/* Each reader of the shared disk has a latch of his own; the image is made once for all. */
static struct blob *render_shared(
	struct disks *disks, const struct disks_place *place, int64_t now_ns)
{
	lock_take(&disks->shared_lock);
	disks->shared_ns = now_ns;
	if (!disks->shared ||
		(disks->shared->generation != place->view->generation &&
			now_ns - disks->shared_made_ns >= SHARED_NS)) {
		blob_unref(disks->shared);
		disks->shared = render(disks, place, now_ns);
		disks->shared_made_ns = now_ns;
	}
	struct blob *image = blob_ref(disks->shared);

	lock_release(&disks->shared_lock);
	return image;
}

static void set_time_locked(struct disks *disks, struct disk *disk, int64_t time_ns)
{
	assert_locked(&disk->lock);
	disk->time_ns = time_after(disk->time_ns, time_ns);
	if (!disks->latest_ns)
		return;
	int64_t latest = atomic_load(disks->latest_ns);

	while (latest < disk->time_ns &&
		!atomic_compare_exchange_weak(disks->latest_ns, &latest, disk->time_ns))
		;
}

/* Puts the newest image in place, if there is one that differs.  Return: whether it was. */
static bool move_locked(struct disks *disks, struct disk *disk,
	const struct disks_place *place, int64_t now_ns)
{
	assert_locked(&disk->lock);
	struct view *view = place->view;
	struct snapshot *vm = place->vm;
	bool shared = place->shared;
	uint64_t host_generation = shared ? view->generation : view->host->generation;
	uint64_t vm_generation = vm ? vm->generation : 0;
	bool foreign = is_foreign_locked(disk, place);
	struct blob *image = NULL;

	disk->moved_ns = now_ns;
	if (disk->image && !foreign && host_generation == disk->host_generation &&
		vm_generation == disk->vm_generation)
		return false;
	if (view->host->collected || (shared ? view->n_vms > 0 : vm && vm->collected))
		image = shared ? render_shared(disks, place, now_ns)
			       : render(disks, place, now_ns);
	if (!image && (!disk->image || foreign))
		image = image_busy();
	if (!image || image == disk->image) {
		blob_unref(image);
		return false;
	}
	struct blob *old = disk->image;

	disk->image = image;
	disk->run = place_run(place);
	/* the shared one may be somewhat older */
	disk->host_generation = shared ? image->generation : host_generation;
	disk->vm_generation = vm_generation;
	set_time_locked(disks, disk,
		place_time(place, shared ? image->generation : place_generation(place)));
	disk->changed_ns = now_ns;
	keep_latch_locked(disks, disk);
	/* now that nothing leads to it */
	blob_unref(old);
	return true;
}

static void note_read_locked(struct disk *disk, bool from_start, int64_t now_ns)
{
	assert_locked(&disk->lock);
	disk->read_ns = disk->used_ns = now_ns;
	disk->inside = !from_start;
}

struct blob *disks_read(struct disks *disks, const struct disks_place *place,
	bool from_start, int64_t now_ns)
{
	struct disk *disk = acquire(disks, place);

	lock_take(&disk->lock);
	if (!disk->image || is_foreign_locked(disk, place) ||
		(from_start && may_move_locked(disk, place, now_ns)))
		move_locked(disks, disk, place, now_ns);
	note_read_locked(disk, from_start, now_ns);
	struct blob *image = blob_ref(disk->image);

	lock_release(&disk->lock);
	release(disks, disk);
	return image;
}

static void ask_first_locked(struct disk *disk, pid_t reader)
{
	assert_locked(&disk->lock);
	disk->asker = reader;
	disk->crowded = false;
}

/* Whoever asks next is told another time, and until then the header is busy. */
static void crowd_locked(struct disk *disk)
{
	assert_locked(&disk->lock);
	disk->asker = 0;
	disk->crowded = true;
}

static void ask_next_locked(
	struct disks *disks, struct disk *disk, pid_t reader, int64_t now_ns)
{
	assert_locked(&disk->lock);
	bool soon = now_ns - disk->changed_ns < DROPPED_NS;
	bool same = disk->asker && disk->asker == reader;

	/* all has been dropped, by who asked first or by who asked last */
	if (same || (!disk->asker && !disk->crowded))
		return;
	disk->asker = 0;
	disk->crowded = soon;
	set_time_locked(disks, disk, disk->time_ns);
}

int64_t disks_time(struct disks *disks, const struct disks_place *place, pid_t reader,
	bool opening, int64_t now_ns, int64_t *ret_keep_ns)
{
	int64_t before_ns = 0;
	struct disk *disk =
		acquire_known(disks, place, opening, now_ns, &before_ns, ret_keep_ns);

	if (!disk)
		return time_after(before_ns, place_time(place, place_generation(place)));
	lock_take(&disk->lock);
	if (may_move_locked(disk, place, now_ns) &&
		move_locked(disks, disk, place, now_ns))
		ask_first_locked(disk, reader);
	else
		ask_next_locked(disks, disk, reader, now_ns);
	disk->used_ns = now_ns;
	int64_t time_ns = disk->time_ns;

	lock_release(&disk->lock);
	release(disks, disk);
	return time_ns;
}

struct blob *disks_read_cached(struct disks *disks, const struct disks_place *place,
	pid_t reader, bool from_start, int64_t now_ns)
{
	bool unasked = false;
	struct disk *disk = acquire_cached(disks, place, now_ns, &unasked);

	lock_take(&disk->lock);
	bool foreign = is_foreign_locked(disk, place);

	if (!disk->image || foreign) {
		move_locked(disks, disk, place, now_ns);
		/* he has not asked since the other run's pages are to be dropped */
		if (foreign)
			crowd_locked(disk);
		else if (!disk->crowded)
			ask_first_locked(disk, reader);
	}
	note_read_locked(disk, from_start, now_ns);
	bool busy = from_start && (disk->crowded || unasked);
	struct blob *image = busy ? image_make_busy(disk->image) : blob_ref(disk->image);

	lock_release(&disk->lock);
	release(disks, disk);
	return image;
}

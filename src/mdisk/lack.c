/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mdisk/lack.h"

#include <inttypes.h>
#include <stdlib.h>

#include "core/snapshot.h"
#include "mdisk/disks.h"
#include "util/clock.h"
#include "util/lock.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/strbuf.h"

/* Values grow and shrink: a disk that all has fitted on for so long is large enough. */
#define OVER_NS (60 * NS_PER_S)

/* In place of a VM's key, which has 60 bits. */
#define KEY_SHARED UINT64_MAX
#define KEY_NO_VM (UINT64_MAX - 1)

struct lacking {
	uint64_t key;
	size_t n;        /* metrics; 0: none now */
	int64_t last_ns; /* when it lacked any */
};

struct lack {
	struct lock lock; /* guards all */
	struct lacking *disks;
	size_t n_disks;
};

struct lack *lack_new(void)
{
	struct lack *lack = xcalloc(1, sizeof(*lack));

	lock_init(&lack->lock);
	return lack;
}

void lack_free(struct lack *lack)
{
	if (!lack)
		return;
	lock_done(&lack->lock);
	free(lack->disks);
	free(lack);
}

static uint64_t key_of(const struct disks_place *place)
{
	if (place->shared)
		return KEY_SHARED;
	return place->vm ? place->vm->key : KEY_NO_VM;
}

static const char *whose(const struct disks_place *place)
{
	if (place->shared)
		return "all VMs";
	return place->vm ? place->vm->vm.name : "a VM that does not run here";
}

/* Which VM a line of the log is about, NULL: none that is known. */
#define ABOUT(place) (!(place)->shared && (place)->vm ? LOG_VM((place)->vm->vm) : NULL)

static struct lacking *find_locked(struct lack *lack, uint64_t key)
{
	assert_locked(&lack->lock);
	for (size_t i = 0; i < lack->n_disks; i++)
		if (lack->disks[i].key == key)
			return &lack->disks[i];
	return NULL;
}

/* Those of VMs that do not run any more. */
static void drop_gone_locked(struct lack *lack, const struct view *view)
{
	assert_locked(&lack->lock);
	size_t n = 0;

	for (size_t i = 0; i < lack->n_disks; i++) {
		uint64_t key = lack->disks[i].key;

		if (key == KEY_SHARED || key == KEY_NO_VM || view_find_key(view, key))
			lack->disks[n++] = lack->disks[i];
	}
	lack->n_disks = n;
}

static struct lacking *add_locked(struct lack *lack, const struct disks_place *place)
{
	assert_locked(&lack->lock);
	drop_gone_locked(lack, place->view);
	lack->disks = xreallocarray(lack->disks, lack->n_disks + 1, sizeof(*lack->disks));
	struct lacking *disk = &lack->disks[lack->n_disks++];

	*disk = (struct lacking){ .key = key_of(place) };
	return disk;
}

/* Return: whether it is the first time. */
static bool note_lack_locked(
	struct lack *lack, const struct disks_place *place, size_t n, int64_t now_ns)
{
	assert_locked(&lack->lock);
	struct lacking *disk = find_locked(lack, key_of(place));
	bool first = !disk;

	if (first)
		disk = add_locked(lack, place);
	disk->n = n;
	disk->last_ns = now_ns;
	return first;
}

/* Return: whether it is over. */
static bool note_room_locked(
	struct lack *lack, const struct disks_place *place, int64_t now_ns)
{
	assert_locked(&lack->lock);
	struct lacking *disk = find_locked(lack, key_of(place));

	if (!disk)
		return false;
	disk->n = 0;
	if (now_ns - disk->last_ns < OVER_NS)
		return false;
	*disk = lack->disks[--lack->n_disks];
	return true;
}

static void log_lack(const struct disks_place *place, const struct room *room)
{
	log_write(LOG_LEVEL_ERROR, ABOUT(place),
		"the disk of %s is too small: its %" PRIu64
		" bytes leave out the last %zu metrics; %s",
		whose(place), room->bytes, room->left_out,
		!room->old ? "raise <size>"
			: place->shared
			? "VMs that ran before <size> was raised have to "
			  "start anew"
			: "it has to start anew to see that <size> was raised");
}

void lack_note(struct lack *lack, const struct disks_place *place, struct room room,
	int64_t now_ns)
{
	lock_take(&lack->lock);
	bool news = room.left_out ? note_lack_locked(lack, place, room.left_out, now_ns)
				  : note_room_locked(lack, place, now_ns);

	lock_release(&lack->lock);
	if (news && room.left_out)
		log_lack(place, &room);
	else if (news)
		log_write(LOG_LEVEL_INFO, ABOUT(place),
			"the disk of %s has room for all metrics again", whose(place));
}

void lack_forget(struct lack *lack)
{
	lock_take(&lack->lock);
	lack->n_disks = 0;
	lock_release(&lack->lock);
}

void lack_status(struct lack *lack, const struct view *view, struct strbuf *out)
{
	size_t n_disks = 0, n = 0;

	lock_take(&lack->lock);
	drop_gone_locked(lack, view);
	for (size_t i = 0; i < lack->n_disks; i++) {
		n_disks += lack->disks[i].n > 0;
		n += lack->disks[i].n;
	}
	lock_release(&lack->lock);
	strbuf_addf(out, "disk.too_small: %zu\ndisk.left_out: %zu\n", n_disks, n);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where what is in a handover, for a build with another layout.  A handover names its parts, each
 * with a version of its own, at a place that never changes; who takes over one of another version
 * makes an own one and copies what it knows.  Some parts it must know: without what the kernel was
 * told nothing could be taken back.  Without the others readers in the middle of something begin
 * with what is newest, as when a worker is not trusted.
 */
#pragma once

#include <stdint.h>

struct strbuf;

/* Numbers of parts; they mean the same for ever. */
enum layout_part {
	LAYOUT_NUMBERS = 1,
	LAYOUT_INIT,
	LAYOUT_NOTES,
	LAYOUT_SLOTS,
	LAYOUT_TOLD,
	LAYOUT_POLLS,
	LAYOUT_LATCHES, /* they name images of the arena */
	LAYOUT_ARENA,
	LAYOUT_CHECKPOINT,
	LAYOUT_CHANNELS, /* they name replies of the arena; each says whether it is its own */
	LAYOUT_LOG,
};

#define LAYOUT_PARTS_MAX 16u

/* Behind the head of a handover. */
struct layout_index {
	uint64_t n;
	struct {
		uint32_t part;    /* enum layout_part */
		uint32_t version; /* changes with what is in it, or what that means */
		uint64_t at, bytes;
	} parts[LAYOUT_PARTS_MAX];
};

/* Of this build. */
extern const struct layout_index layout_own;

/* Adds a text that is equal for builds that know each other's parts as far as they must. */
void layout_describe(struct strbuf *out);

/*
 * Makes a handover of this build with what is in that of another one, which nobody uses any more.
 * Return: a descriptor, as handover_create(); -EPROTO, with @why, if a part is not known that must
 * be; -errno, likewise.
 */
int layout_migrate(int old_fd, struct strbuf *why);

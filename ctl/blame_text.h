/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the daemon says of who waited for whom (vhostmd-control(7), blame), taken apart.  Pure, but that
 * it allocates.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/blame.h"

/* For another VM. */
struct told_pair {
	char uuid[UUID_TEXT_LEN + 1];
	char *name;
	struct blame_time time;
};

struct told_vm {
	char uuid[UUID_TEXT_LEN + 1];
	char *name;
	uint64_t lately_ms; /* what blame_time.lately_ns is of */
	struct blame_time by[BLAME_OWNERS];
	struct told_pair *pairs;
	size_t n, cap;
};

struct told {
	char *state;     /* "attached", "off", or why nothing is counted */
	uint64_t now_ms; /* 0: nothing was looked at yet */
	struct told_vm *vms;
	size_t n, cap;
};

/* @body: the lines of an answer.  What is none of ours is skipped.  *@ret: for told_done(). */
void told_parse(const char *body, struct told *ret);
void told_done(struct told *t);
#define _cleanup_told_ _cleanup_(told_done)

/* By uuid, or by name if there is but one of that.  NULL: there is none. */
struct told_vm *told_find(const struct told *t, const char *uuid_or_name);

/*
 * Makes what was waited from @then to @now the time that is called lately, of each VM of @now; one that
 * was not there then has all that it has.
 * Return: false: counting began anew meanwhile.
 */
bool told_since(struct told *now, const struct told *then);

/* All that it waited lately. */
uint64_t told_waited(const struct told_vm *vm);

/* Those that waited most come first. */
void told_sort(struct told *t);

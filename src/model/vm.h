/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One run of a VM as the collectors share it: who it is, and the few facts that they tell
 * each other.  Reference-counted; another run of the same VM is another one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/snapshot.h"

struct vm {
	_Atomic unsigned refs;
	struct vm_ident ident; /* immutable; owns the name */

	/* told by the fast lane */
	_Atomic unsigned cover; /* enum vm_cover: what it serves in libvirt's place */
	/* told by whoever samples them; 0: not known */
	_Atomic uint64_t vcpus, rss_kib, balloon_kib;
	_Atomic uint64_t memory_kib; /* told by discovery */

	/* told by the slow lane */
	_Atomic int64_t slow_mono_ns; /* its last good sample was begun; 0: never */
	_Atomic bool silent;          /* the monitor does not answer */

	/* discovery only */
	uint64_t session, shares; /* 0: not known */

	_Atomic int stat_fd; /* /proc/<pid>/stat of its process; -1: not known */
};

struct vm *vm_new(const struct vm_ident *ident); /* copies */
struct vm *vm_ref(struct vm *vm);
void vm_unref(struct vm *vm); /* NULL is accepted */

/* Its process was found: @stat_fd, open on its stat file, moves here.  Any thread. */
void vm_set_process(struct vm *vm, int stat_fd);

/*
 * True if its process does not run now, so that its monitor cannot answer: it is stopped,
 * or waits where no signal reaches it.  False if that is not known.  Any thread.
 */
bool vm_is_stopped(const struct vm *vm);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The worker's confinement.  It reads what guests, hypervisors and other users' processes say,
 * so a fault in it must not be one of the host's: it is an own user, without capabilities but
 * those that its figures need, can get no others, and has no system calls but those that it
 * makes.  In two steps: rights are lost while there is one thread, as the kernel knows them by
 * the thread; calls when all is started, on all threads, as starting needs more of them.
 */
#pragma once

#include <stdbool.h>

struct strbuf;
struct user;

struct confine_needs {
	bool process_io; /* figures of another user's process' I/O */
	bool old_disk; /* an older daemon's file, of which it must be known who has it open */
};

/*
 * Becomes @user, who may be who we are.  One thread.
 * Return: 0, or -errno; then not all of it is done, and the process must end.
 */
int confine_rights(const struct user *user, const struct confine_needs *needs);

/* Appends the names of the capabilities that are left, "none" if there are none. */
void confine_describe(struct strbuf *out);

/*
 * From here on, calls that the worker has no use for fail with EPERM in all threads, and the
 * kernel's audit log tells of them.  @starts_programs: somebody in us (a libvirt that connects
 * through ssh) has to fork and to execute.
 * Return: 0, -ENOSYS where it is not built in, -errno where the kernel will not have it.
 */
int confine_calls(bool starts_programs);

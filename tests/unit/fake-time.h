/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Time that stands still until the test moves it, and a log that it can look into.  Every
 * thread of the program is known, and so is whether it waits: the test goes on when all of
 * them do, and time is moved from deadline to deadline.  So nothing here takes longer on a
 * machine that is busy, and a thread that spins never comes to rest.
 *
 * Instead of those of the C library, at the link line: fake_time_wraps in tests/meson.build.
 * The test's own thread is no part of the program.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Before the program's first thread; forgets the log. */
void fake_time_reset(void);

/* Until all threads wait. */
void fake_settle(void);

/* Lets time pass, in as many steps as anybody has deadlines. */
void fake_advance(int64_t ns);

/* How many lines with @text in them were logged since fake_time_reset(). */
unsigned fake_logged(const char *text);

/* ---- for other fakes, whose state the same lock guards ---- */

void fake_lock(void);
void fake_unlock(void);

/* Waits until @ready, which is asked with the lock held after each fake_changed(). */
void fake_wait_locked(bool (*ready)(void *ctx), void *ctx);
void fake_changed_locked(void);

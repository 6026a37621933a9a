/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What systems have in different ways, beside devices and files: system.c or, on Windows,
 * windows/system.c.  Any thread, but for system_start().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/clock.h"

struct buf;

/* Since the system was started; it goes on while that sleeps.  Nanoseconds. */
int64_t system_boot_ns(void);

/*
 * clock_mono_ns() at most SYSTEM_COARSE_NS ago, without asking a timer, which takes long where it
 * is emulated.
 */
#define SYSTEM_COARSE_NS (10 * NS_PER_MS)
int64_t system_coarse_ns(void);

void system_pause_ms(int ms);

/* Waits until clock_mono_ns() is that. */
void system_sleep_until(int64_t mono_ns);

/* True if @where is the path of a device or file, and no word. */
bool system_is_path(const char *where);

/*
 * The environment, unless the program has rights that its user has not.
 * @room: empty; may be given the text, and says if there is no memory for it.  Return: or NULL.
 */
const char *system_getenv(const char *name, struct buf *room);

/*
 * At the start of a program: its arguments in UTF-8, and streams that write what they are given.
 * Return: the arguments, which live as long as it does.
 */
char **system_start(int argc, char **argv);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What cmocka wants included before itself, in the order it wants. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/*
 * How often something random is tried.  Sanitizers take several times as long, and find what they
 * look for much earlier: scripts/test has it done as often as it says by a build without them.
 */
#if defined(__SANITIZE_THREAD__)
#define ROUNDS(n) ((n) / 10)
#elif defined(__SANITIZE_ADDRESS__)
#define ROUNDS(n) ((n) / 5)
#else
#define ROUNDS(n) (n)
#endif

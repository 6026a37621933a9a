/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What cmocka wants included before itself, in the order it wants. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

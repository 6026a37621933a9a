/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012) with a
 * fixed key: the same input gives the same value in every run, which node ids rely on.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

uint64_t siphash24(const void *data, size_t len);

/* With the caller's key, for the published test vectors. */
uint64_t siphash24_keyed(const void *data, size_t len, uint64_t k0, uint64_t k1);

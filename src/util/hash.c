/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/hash.h"

#include <string.h>

static uint64_t rotl(uint64_t x, int bits)
{
	return x << bits | x >> (64 - bits);
}

static uint64_t load_le64(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

static void rounds(uint64_t v[4], int n)
{
	while (n--) {
		v[0] += v[1];
		v[1] = rotl(v[1], 13) ^ v[0];
		v[0] = rotl(v[0], 32);
		v[2] += v[3];
		v[3] = rotl(v[3], 16) ^ v[2];
		v[0] += v[3];
		v[3] = rotl(v[3], 21) ^ v[0];
		v[2] += v[1];
		v[1] = rotl(v[1], 17) ^ v[2];
		v[2] = rotl(v[2], 32);
	}
}

uint64_t siphash24_keyed(const void *data, size_t len, uint64_t k0, uint64_t k1)
{
	uint64_t v[4] = { k0 ^ UINT64_C(0x736f6d6570736575),
		k1 ^ UINT64_C(0x646f72616e646f6d), k0 ^ UINT64_C(0x6c7967656e657261),
		k1 ^ UINT64_C(0x7465646279746573) };
	const uint8_t *p = data;
	size_t left = len;

	for (; left >= 8; p += 8, left -= 8) {
		uint64_t m = load_le64(p, 8);

		v[3] ^= m;
		rounds(v, 2);
		v[0] ^= m;
	}
	uint64_t last = load_le64(p, left) | (uint64_t)len << 56;

	v[3] ^= last;
	rounds(v, 2);
	v[0] ^= last;
	v[2] ^= 0xff;
	rounds(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t siphash24(const void *data, size_t len)
{
	/* Arbitrary, but never to change: running kernels hold ids made from it. */
	return siphash24_keyed(
		data, len, UINT64_C(0x76686f73746d6432), UINT64_C(0x6e6f646569647331));
}

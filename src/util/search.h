/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Binary search among what is sorted by a 64-bit key.  Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * The first of @n places whose key is not below @key, @n if there is none.
 * @key_at: the key at place @i of @array.
 */
static inline size_t search_key(const void *array, size_t n,
	uint64_t (*key_at)(const void *array, size_t i), uint64_t key)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (key_at(array, mid) < key)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

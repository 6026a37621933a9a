/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One text in the handover that is replaced as a whole: the next is written into the half that
 * is not in force, and is in force by one store.  One writer at a time.
 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define HALF_BYTES (96u << 20)

struct half {
	_Atomic uint64_t sequence; /* 0: there is nothing; the greater is in force */
	uint64_t bytes;
	uint64_t sum;
};

struct halves {
	struct half half[2];
	_Alignas(4096) char memory[2][HALF_BYTES];
};

/* Where the next is to be written; room for *@ret_size bytes. */
void *halves_begin(struct halves *halves, size_t *ret_size);

/* It is written; now it is in force, and what was is gone, but for the memory that it lies in. */
void halves_commit(struct halves *halves, size_t bytes);

/* Gives that memory back; the next but one needs it anew, which costs a fault for each page. */
void halves_trim(struct halves *halves);

/*
 * The one in force, which stays until the next halves_commit().
 * Return: NULL if there is none, or it is not what was written.
 */
const void *halves_get(const struct halves *halves, size_t *ret_bytes);

/* There is none. */
void halves_clear(struct halves *halves);

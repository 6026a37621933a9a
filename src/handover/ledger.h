/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A table in the handover, that is right after each single store: a row is there while its
 * key, with which it begins, is not 0.  Of one process at a time; its callers take turns.
 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* The smallest kind of row; others begin with a key, too. */
struct ledger_row {
	_Atomic uint64_t key;
	_Atomic uint64_t value;
};

struct ledger;

#define LEDGER_NONE UINT32_MAX

/*
 * @rows: in the handover, @n of @row_bytes each, below LEDGER_NONE; those that are there stay.
 * @top: there, too; none at or behind it was ever used.
 */
struct ledger *ledger_new(void *rows, size_t row_bytes, size_t n, _Atomic uint64_t *top);
void ledger_free(struct ledger *ledger); /* leaves the rows; NULL is accepted */

/*
 * A free row, which is not there yet.  Return: where, or LEDGER_NONE if there is no room, or
 * no ledger.  @ledger NULL, here and below: nothing is kept.
 */
uint32_t ledger_reserve(struct ledger *ledger);

/* Now it is: what else is in it was written before. */
void ledger_commit(struct ledger *ledger, uint32_t at, uint64_t key);

/* The two steps for a struct ledger_row. */
uint32_t ledger_add(struct ledger *ledger, uint64_t key, uint64_t value);

/* The row, to be read and, but for its key, written. */
void *ledger_at(const struct ledger *ledger, uint32_t at);

/* LEDGER_NONE is accepted, here and below. */
void ledger_set(struct ledger *ledger, uint32_t at, uint64_t value);
void ledger_drop(struct ledger *ledger, uint32_t at);

/* The next row that is there, at @from or behind it.  Return: where, or LEDGER_NONE. */
uint32_t ledger_next(const struct ledger *ledger, uint32_t from, uint64_t *ret_key);

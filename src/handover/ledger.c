/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handover/ledger.h"

#include <assert.h>
#include <stdlib.h>

#include "util/mem.h"

struct ledger {
	char *rows;
	size_t row_bytes, n;
	_Atomic uint64_t *top;
	uint32_t *free; /* rows below it that are free */
	size_t n_free, cap_free;
};

static _Atomic uint64_t *key_of(const struct ledger *l, size_t at)
{
	return (void *)(l->rows + at * l->row_bytes);
}

/* Somebody else's word for it, and no more than that. */
static size_t top_of(const struct ledger *l)
{
	uint64_t top = atomic_load(l->top);

	return top < l->n ? (size_t)top : l->n;
}

static void note_free(struct ledger *l, uint32_t at)
{
	l->free = xgrow(l->free, l->n_free, &l->cap_free, sizeof(*l->free));
	l->free[l->n_free++] = at;
}

struct ledger *ledger_new(void *rows, size_t row_bytes, size_t n, _Atomic uint64_t *top)
{
	struct ledger *l = xcalloc(1, sizeof(*l));

	assert(row_bytes % sizeof(uint64_t) == 0 && n < LEDGER_NONE);
	*l = (struct ledger){ .rows = rows, .row_bytes = row_bytes, .n = n, .top = top };
	for (size_t at = top_of(l); at-- > 0;)
		if (!atomic_load(key_of(l, at)))
			note_free(l, (uint32_t)at);
	return l;
}

void ledger_free(struct ledger *l)
{
	if (!l)
		return;
	free(l->free);
	free(l);
}

uint32_t ledger_reserve(struct ledger *l)
{
	size_t top = l ? top_of(l) : 0;

	if (l && l->n_free)
		return l->free[--l->n_free];
	if (!l || top == l->n)
		return LEDGER_NONE;
	atomic_store(l->top, top + 1);
	return (uint32_t)top;
}

void ledger_commit(struct ledger *l, uint32_t at, uint64_t key)
{
	if (l && at != LEDGER_NONE)
		atomic_store(key_of(l, at), key);
}

uint32_t ledger_add(struct ledger *l, uint64_t key, uint64_t value)
{
	uint32_t at = ledger_reserve(l);

	ledger_set(l, at, value);
	ledger_commit(l, at, key);
	return at;
}

void *ledger_at(const struct ledger *l, uint32_t at)
{
	return key_of(l, at);
}

void ledger_set(struct ledger *l, uint32_t at, uint64_t value)
{
	if (!l || at == LEDGER_NONE)
		return;
	struct ledger_row *row = ledger_at(l, at);

	atomic_store(&row->value, value);
}

void ledger_drop(struct ledger *l, uint32_t at)
{
	if (!l || at == LEDGER_NONE)
		return;
	atomic_store(key_of(l, at), 0);
	note_free(l, at);
}

uint32_t ledger_next(const struct ledger *l, uint32_t from, uint64_t *ret_key)
{
	for (size_t at = from; l && at < top_of(l); at++) {
		*ret_key = atomic_load(key_of(l, at));
		if (*ret_key)
			return (uint32_t)at;
	}
	return LEDGER_NONE;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a keeper that executed another program hands on. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "keeper/state.h"
#include "util/cleanup.h"
#include "util/strbuf.h"

#define NOW_NS INT64_C(1000000000000)

static void require(bool so)
{
	if (!so)
		abort();
}

/* What the keeper relies on. */
static void check(const struct keeper_state *s)
{
	require(strnlen(s->writer, sizeof(s->writer)) < sizeof(s->writer));
	require(strnlen(s->link, sizeof(s->link)) < sizeof(s->link));
	require(strnlen(s->program, sizeof(s->program)) < sizeof(s->program));
	require(s->program[0] == '/');
	require(s->n_workers <= STATE_WORKERS && s->n_started);
	require(!s->serves || s->n_workers);
	for (uint32_t i = 0; i < s->n_workers; i++)
		require(s->workers[i] > 1 && s->workers[i] != s->pid);
	for (int i = 0; i < STATE_FDS; i++)
		require(s->fds[i] == -1 || s->fds[i] > 2);
	for (int i = 0; i < STATE_FD_SOCKET; i++)
		require(s->fds[i] > 2);
	require(s->init_bytes <= sizeof(s->init) && s->ready_ns <= NOW_NS &&
		s->down_ns <= NOW_NS);
}

static void look(const void *bytes, size_t size)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	struct keeper_state s;

	if (state_check(bytes, size, NOW_NS, &s, &why) == 0)
		check(&s);
	else
		require(why.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct keeper_state s = { 0 }, right;

	look(data, size);
	/* and what is behind a head that is right, wherever the corpus was made */
	memcpy(&s, data, size < sizeof(s) ? size : sizeof(s));
	state_begin(&right);
	memcpy(&s, &right, offsetof(struct keeper_state, writer));
	look(&s, sizeof(s));
	return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a keeper that executed another program hands on. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "keeper/baggage.h"
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

/* The same of what is handed on besides. */
static void look_at_baggage(const void *bytes, size_t size)
{
	const char *begin = bytes;
	struct baggage_socket socket;
	struct baggage b;
	uint64_t last = (uint64_t)NOW_NS + 1;

	if (baggage_open(bytes, size, NOW_NS, &b) < 0)
		return;
	require(b.conf >= begin && b.conf_bytes <= size &&
		b.conf + b.conf_bytes <= begin + size);
	while (baggage_next(&b, &socket)) {
		require(socket.fd > 2 && socket.id && socket.id < last);
		require(socket.path[0] == '/' && strlen(socket.path) < PATH_MAX);
		last = socket.id;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct keeper_state s = { 0 }, right;

	look(data, size);
	look_at_baggage(data, size);
	/* and what is behind a head that is right, wherever the corpus was made */
	memcpy(&s, data, size < sizeof(s) ? size : sizeof(s));
	state_begin(&right);
	memcpy(&s, &right, offsetof(struct keeper_state, writer));
	look(&s, sizeof(s));
	return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "virtio/stand.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "handover/handover.h"
#include "util/cleanup.h"
#include "util/mem.h"
#include "virtio/reply.h"
#include "virtio/request.h"

/* In place of an id in the arena: there was no room for the reply. */
#define REPLY_ELSEWHERE UINT64_MAX

struct stands {
	struct ledger *ledger;
	struct channel_row *rows;
	struct arena *arena;
	bool ours[HANDOVER_CHANNELS]; /* rows that we serve */
};

static struct channel_half *half_in_force(struct channel_row *row)
{
	return &row->half[atomic_load(&row->turn) % 2];
}

/* ---- what was left ---- */

static struct channel_row *row_at(const struct stands *s, uint32_t at)
{
	return at == LEDGER_NONE ? NULL : ledger_at(s->ledger, at);
}

/* Its reply, if it is there and its own. */
static bool find_reply(const struct stands *s, const struct channel_row *row, uint64_t id,
	struct arena_bytes *ret)
{
	return id != REPLY_ELSEWHERE && arena_get(s->arena, id, ret) &&
		ret->note.kind == ARENA_REPLY && ret->note.name == atomic_load(&row->key);
}

/* One that nobody serves. */
static void drop_row(struct stands *s, struct channel_row *row)
{
	uint64_t id = half_in_force(row)->reply;
	struct arena_bytes bytes;
	bool found = find_reply(s, row, id, &bytes);

	stands_end(s, row);
	if (found)
		arena_drop(s->arena, id);
}

static int compare_rows(const void *a, const void *b)
{
	const struct channel_row *x = *(struct channel_row *const *)a;
	const struct channel_row *y = *(struct channel_row *const *)b;
	int r = uuid_compare(&x->vm, &y->vm);

	if (r)
		return r;
	return atomic_load(&x->key) < atomic_load(&y->key) ? -1 : 1;
}

/* A VM's connections but the last: they ended when nobody served them. */
static void drop_older_rows(struct stands *s)
{
	_cleanup_free_ struct channel_row **rows = NULL;
	size_t n = 0, cap = 0;
	uint64_t id = 0;

	for (uint32_t at = 0; (at = ledger_next(s->ledger, at, &id)) != LEDGER_NONE;
		at++) {
		rows = xgrow(rows, n, &cap, sizeof(struct channel_row *));
		rows[n++] = row_at(s, at);
	}
	if (n)
		qsort(rows, n, sizeof(struct channel_row *), compare_rows);
	for (size_t i = 1; i < n; i++)
		if (uuid_compare(&rows[i - 1]->vm, &rows[i]->vm) == 0)
			drop_row(s, rows[i - 1]);
}

/* Those of rows that nobody has gone on with, and perhaps nobody will. */
static void drop_unserved(struct stands *s)
{
	uint64_t id = 0;

	for (uint32_t at = 0; (at = ledger_next(s->ledger, at, &id)) != LEDGER_NONE; at++)
		if (!s->ours[at])
			drop_row(s, row_at(s, at));
}

/* Those that a process was killed over, when it had made them or let them go. */
static void drop_stray_replies(struct stands *s)
{
	_cleanup_free_ bool *used = xcalloc(ARENA_ITEMS, sizeof(*used));
	struct arena_bytes bytes;
	uint64_t id = 0;

	for (uint32_t at = 0; (at = ledger_next(s->ledger, at, &id)) != LEDGER_NONE;
		at++) {
		const struct channel_row *row = row_at(s, at);

		if (find_reply(s, row, half_in_force(row_at(s, at))->reply, &bytes))
			used[bytes.id % ARENA_ITEMS] = true;
	}
	for (uint32_t at = 0; arena_next(s->arena, &at, &bytes);)
		if (bytes.note.kind == ARENA_REPLY && !used[bytes.id % ARENA_ITEMS])
			arena_drop(s->arena, bytes.id);
}

struct stands *stands_new(struct handover *handover, struct arena *arena)
{
	struct stands *s = xcalloc(1, sizeof(*s));

	*s = (struct stands){ .ledger = handover_channels(handover),
		.rows = handover->channels,
		.arena = arena };
	drop_older_rows(s);
	drop_stray_replies(s);
	return s;
}

void stands_free(struct stands *s)
{
	if (!s)
		return;
	ledger_free(s->ledger);
	free(s);
}

bool stands_next(const struct stands *s, uint32_t *at, struct uuid *ret_vm,
	char ret_path[static HANDOVER_CHANNEL_PATH])
{
	uint64_t id = 0;

	*at = ledger_next(s->ledger, *at, &id);
	if (*at == LEDGER_NONE)
		return false;
	const struct channel_row *row = row_at(s, (*at)++);

	*ret_vm = row->vm;
	memcpy(ret_path, row->path, HANDOVER_CHANNEL_PATH);
	ret_path[HANDOVER_CHANNEL_PATH - 1] = '\0';
	return true;
}

/* ---- rows ---- */

struct channel_row *stands_begin(
	struct stands *s, uint64_t id, const struct uuid *vm, const char *path)
{
	if (!id)
		return NULL;
	uint32_t at = ledger_reserve(s->ledger);

	if (at == LEDGER_NONE) {
		drop_unserved(s);
		at = ledger_reserve(s->ledger);
	}
	struct channel_row *row = row_at(s, at);

	if (!row)
		return NULL;
	row->vm = *vm;
	memset(row->path, 0, sizeof(row->path));
	if (strlen(path) < sizeof(row->path))
		memcpy(row->path, path, strlen(path));
	stand_note(row, &(struct requests){ 0 }, &(struct reply){ 0 });
	ledger_commit(s->ledger, at, id);
	s->ours[at] = true;
	return row;
}

void stands_end(struct stands *s, struct channel_row *row)
{
	if (!row)
		return;
	uint32_t at = (uint32_t)(row - s->rows);

	s->ours[at] = false;
	ledger_drop(s->ledger, at);
}

static struct channel_row *find(const struct stands *s, uint64_t id)
{
	uint64_t key = 0;

	for (uint32_t at = 0; (at = ledger_next(s->ledger, at, &key)) != LEDGER_NONE;
		at++)
		if (key == id)
			return row_at(s, at);
	return NULL;
}

/* Return: false if it cannot be. */
static bool take_requests(
	const struct channel_half *half, struct requests *in, int64_t now_ns)
{
	size_t n = half->n_in, n_new = half->receiving.msg_len;
	size_t n_taken = half->n_taken;

	if (n > n_taken || n_taken > sizeof(in->bytes) ||
		n_new > sizeof(in->bytes) - n_taken)
		return false;
	memcpy(in->bytes, half->in, n + n_new);
	in->len = n;
	in->n_taken = n_taken;
	in->since_ns =
		half->since_ns >= 0 && half->since_ns <= now_ns ? half->since_ns : now_ns;
	if (n_new)
		requests_received(in, n_new, now_ns);
	return true;
}

/* The same. */
static bool take_reply(struct stands *s, const struct channel_row *row,
	const struct channel_half *half, struct reply *reply)
{
	struct arena_bytes bytes = { 0 };
	uint64_t sent = half->sent, n_new = half->sending.msg_len, id = half->reply;

	if (!id)
		return !n_new;
	if (!find_reply(s, row, id, &bytes) || sent > bytes.bytes ||
		n_new > bytes.bytes - sent)
		return false;
	reply_set_kept(reply, id, bytes.data, bytes.bytes);
	reply->sent = (size_t)(sent + n_new);
	return true;
}

int stands_resume(struct stands *s, uint64_t id, struct requests *in, struct reply *reply,
	int64_t now_ns, struct channel_row **ret)
{
	struct channel_row *row = find(s, id);

	if (!row)
		return -EBADMSG;
	struct channel_half half = *half_in_force(row);

	if (!take_requests(&half, in, now_ns) || !take_reply(s, row, &half, reply)) {
		requests_clear(in);
		drop_row(s, row);
		return -EBADMSG;
	}
	uint64_t kept = reply->kept;

	if (reply->sent == reply->size)
		reply_done(reply);
	stand_note(row, in, reply);
	if (!reply->size)
		stands_drop_reply(s, kept);
	s->ours[row - s->rows] = true;
	*ret = row;
	return 0;
}

/* ---- replies ---- */

void stands_keep_reply(
	struct stands *s, const struct channel_row *row, struct reply *reply)
{
	if (!row)
		return;
	const struct arena_note note = { .kind = ARENA_REPLY,
		.name = atomic_load(&row->key) };
	_cleanup_free_ char *text = reply_copy(reply);
	uint64_t id = arena_put(s->arena, &note, text, reply->size);
	struct arena_bytes bytes;

	if (!id) {
		drop_unserved(s);
		id = arena_put(s->arena, &note, text, reply->size);
	}
	if (!id || !arena_get(s->arena, id, &bytes))
		return;
	reply_done(reply);
	reply_set_kept(reply, id, bytes.data, bytes.bytes);
}

void stands_drop_reply(struct stands *s, uint64_t kept)
{
	if (kept)
		arena_drop(s->arena, kept);
}

/* ---- one row ---- */

void stand_note(
	struct channel_row *row, const struct requests *in, const struct reply *reply)
{
	if (!row)
		return;
	uint64_t turn = atomic_load(&row->turn) + 1;
	struct channel_half *half = &row->half[turn % 2];

	half->n_in = (uint32_t)in->len;
	half->n_taken = (uint32_t)in->n_taken;
	half->since_ns = in->since_ns;
	memcpy(half->in, in->bytes, in->len);
	half->reply = !reply->size ? 0 : reply->kept ? reply->kept : REPLY_ELSEWHERE;
	half->sent = reply->sent;
	half->receiving = half->sending = (struct mmsghdr){ 0 };
	atomic_store(&row->turn, turn);
}

ssize_t stand_receive(struct channel_row *row, int fd, void *to, size_t size)
{
	if (!row)
		return recv(fd, to, size, MSG_DONTWAIT);
	struct channel_half *half = half_in_force(row);

	assert(half->n_in + size <= sizeof(half->in));
	struct iovec iov = { half->in + half->n_in, size };

	half->receiving.msg_hdr = (struct msghdr){ .msg_iov = &iov, .msg_iovlen = 1 };
	if (recvmmsg(fd, &half->receiving, 1, MSG_DONTWAIT, NULL) < 0)
		return -1;
	memcpy(to, iov.iov_base, half->receiving.msg_len);
	return (ssize_t)half->receiving.msg_len;
}

ssize_t stand_send(struct channel_row *row, int fd, struct iovec *iov, size_t n)
{
	const int flags = MSG_NOSIGNAL | MSG_DONTWAIT;
	const struct msghdr msg = { .msg_iov = iov, .msg_iovlen = n };

	if (!row)
		return sendmsg(fd, &msg, flags);
	struct channel_half *half = half_in_force(row);

	half->sending.msg_hdr = msg;
	if (sendmmsg(fd, &half->sending, 1, flags) < 0)
		return -1;
	return (ssize_t)half->sending.msg_len;
}

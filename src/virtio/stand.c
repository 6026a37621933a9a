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

/* Those that a process was killed over, when it had made them or let them go. */
static void drop_stray_replies(struct stands *s)
{
	_cleanup_free_ uint64_t *used = xcalloc(ARENA_ITEMS, sizeof(*used));
	struct arena_bytes bytes;
	uint64_t id = 0;

	for (uint32_t at = 0; (at = ledger_next(s->ledger, at, &id)) != LEDGER_NONE;
		at++) {
		uint64_t reply = half_in_force(row_at(s, at))->reply;

		used[reply % ARENA_ITEMS] = reply;
	}
	for (uint32_t at = 0; arena_next(s->arena, &at, &bytes);)
		if (bytes.note.kind == ARENA_REPLY &&
			used[bytes.id % ARENA_ITEMS] != bytes.id)
			arena_drop(s->arena, bytes.id);
}

struct stands *stands_new(struct handover *handover, struct arena *arena)
{
	struct stands *s = xcalloc(1, sizeof(*s));

	*s = (struct stands){ handover_channels(handover), handover->channels, arena };
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

/* ---- rows ---- */

struct channel_row *stands_begin(struct stands *s, uint64_t id)
{
	uint32_t at = id ? ledger_reserve(s->ledger) : LEDGER_NONE;
	struct channel_row *row = row_at(s, at);

	if (!row)
		return NULL;
	stand_note(row, &(struct requests){ 0 }, &(struct reply){ 0 });
	ledger_commit(s->ledger, at, id);
	return row;
}

void stands_end(struct stands *s, struct channel_row *row)
{
	if (row)
		ledger_drop(s->ledger, (uint32_t)(row - s->rows));
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
	if (id == REPLY_ELSEWHERE || !arena_get(s->arena, id, &bytes) ||
		bytes.note.kind != ARENA_REPLY ||
		bytes.note.name != atomic_load(&row->key) || sent > bytes.bytes ||
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
		stands_end(s, row);
		return -EBADMSG;
	}
	uint64_t kept = reply->kept;

	if (reply->sent == reply->size)
		reply_done(reply);
	stand_note(row, in, reply);
	if (!reply->size)
		stands_drop_reply(s, kept);
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

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "virtio/reply.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "core/blob.h"
#include "core/snapshot.h"
#include "util/mem.h"
#include "util/wire.h"
#include "virtio/stand.h"

static void add(struct reply *r, struct render_piece piece)
{
	r->size += piece.size;
	r->pieces[r->n++] = piece;
}

void reply_set_document(struct reply *r, struct view *view, const struct uuid *vm)
{
	struct render_piece pieces[RENDER_PIECES];

	render_xml_pieces(view->host, view_find_uuid(view, vm), true, pieces);
	for (size_t i = 0; i < RENDER_PIECES; i++)
		add(r, pieces[i]);
	add(r, (struct render_piece){ "\n", 1, NULL }); /* the empty line */
}

void reply_set_refusal(struct reply *r)
{
	add(r, (struct render_piece){ WIRE_REFUSAL, strlen(WIRE_REFUSAL), NULL });
}

void reply_set_kept(struct reply *r, uint64_t kept, const char *text, size_t size)
{
	add(r, (struct render_piece){ text, size, NULL });
	r->kept = kept;
}

char *reply_copy(const struct reply *r)
{
	char *copy = xmalloc(r->size);
	size_t at = 0;

	for (size_t i = 0; i < r->n; i++) {
		memcpy(copy + at, r->pieces[i].text, r->pieces[i].size);
		at += r->pieces[i].size;
	}
	return copy;
}

/* So that a long document costs others no more time than a few usual ones. */
#define SEND_AT_ONCE ((size_t)256 << 10)

/* What is to be sent next.  Return: how many. */
static size_t next(const struct reply *r, struct iovec iov[static RENDER_PIECES + 1])
{
	size_t skip = r->sent, room = SEND_AT_ONCE, n = 0;

	for (size_t i = 0; i < r->n && room; i++) {
		const struct render_piece *piece = &r->pieces[i];

		if (skip >= piece->size) {
			skip -= piece->size;
			continue;
		}
		size_t size = piece->size - skip < room ? piece->size - skip : room;

		iov[n++] =
			(struct iovec){ (void *)(uintptr_t)(piece->text + skip), size };
		room -= size;
		skip = 0;
	}
	return n;
}

int reply_send(struct reply *r, struct channel_row *row, int fd)
{
	struct iovec iov[RENDER_PIECES + 1];
	ssize_t n = stand_send(row, fd, iov, next(r, iov));

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	r->sent += (size_t)n;
	if (r->sent == r->size)
		reply_done(r);
	return 0;
}

void reply_done(struct reply *r)
{
	for (size_t i = 0; i < r->n; i++)
		blob_unref(r->pieces[i].blob);
	*r = (struct reply){ 0 };
}

bool reply_is_taken(int fd)
{
	int waiting = 0;

	return ioctl(fd, SIOCOUTQ, &waiting) < 0 || waiting == 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a guest is told, while it is sent: a document from the fragments that are kept with the
 * snapshots, of which it keeps no more than its own two alive; or, where somebody else may have
 * to go on, from a copy of its own.  Of one thread; logs nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/render_xml.h"

struct blob;
struct channel_row;
struct uuid;
struct view;

struct reply {
	struct render_piece
		pieces[RENDER_PIECES + 1]; /* with references to their blobs */
	size_t n;
	size_t sent;   /* bytes */
	uint64_t kept; /* in the arena, from where it is sent; 0: it is not */
	size_t size;   /* 0: there is none */
};

/* The document that a VM sees of @view, or a refusal.  @r: empty. */
void reply_set_document(struct reply *r, struct view *view, const struct uuid *vm);
void reply_set_refusal(struct reply *r);

/* The same text, which lies elsewhere under that number; and a copy, the caller's to free. */
void reply_set_kept(struct reply *r, uint64_t kept, const char *text, size_t size);
char *reply_copy(const struct reply *r);

/*
 * Sends once, as much as the socket takes; then it is empty if that was all.
 * @row: where that is counted; NULL: nowhere.
 * Return: 0, or -errno when the socket is lost.
 */
int reply_send(struct reply *r, struct channel_row *row, int fd);

/* Drops the rest. */
void reply_done(struct reply *r);

/* Whether the other side has taken all that was ever sent. */
bool reply_is_taken(int fd);

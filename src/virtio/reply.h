/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a guest is told, while it is sent.  A document is not copied: it is sent from the
 * fragments that are kept with the snapshots, and keeps no more of them than its own two
 * alive.  Of one thread; logs nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "core/render_xml.h"

struct blob;
struct uuid;
struct view;

struct reply {
	struct render_piece
		pieces[RENDER_PIECES + 1]; /* with references to their blobs */
	size_t n;
	size_t sent; /* bytes */
	size_t size; /* 0: there is none */
};

/* The document that a VM sees of @view, or a refusal.  @r: empty. */
void reply_set_document(struct reply *r, struct view *view, const struct uuid *vm);
void reply_set_refusal(struct reply *r);

/*
 * Sends once, as much as the socket takes; then it is empty if that was all.
 * Return: 0, or -errno when the socket is lost.
 */
int reply_send(struct reply *r, int fd);

/* Drops the rest. */
void reply_done(struct reply *r);

/* Whether the other side has taken all that was ever sent. */
bool reply_is_taken(int fd);

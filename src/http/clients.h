/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who is connected, and who has to go: clients are so many at most, none may take for ever, and
 * what is kept for those that read slowly is so much.  Whose turn it is to go is decided so that a
 * client only ever takes a place from others of its own kind (a user, a host) while that has the
 * most of them.  Makes no calls but the one that shuts a connection.  One thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/limits.h"

struct blob;

struct client {
	int fd;            /* borrowed */
	uint64_t owner;    /* what clients of one kind have in common */
	bool is_ip;        /* no file's mode says who may connect there */
	int64_t since_ns;  /* when it connected, or its last request began or ended */
	int64_t until_ns;  /* and when it has to have done something */
	struct blob *blob; /* that it is sent; NULL: none; a reference */
	bool cut;          /* its connection was shut */
};

struct clients {
	struct client *list[LIMIT_HTTP_CLIENTS]; /* the latest last */
	size_t n;
	uint64_t n_cut; /* connections that were shut so far */
};

/*
 * There is room: clients_make_room().  @newcomer: its descriptor, owner and whether it is an IP's.
 * Return: borrowed, until clients_remove().
 */
struct client *clients_add(
	struct clients *clients, const struct client *newcomer, int64_t now_ns);

/* Its connection is over. */
void clients_remove(struct clients *clients, struct client *client);

/*
 * Whether one more of @owner's has a place.  Where not, a connection is shut for it, and there is
 * one as soon as that is removed.
 */
bool clients_make_room(struct clients *clients, uint64_t owner);

/*
 * A request is answered with @blob, to which a reference is taken.  Where too many old ones are
 * being sent, who has the oldest of them is cut off.
 */
void clients_begin(struct clients *clients, struct client *client, struct blob *blob,
	int64_t now_ns);

/* It was sent. */
void clients_end(struct client *client, int64_t now_ns);

/* Cuts off who has taken too long.  Return: when to call it again, INT64_MAX for never. */
int64_t clients_expire(struct clients *clients, int64_t now_ns);

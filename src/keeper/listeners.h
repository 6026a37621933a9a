/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The sockets that clients connect to.  The keeper opens them, or is given them by who has started
 * it, and they outlive workers and its program, so that who connects meanwhile waits and is
 * refused by nobody.  It accepts no connection: the worker does.  One thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct strbuf;

/* What is served there. */
enum listener_kind {
	LISTENER_HTTP,
	LISTENER_CONTROL,
	LISTENER_KINDS,
};

/* What is to be opened. */
struct listen_wish {
	const char *address; /* address_parse(); NULL: nothing */
	bool any;            /* other hosts may connect */
	bool by_peer; /* whoever serves it asks who has connected: a UNIX socket, for all users */
	bool optional; /* one that was given is as good, and if neither can be we go on without */
	bool has_gid;
	gid_t gid; /* who may connect to a UNIX socket; else the group of the process */
};

enum { LISTENERS_MAX = 8 };

struct listener {
	enum listener_kind kind;
	int fd;
	bool own;    /* we opened it, so a UNIX socket's name is ours to remove */
	dev_t dev;   /* which name that is */
	ino_t inode; /* 0: there is none */
	gid_t gid;   /* who may connect by it */
};

struct listeners {
	struct listener list[LISTENERS_MAX];
	size_t n;
};

/* "http", "control": what systemd's FileDescriptorName= calls them. */
const char *listener_name(enum listener_kind kind);

/* Return: false: nothing is called so. */
bool listener_kind_of(const char *name, enum listener_kind *ret);

/* Adds one to what is handed on (keeper/baggage.h); of one after the other @number falls from
 * LISTENERS_MAX to 1. */
void listener_pack(enum listener_kind kind, int fd, bool own, unsigned number,
	struct strbuf *baggage);

/* Takes those of the baggage over that are sockets that listen, and were inherited. */
void listeners_adopt(struct listeners *listeners, const struct strbuf *baggage);

/* Closes what we opened for other wishes or another group, or what has lost its name. */
void listeners_drop_unwished(
	struct listeners *listeners, const struct listen_wish *wishes);

/*
 * Opens what is wished and not there yet.  @wishes: by kind.  @store: the manager has them, too
 * (keeper/manager.h).
 * A UNIX socket's file that nobody listens at is replaced if it is ours, never anything else.
 * Return: 0, perhaps with @why, of what is missing and was optional; -errno with @why: in use, in
 * the way, malformed, or not local where that is not wished.
 */
int listeners_open(struct listeners *listeners, const struct listen_wish *wishes,
	bool store, struct strbuf *why);

void listeners_pack(const struct listeners *listeners, struct strbuf *baggage);

/* Puts those of a kind into @ret, borrowed.  Return: how many. */
size_t listeners_of(const struct listeners *listeners, enum listener_kind kind,
	int ret[LISTENERS_MAX]);

/* Whether programs that are executed inherit them. */
void listeners_inherit(const struct listeners *listeners, bool inherit);

/*
 * Closes all.  @remove: nobody comes after us: names that are ours go, and nobody stores them.
 */
void listeners_close(struct listeners *listeners, bool remove);

/* Closes those that were inherited, and that nobody adopted. */
void listeners_end_left(void);

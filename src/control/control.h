/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The control socket (vhostmd-control(7)): one thread with a loop, which serves UNIX sockets that
 * others have opened, asks the kernel who connects, and has done what he may ask for.  A client is
 * never trusted: what it may send, how long it may take and how many there may be is bounded, and
 * nobody waits for it.  Knows nothing of what is done: those are its starter's functions.  One thread
 * makes the calls, but for control_status().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/log.h"

struct control;
struct strbuf;

/* Who may read status, beside those who may change something. */
struct control_readers {
	bool everybody, has_gid;
	gid_t gid; /* if has_gid: who is in it */
};

struct control_params {
	/* UNIX sockets that listen: the caller's, open until control_stop() */
	const int *fds;
	size_t n_fds;
	struct control_readers readers;
	bool has_group; /* members of @group may change something */
	gid_t group;
	const char *version; /* an answer's first line and what is below; borrowed */

	/* Called on the control thread, which must not be held up. */

	/* Appends the lines of the file status. */
	void (*status)(void *ctx, struct strbuf *out);
	/* Appends who waited for whom, in lines. */
	void (*blame)(void *ctx, struct strbuf *out);
	/* Has the configuration read: control_reload_begins() and control_reloaded() follow. */
	void (*reload)(void *ctx);
	/* Has another program take over.  Return: 0 or -errno. */
	int (*upgrade)(void *ctx);
	/*
	 * What becomes of that.  Return: -EINPROGRESS: that is not known yet; @ret_fd can be read as
	 * soon as this is to be asked again, and is the caller's; -1: we are about to end.  0: there is no
	 * more to be said.  Another -errno, perhaps with @why: it cannot.
	 */
	int (*upgrade_state)(void *ctx, struct strbuf *why, int *ret_fd);
	/* Has lines up to that level written: log_set_level() was called when it returns. */
	void (*set_log_level)(void *ctx, enum log_level level);
	void *ctx;
};

/* Return: NULL with a logged error, or where there are no sockets. */
struct control *control_start(const struct control_params *params);

/* Who waits for an answer gets none, and nothing is called any more.  NULL is accepted, as by all below. */
void control_stop(struct control *control);

/* After that. */
void control_free(struct control *control);

/* From now on. */
void control_set_readers(struct control *control, const struct control_readers *readers);

/*
 * The configuration is about to be read.  Return: for control_reloaded(): who has asked by now is
 * answered by that.  Both on one thread.
 */
uint64_t control_reload_begins(struct control *control);

struct control_reload {
	const char *file;
	bool refused;           /* what was in force stays */
	unsigned mistakes;      /* that it is without */
	const char *complaints; /* "FILE:LINE: error: TEXT", a line each; "" for none */
};

/* It was read, and if it is in force all see that. */
void control_reloaded(
	struct control *control, uint64_t begun, const struct control_reload *what);

/* Appends the lines of the status file; none if there is no @control.  Any thread. */
void control_status(struct control *control, struct strbuf *out);

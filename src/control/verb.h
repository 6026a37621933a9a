/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What can be asked for at the control socket, and by whom (vhostmd-control(7)).  Pure: bytes are any
 * local user's, and nothing of them is kept.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "util/log.h"

struct strbuf;

enum control_verb {
	CONTROL_VERSION,
	CONTROL_STATUS,
	CONTROL_BLAME,
	CONTROL_RELOAD,
	CONTROL_UPGRADE,
	CONTROL_LOG,
	CONTROL_VERBS,
};

struct control_request {
	enum control_verb verb;
	bool has_level; /* of CONTROL_LOG: it is to be set, else to be told */
	enum log_level level;
};

/* What somebody may; each may what those before may. */
enum control_right {
	RIGHT_ANYBODY, /* every user of this host */
	RIGHT_READER,  /* who may read the file status */
	RIGHT_GROUP,   /* whom --control-group names: to change something */
	RIGHT_ROOT,
};

/*
 * Reads a request.  @line: without the newline that ended it; may hold any byte.
 * Return: whether it is one; if not, @why has the answer's first line, without "error ".
 */
bool verb_parse(
	const char *line, size_t len, struct control_request *ret, struct strbuf *why);

/* What it is called. */
const char *verb_name(enum control_verb verb);

/* Who may ask for it. */
enum control_right verb_needs(const struct control_request *request);

/* Who has connected, as the kernel tells. */
struct peer {
	uid_t uid;
	pid_t pid;
	const gid_t *gids; /* all that it is in */
	size_t n_gids;
};

/* Who may what. */
struct control_policy {
	bool has_group, everybody, has_readers;
	gid_t group;   /* if has_group: may change something */
	gid_t readers; /* if has_readers, and everybody may not: may read status */
};

enum control_right right_of(const struct peer *peer, const struct control_policy *policy);

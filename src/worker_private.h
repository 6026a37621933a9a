/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the worker's own files share: worker.c, its life; worker_rights.c, who it is and what it may
 * do; worker_status.c, what it says of itself.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "keeper/listeners.h"
#include "util/user.h"
#include "worker.h"

struct plan;
struct strbuf;

struct worker {
	const struct worker_params *params;
	struct conf *conf; /* main thread only */
	bool mistaken; /* the one that we begin with, of which another was there before */
	/* for status */
	_Atomic unsigned conf_reads, conf_mistakes;
	_Atomic bool conf_refused; /* what stands in the file by now */
	int keeper_fd;
	int root_fd;
	int64_t start_mono_ns;
	uint64_t max_files; /* the soft limit that we were started with; 0: unknown */
	struct user user;   /* who we are */
	bool change_user;   /* actions may be another's */
	bool process_io;    /* we kept the rights for that */
	_Atomic int64_t period_ns;

	struct handover *handover;
	int64_t committed_mono_ns; /* the last checkpoint; these two under board.lock */
	unsigned kept_halves;      /* whose other half's memory was not given back */
	struct arena *arena;       /* in it */
	bool first;                /* nobody served before us */
	bool inherited;            /* what he showed is shown again */

	struct tree *tree;
	struct registry *registry;
	struct board *board;
	struct disks *disks;
	struct shared_path *shared_path;
	struct content *content;
	struct serve *serve;
	struct channels *channels;
	struct listeners listeners;
	struct http *http;
	struct xenstore *xenstore;
	struct control *control;
	char *told_version; /* what it says of us; never changes */
	struct runner *runner;
	struct actions *actions;
	struct virt
		*_Atomic virt; /* NULL where it is not built in, and until it starts */
	struct sampler *sampler;
	bool sampling;     /* sampler_start() succeeded */
	_Atomic bool lost; /* the file system: unmounted or aborted by somebody else */
	_Atomic bool up;   /* all of the above that serves is there: status may ask */
};

/* ---- worker_rights.c ---- */

/*
 * Actions never run as root unless the configuration says so.  Where a user was chosen for all
 * they are his, too.  @say: log what is wrong.
 */
struct user worker_action_user(const struct worker *w, const struct conf *conf, bool say);

/*
 * Starts the runner, and gives up what neither we nor @plan need.  Nothing else has been started
 * yet, and there is one thread.  Return: 0, or -errno after logging why.
 */
int worker_drop_rights(struct worker *w, const struct plan *plan);

/* No other system calls from here on.  Collectors need no more than they do later. */
void worker_drop_calls(const struct worker *w);

/* ---- worker_status.c ---- */

/* What the control socket's `version` says.  @failed: keeper_parcel.failed.  The caller frees. */
char *worker_version(const char *failed);

/* Appends the lines of the file `status`.  @ctx: the worker.  Any thread. */
void worker_status(void *ctx, struct strbuf *out);

/*
 * Appends what the control socket's `blame` says: whether waits are counted, and who waited for whom.
 * The same.
 */
void worker_blame(void *ctx, struct strbuf *out);

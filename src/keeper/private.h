/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the keeper's own files share: keeper.c, its life; open.c, how it begins and ends;
 * upgrade.c, how it gives way to its successor.
 */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "handover/handover.h"
#include "keeper/delays.h"
#include "keeper/good_conf.h"
#include "keeper/keeper.h"
#include "keeper/listeners.h"
#include "keeper/restart.h"
#include "keeper/watchdog.h"
#include "keeper/worker_clock.h"

struct loop;
struct sockets;

/* A worker, from its start until it is reaped, which may be after the next one's start. */
struct worker {
	struct worker *next; /* in keeper.workers */
	struct keeper *keeper;
	pid_t pid;
	int thread_fd; /* of its main thread; -1: the kernel does not tell */
	uint64_t thread_watch;
	int64_t start_ns; /* by the worker's clock */
	bool killed;      /* by us: it answers no more, or does not end */
	bool replaced;    /* it is of the program before us, and told to end */
};

struct upgrade {
	char *program;    /* that is executed in place of ours */
	struct stat seen; /* its file, when it was asked */
	pid_t child;      /* that is asked; 0: none is */
	bool late;        /* it was killed: it took too long */
	char *refusal;    /* why that which was asked for last cannot be; NULL: it can */
	int said_fd;      /* what it says */
	int before_fd;    /* the program before us, as long as we are on trial; -1 */
	bool asked;       /* as soon as a worker serves */
	int told_fd;      /* upgrade_state(); -1: nobody waits for it */
	int old_handover_fd;   /* of another layout, as long as it may be needed; -1 */
	bool fetched;          /* what is in it */
	uint64_t limit, trial; /* timers */
};

#define UPGRADE_NONE                                                                     \
	((struct upgrade){                                                               \
		.said_fd = -1, .told_fd = -1, .before_fd = -1, .old_handover_fd = -1 })

struct keeper {
	const struct keeper_params *params;
	char *link;       /* to be removed in the end; NULL */
	size_t link_kept; /* place_remove() */
	char *target;     /* of the link */
	int pid_fd;
	int fuse_fd;
	int ready_fd;
	bool created_dir;
	bool mounted; /* by us, and not for the manager to store */
	bool resumed; /* what the manager has stored */
	bool lost;    /* somebody unmounted it */
	int handover_fd;
	struct handover *handover;
	struct worker *workers;       /* all that were not reaped yet */
	struct worker *worker;        /* that serves; NULL: none, for a moment */
	unsigned n_workers;           /* that were started */
	char init[HANDOVER_INIT_MAX]; /* handover.init, as it was when one served first */
	uint32_t init_bytes;
	int worker_status; /* of the last: as loop_add_child() says */
	struct worker_clock clock;
	struct restart restart;
	struct watchdog watchdog;
	uint64_t next_start, next_look, overdue; /* timers */
	int socket;                              /* to the worker; -1: one end is shut */
	struct loop *loop;
	struct sockets *sockets; /* of channels */
	int old_file_fd;         /* keeper/old_file.h; -1: there is none */
	struct keeper_delays delays;
	uint64_t socket_watch;
	struct listeners listeners;
	int signal_fd, mounts_fd;
	struct good_conf good_conf;
	bool stopping;
	int64_t asked_ns; /* to end, by the worker's clock */
	bool ready;
	struct upgrade upgrade;
};

/* The signals that are waited for. */
sigset_t keeper_signals(void);

/* Opens what of the listening sockets was not handed on; what cannot be is missing. */
void keeper_listen_again(struct keeper *k);

/* Removes the link that is there, if it is ours. */
void keeper_remove_link(struct keeper *k);

/* What the loop waits for is closed, or memory freed, and nothing undone: for a child. */
void keeper_close_loop(struct keeper *k);
void keeper_free(struct keeper *k);

/* Undoes what keeper_open() did, and frees. */
void keeper_close(struct keeper *k);

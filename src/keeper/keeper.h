/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The keeper: the small process that stays root.  It holds the mount and /dev/fuse, the pid
 * file and the link to the shared disk, or opens an old daemon's file in its place, connects to
 * channel sockets and keeps them, and parses nothing from outside.  Everything else happens in
 * the worker, an unprivileged process that it starts, and starts again whenever it ends
 * without having been told to: readers wait for that moment (handover/handover.h).  One thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "keeper/listeners.h"

struct delay_maps;
struct good_conf;
struct keeper;
struct keeper_state;
struct strbuf;

/* What a worker is given; the descriptors are taken over. */
struct keeper_parcel {
	int keeper_fd;              /* to talk to the keeper */
	int fuse_fd;                /* the mounted /dev/fuse */
	int handover_fd;            /* of handover_create() */
	struct listeners listeners; /* where clients connect */
	unsigned number;            /* of workers before this one */
	bool distrust;              /* do not believe what was left of values */
	/* the text of the last that a worker came up with; borrowed; NULL: there is none */
	const struct good_conf *good_conf;
	/* the version that has tried to take over from this one, in vain; borrowed; NULL: none has */
	const char *failed;
};

struct keeper_params {
	const char *mount; /* where the file system appears */
	const char *link;  /* where we may link the shared disk from; NULL: nowhere */
	const char *pid_file;
	const char *config_file; /* what workers read */
	uid_t worker_uid;        /* whose links are ours, too */
	int fuse_fd; /* of what is mounted already, and unmounted by others; taken over; or -1 */
	int handover_fd; /* of who served that before, and has died; taken over; or -1 */

	/*
	 * and its channels' connections (keeper/baggage.h), which were inherited, as were sockets
	 * that clients connect to, of whomever; NULL: none
	 */
	const struct strbuf *channels;
	struct listen_wish listen[LISTENER_KINDS]; /* what else clients connect to */

	/* What the keeper executes in its place when it is told to (keeper/upgrade.h). */
	const char *program;
	char *const *words; /* its command line, without its name */
	const struct keeper_state
		*state; /* of who executed us in its place; NULL: nobody */

	/* The worker's life, of any number of them.  Return: its exit status. */
	int (*worker)(void *ctx, const struct keeper_parcel *parcel);
	void *ctx;
};

/*
 * Takes the pid file and the mount point, or has them from who was before, and blocks the
 * signals that keeper_run() handles.  @params must outlive the keeper.
 * Return: NULL after logging what is in the way; then nothing is left behind, or all that was
 * there before.
 */
struct keeper *keeper_open(const struct keeper_params *params);

/*
 * Runs workers until it is told to end, the file system is gone or none can be kept running;
 * cleans up and frees.  May be called in a child of the process that called keeper_open().
 * @ready_fd: closed after a zero byte was written once all is up; -1: nobody waits.
 * Return: the exit status.
 */
int keeper_run(struct keeper *keeper, int ready_fd);

/* The worker's side.  Any thread; requests take turns. */

/* All is up. */
void keeper_report_ready(int keeper_fd);

/*
 * That configuration is in force, and is good: the keeper has its text for the next worker, who
 * may find a file that is not.  @hash: siphash24() of it.
 */
void keeper_report_conf(int keeper_fd, uint64_t hash);

struct keeper_socket {
	int fd;       /* non-blocking */
	uint64_t id;  /* of the connection, which the keeper keeps; 0: it does not */
	bool resumed; /* a worker had it before */
};

/*
 * A connection to a channel's unix socket: the keeper's, who gives the same one to each worker
 * until either side has shut it, or one of our own where the keeper will not.
 * Return: 0; -EAGAIN while a dead worker may still use it; -errno.
 */
int keeper_connect(int keeper_fd, const char *path, struct keeper_socket *ret);

/* The file of an older vhostmd, the caller's to write and to close. */
struct keeper_old_file {
	int fd;       /* -1: there is none */
	bool removed; /* it was at @link before; else it is there, in place of a link */
};

/*
 * The shared disk is expected at @link from now on, NULL: nowhere.  The keeper removes the
 * link before, unless it is the same, and in the end this one.  It makes a link to the shared
 * disk itself where it was started with, elsewhere we do with our own rights.
 * Return: 0; -EEXIST if something else is there, or another -errno, with @why.  In each case
 * there may be an old file.
 */
int keeper_place_disk(int keeper_fd, const char *mount, const char *link,
	struct keeper_old_file *ret, struct strbuf *why);

/*
 * The maps of vCPUs' waits for processors, with the program in the kernel that counts them
 * (bpf/delay_format.h), which stays for the next worker.
 * Return: 0, and descriptors that are the caller's; -errno with @why, once said in the log.
 */
int keeper_delays(int keeper_fd, struct delay_maps *ret, struct strbuf *why);

/* Nobody needs them any more. */
void keeper_report_no_delays(int keeper_fd);

/* handover_set_log_level() was called: it is the keeper's, too, and that of each next worker. */
void keeper_report_log_level(int keeper_fd);

/* Nobody has the old file open any more. */
void keeper_report_old_over(int keeper_fd);

/*
 * Has the keeper give way to the program that is installed by now (keeper/upgrade.h), which it tries
 * at once or when it can.  Return: 0 or -errno.
 */
int keeper_upgrade(int keeper_fd);

/*
 * What becomes of that.  Return: as upgrade_state(), or another -errno.  @ret_fd: the caller's; -1 unless
 * it is under way.
 */
int keeper_upgrade_state(int keeper_fd, struct strbuf *why, int *ret_fd);

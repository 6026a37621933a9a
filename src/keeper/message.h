/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What worker and keeper say to each other, over a socket that keeps messages apart: the worker a
 * letter and a text, the keeper an answer to each request.  And what both of them do.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MSG_READY 'R'    /* all is up; no answer */
#define MSG_CONNECT 'C'  /* the path of a channel's socket */
#define MSG_CONF 'F'     /* the hash of the configuration that is in force; no answer */
#define MSG_LINK 'L'     /* where the shared disk is expected, "" for nowhere */
#define MSG_OLD_OVER 'O' /* nobody has the old file open; no answer */
#define MSG_UPGRADE 'U'  /* as SIGUSR2 */
#define MSG_UPGRADE_STATE 'S' /* the answer of upgrade_state(), and its descriptor */
#define MSG_DELAYS 'D'        /* the maps of vCPUs' waits for processors are needed */
#define MSG_NO_DELAYS 'N'     /* they are not; no answer */
#define MSG_LOG 'V'           /* another level of the log is in the handover; no answer */

#define MESSAGE_FDS 5 /* that may come with an answer */

struct answer {
	int result;   /* 0, perhaps with a descriptor, or -errno */
	bool resumed; /* of sockets_get() */
	bool removed; /* the descriptor is that of an old file that has another name, or none */
	uint64_t id;   /* likewise; 0: the connection ends with the worker */
	size_t kept;   /* of place_link(), where that was done apart */
	uint32_t bits; /* of delay_attach() */
	char why[128]; /* "", or what is wrong, for people */
};

/* @fd: given along if it is one; borrowed.  Return: 0 or -errno. */
int message_send(int socket, const struct answer *answer, int fd);

/* The same with several, at most MESSAGE_FDS. */
int message_send_fds(
	int socket, const struct answer *answer, const int *fds, size_t n_fds);

/*
 * Waits for one.  Return: its result, or -errno.  @ret_fd: the descriptor that came along, the
 * caller's; -1 if there was none.
 */
int message_receive(int socket, struct answer *answer, int *ret_fd);

/* The same, of as many as are asked for; if others came there are none. */
int message_receive_fds(int socket, struct answer *answer, int *ret_fds, size_t n_fds);

/* Connects to a unix socket.  Return: a non-blocking descriptor or -errno. */
int message_connect(const char *path);

/* The shared disk's path within the mount; the caller frees. */
char *message_shared_disk(const char *mount);

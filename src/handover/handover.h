/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a worker leaves to the next one, whenever and however it ends: shared memory that the
 * keeper makes and holds, and each worker maps.
 *
 * Theory of operation.  The kernel's FUSE session outlives the process that serves it, as
 * long as somebody holds /dev/fuse.  Whoever takes it over must know what was agreed on with
 * the kernel (FUSE_INIT), which requests the dead one had read and not answered, and what the
 * kernel was told to keep, which would never be taken back otherwise.  All that is written
 * here before the kernel, or a reader, can see anything of it.  A worker can die between any
 * two instructions, so what is here is valid after each single store:
 *   numbers  one store each
 *   slots    a request is there while its length is not 0, which the kernel stores and we
 *            clear (handover/slots.h)
 *   ledgers  a row is there while its key is not 0 (handover/ledger.h)
 *   texts    one of two halves is whole (handover/halves.h)
 *   bytes    as a row of a ledger says that they are there (handover/arena.h)
 *
 * A worker gone bad may have written anything, so whoever reads trusts no byte of it.  The
 * size is fixed and sealed; pages that nobody wrote take no memory.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "handover/arena.h"
#include "handover/halves.h"
#include "handover/layout.h"
#include "handover/ledger.h"
#include "handover/slots.h"
#include "util/limits.h"
#include "util/log.h"
#include "util/uuid.h"

struct strbuf;

/*
 * Changes with each change of what is behind it, as does the version of the part that it is in
 * (handover/layout.c), where another build finds it.  (Some test has a build of another one.)
 */
#ifndef HANDOVER_VERSION
#define HANDOVER_VERSION 8u
#endif
#define HANDOVER_MAGIC "vhostmd"

#define HANDOVER_THREADS 4u /* that read requests, each with a slot */
/*
 * One worker after another uses the one set of slots and the other: a thread of a dead one may
 * be in the kernel still, reading, when the next one begins.
 */
#define HANDOVER_SLOTS (2u * HANDOVER_THREADS)
#define HANDOVER_INIT_MAX 256u
#define HANDOVER_LATCHES (4u * LIMIT_VMS)
#define HANDOVER_CHANNELS LIMIT_VMS
#define HANDOVER_CHANNEL_PATH 256u
/* What the thread that serves channels is called: the keeper looks whether it has ended. */
#define HANDOVER_CHANNELS_THREAD "channels"

/*
 * A node that the kernel may have something of: its id; answers that led to it; and the text that
 * it was told, of whose size the kernel makes a read, so that a reader gets no other before that
 * is taken back.
 */
#define TOLD_TEXT 64u /* sizes of texts count modulo 64 in ids (fs/node.h) */
struct told_row {
	_Atomic uint64_t key;
	_Atomic uint64_t lookups;
	_Atomic uint32_t bytes; /* of the text; 0: it is not known, or longer */
	char text[TOLD_TEXT];
	_Atomic uint32_t least; /* bytes that the kernel may take for its size */
	int64_t time_ns;
};

/* What a disk's readers are in the middle of. */
struct latch_row {
	_Atomic uint64_t key; /* which latch */
	uint64_t
		run; /* that the image shows: of no other may it be served; 0: none, or all */
	uint64_t image;   /* in the arena */
	uint64_t counted; /* of a reader of the shared disk */
	uint64_t host_generation, vm_generation;
	int64_t moved_ns, changed_ns; /* monotonic */
	int64_t time_ns;              /* real: the image's identity */
};

/* Where a channel's connection stands (virtio/stand.h), in one of two halves. */
struct channel_half {
	uint32_t n_in, n_taken; /* of in, and of bytes that stand for those */
	int64_t since_ns;
	uint64_t reply; /* in the arena; 0: none */
	uint64_t sent;  /* of it */
	/* what was received behind that, and sent, the kernel writes here */
	struct mmsghdr receiving, sending;
	char in[LIMIT_REQUEST_BYTES];
};

struct channel_row {
	_Atomic uint64_t key;  /* which connection: of the keeper's */
	_Atomic uint64_t turn; /* its last bit says which half is in force */
	struct uuid vm;
	char path[HANDOVER_CHANNEL_PATH]; /* of the socket; "": it is too long */
	struct channel_half half[2];
};

struct handover_head {
	char magic[8];
	uint32_t version;
	uint32_t bytes; /* sizeof(struct handover) */
};

struct handover {
	struct handover_head head;
	struct layout_index index;

	_Atomic uint64_t generation;  /* of the newest publication */
	_Atomic uint64_t renderings;  /* of the status file so far */
	_Atomic uint64_t polled;      /* the greatest open file that was polled */
	_Atomic int64_t disk_time_ns; /* the latest time of any disk that was told */
	_Atomic uint64_t told_top, polls_top, latches_top; /* handover/ledger.h */

	/* the request by which the kernel began the session; once that was answered */
	_Atomic uint32_t init_bytes; /* 0: it was not yet */
	char init[HANDOVER_INIT_MAX];

	struct slot_note notes[HANDOVER_SLOTS]; /* of the slots */
	struct slot slots[HANDOVER_SLOTS];

	struct told_row told[LIMIT_ARMED];
	/* open files with somebody who waits for a change, by the kernel's number */
	struct ledger_row polls[LIMIT_POLLS];
	/* latches of disks; they name images in the arena (mdisk/disks.h) */
	struct latch_row latches[HANDOVER_LATCHES];
	_Atomic uint64_t channels_top;
	struct channel_row channels[HANDOVER_CHANNELS];
	struct arena_area arena;
	/* the last publication (model/checkpoint.h) */
	struct halves checkpoint;
	_Atomic uint32_t log_level; /* handover_log_level(): one more than it; 0: none */
};

/* No child of this process has it: for who starts others' commands. */
void handover_keep(struct handover *handover);

/* What the keeper knows better: it is set right for each worker. */
void handover_mend(struct handover *handover);

/* The last worker was ended by somebody else, and by no request that it took over. */
void handover_forgive(struct handover *handover);

/* Nothing of what was shown and read is believed any more. */
void handover_distrust(struct handover *handover);

/*
 * The level of the log that somebody has set while the daemon ran.
 * Return: false: nobody has, or what is there is none.
 */
bool handover_log_level(const struct handover *handover, enum log_level *ret);
void handover_set_log_level(struct handover *handover, enum log_level level);

/* Who is started next begins with that of his options. */
void handover_forget_log_level(struct handover *handover);

/* Its tables; the caller frees what he gets. */
struct ledger *handover_told(struct handover *handover);
struct ledger *handover_polls(struct handover *handover);
struct ledger *handover_latches(struct handover *handover);
struct ledger *handover_channels(struct handover *handover);

/* Makes an empty one.  Return: a descriptor (close-on-exec), or -errno. */
int handover_create(void);

/*
 * Maps what handover_create() made, by this or another build.
 * Return: NULL with @why if it is another layout.  handover_unmap().
 */
struct handover *handover_map(int fd, struct strbuf *why);
void handover_unmap(struct handover *handover); /* NULL is accepted */

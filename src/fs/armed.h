/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the kernel may have in its caches.  It is told everything with timeouts that never
 * end, so that nothing is asked twice; what changes must be taken back, and only what was
 * told.  Nothing of FUSE.  Any thread.
 *
 * Theory of operation.  Words: a *node* is told (its attributes and bytes belong together:
 * the bytes that are read later are those whose size was told), and under which *entry*, a
 * name in a directory.  A *record* says so of one node.  What was told is *taken back* by
 * a notification, and the kernel has *taken* that in when the notification returns.
 *
 * A record is in one of these states:
 *   IDLE      the kernel has nothing of the node but maybe its number
 *   TOLD      it may have attributes or bytes, of one version
 *   MIXED     it may have them of several versions: to be taken back in any case
 *   TAKING    a notification is under way; what was told is still in force for reads
 *   RETAKING  and something was read meanwhile: maybe after the kernel dropped the rest
 *
 *             armed_set()            armed_recall()  armed_collect()  armed_taken()
 *   IDLE      TOLD                   TOLD (1)        -                - (2)
 *   TOLD      TOLD, MIXED if newer   -               TAKING (3)       - (2)
 *   MIXED     -                      -               TAKING           - (2)
 *   TAKING    TOLD                   RETAKING        -                IDLE (2)
 *   RETAKING  MIXED                  -               -                MIXED, again at once
 *   (1) only what has moved, or was taken back just now while a read was on its way that goes by
 *       the old size: its old bytes, for a moment
 *   (2) MIXED, again later, if the kernel did not know the node and yet was given answers
 *       about it: one of them is still on its way to whom it is for
 *   (3) MIXED where it has moved, for a moment, and TAKING then
 *
 * armed_forgotten() leads to MIXED, again at once, if answers are left: the kernel may have
 * evicted the node and remember no notification when one of them comes.
 *
 * Beside the state there are the names: each entry that was told, until it is taken back.
 * All of them are when the node is gone or has *moved*, that is when they stand for another
 * node.  A node that has moved stays as it was told for a moment, for a reader who has it open
 * and has not come to its end.  Who keeps it open for longer goes on with it, and its size may
 * grow then: armed_outgrown().
 * A record is dropped when it is IDLE, has no names, no answers are out and the node is
 * gone or has changed; then the kernel cannot come to have anything of it.
 *
 * A record stands in the *group* of those that can change by the same publications.  It
 * goes to another when it is told or looked at and belongs there: groups are of VMs, and a
 * node may go from one to another.
 *
 * What must never be:
 *  - that the kernel has something of a node, or will have by an answer that is out, whose
 *    record is IDLE or was dropped
 *  - that it has an entry that is in no record
 *  - that a record stands in a group that does not change when the node does
 * tests/unit/test-armed.c holds this against a kernel.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct armed;
struct blob;
struct ledger;

struct armed *armed_new(void);
void armed_free(struct armed *armed); /* NULL is accepted */

/* Something that the process before us told the kernel. */
struct armed_heir {
	uint64_t ino;
	uint64_t parent; /* of the entry that leads there; 0: there is none */
	char *name;      /* of the entry; ours to free */
};

/*
 * Records are kept in @ledger from now on, which is taken over, for who comes after us.  What
 * stands there already was told by the process before us, nobody knows of which version: such
 * records begin as MIXED, with the text that was told last if it was short, and are taken back by
 * the next armed_collect().
 * @find: fills in the entry of a node, if it has one.  Before anything else is called.
 */
void armed_inherit(struct armed *armed, struct ledger *ledger,
	void (*find)(void *ctx, struct armed_heir *heir), void *ctx);

/*
 * All that the kernel sent while nobody served was received.  Until this is said, a read goes by
 * the old size however long ago that was taken back: it may have waited for as long.  For who
 * inherits, once; @now_ns: monotonic.
 */
void armed_caught_up(struct armed *armed, int64_t now_ns);

/* Something that is about to be told. */
struct armed_node {
	uint64_t ino;
	uint64_t group;      /* whose change can change it: of the scope, or ARMED_TREE */
	int64_t version;     /* differs when it has changed */
	uint64_t generation; /* of the view that it is told from */
	struct blob *told;   /* its bytes; NULL: none; a reference is taken */
	uint64_t parent;     /* of the entry under which it is told; 0: no entry */
	const char *name;    /* of the entry */
	bool entered;        /* told by an entry, be it one that never changes */
	bool moved;          /* its name stands for another node: ARMED_MOVED was */
};

#define ARMED_TREE UINT64_MAX

/*
 * @ret_entry: whether the entry can be taken back; if not, it must be told without a time.
 * Return: false if there is no room for the node: then it must be told without any times.
 */
bool armed_set(struct armed *armed, const struct armed_node *node, bool *ret_entry);

/*
 * The kernel has forgotten @n answers with armed_node.entered, or was not given them after
 * all.  While there are any it may have one that has not come to whom it is for, and then
 * neither knows the node nor can forget what it was told of it.
 */
void armed_forgotten(struct armed *armed, uint64_t ino, uint64_t n);

/* What is asked about a node. */
struct armed_question {
	size_t size; /* of its newest bytes */
	bool moved;  /* its name stands for another node, or will in a moment */
	bool reading; /* for a read, which goes by a size that was told, maybe before it was taken back */
	int64_t ns; /* monotonic */
};

/*
 * The bytes that were told of a node, referenced, NULL for none.
 * Return: false if nothing was told, or it was taken back and the node has not moved just now,
 * or it is not known what was told: then the newest are right.
 */
bool armed_recall(struct armed *armed, uint64_t ino,
	const struct armed_question *question, struct blob **ret_told);

/* The version that was told of a node last.  Return: false if nothing is known of it. */
bool armed_version(struct armed *armed, uint64_t ino, int64_t *ret);

/* Whether armed_recall() would find what was told, but for reads that are late; changes nothing. */
bool armed_shows_told(
	struct armed *armed, uint64_t ino, const struct armed_question *question);

/* Something to be taken back from the kernel. */
struct armed_change {
	uint64_t ino;
	bool node;       /* its attributes and bytes */
	uint64_t parent; /* of the entry to be taken back, 0: none */
	char *name;      /* the caller's to free */
};

enum armed_verdict {
	ARMED_SAME,
	ARMED_CHANGED,
	ARMED_MOVED, /* changed, and all its names stand for another node now */
	ARMED_GONE,
};

/* What is so now.  None may call back. */
struct armed_now {
	void *ctx;
	int64_t ns;
	uint64_t seen; /* generation of the view that was looked at last */
	/* whether anything of a group may have changed since then */
	bool (*touched)(void *ctx, uint64_t group);
	/* a node of which @version was told; *@ret_group, unless it is gone: its group now */
	enum armed_verdict (*check)(
		void *ctx, uint64_t ino, int64_t version, uint64_t *ret_group);
	/* whether a name stands for a node that is neither gone nor moved */
	bool (*stands)(void *ctx, uint64_t ino, const char *name);
};

/*
 * Goes through the records of the groups that were touched, or told of since, and takes out what is changed
 * or gone.  Of what has moved the entries are taken back at once and the node a moment
 * later.  All nodes must be taken back before any entry is, so that no name leads to bytes
 * that are older than those it led to before.
 * Return: how many; *@ret_again: when to look again for those left, 0: not for their sake.
 */
size_t armed_collect(struct armed *armed, const struct armed_now *now,
	struct armed_change **ret, int64_t *ret_again);

/*
 * The kernel has taken a change of a node in.  Until then what was told is still what its
 * reads must get, for it goes by the size that it was told.
 * @known: it had the node.
 * Return: when armed_collect() must be called to take it back again, because it was told
 * again meanwhile, or will come to be known with what it was told before; 0: need not.
 */
int64_t armed_taken(struct armed *armed, uint64_t ino, bool known, int64_t now_ns);

/*
 * Whether the kernel may go by a size that is less than @question's for reads of a node that was
 * taken back just now.  If so it is given as much from now on: the caller does so at once.  Of
 * one that has moved just now it goes on with what was told, and is asked again later.
 */
bool armed_outgrown(
	struct armed *armed, uint64_t ino, const struct armed_question *question);
void armed_changes_free(struct armed_change *changes, size_t n);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the kernel may have in its caches.  It is told everything with timeouts that never
 * end, so that nothing is asked twice; what changes must be taken back, and only what was
 * told.  A record says what was told of a node (its attributes and bytes belong together:
 * the bytes that are read later are those whose size was told) and under which name.
 * A name may move on to another node; the old one then stays as it is for a moment, for a
 * reader who has it open and has not come to its end.
 * Nothing of FUSE.  Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct armed;
struct blob;

struct armed *armed_new(void);
void armed_free(struct armed *armed); /* NULL is accepted */

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

/* Return: false if there is no room: then it must be told without timeouts. */
bool armed_set(struct armed *armed, const struct armed_node *node);

/*
 * The kernel has forgotten @n answers with armed_node.entered, or was not given them after
 * all.  While there are any it may have one that has not come to whom it is for, and then
 * neither knows the node nor can forget what it was told of it.
 */
void armed_forgotten(struct armed *armed, uint64_t ino, uint64_t n);

/*
 * Somebody watches the node: from now on he is not shown its old bytes for a moment longer
 * than others.
 */
void armed_watch(struct armed *armed, uint64_t ino);

/*
 * The bytes that were told of a node, referenced, NULL for none.
 * @moved: its name stands for another node, or will in a moment.
 * Return: false if nothing was told, or it was taken back and the node has not moved just now.
 */
bool armed_recall(struct armed *armed, uint64_t ino, bool moved, int64_t now_ns,
	struct blob **ret_told);

/* Something to be taken back from the kernel. */
struct armed_change {
	uint64_t ino;
	bool node;       /* its attributes and bytes */
	bool disk;       /* of a disk: then content_settle() */
	uint64_t parent; /* of the entry to be taken back, 0: none */
	char *name;      /* the caller's to free */
};

enum armed_verdict {
	ARMED_SAME,
	ARMED_CHANGED,
	ARMED_MOVED, /* changed, and its name stands for another node now */
	ARMED_GONE,
};

/*
 * Goes through the records of the groups that @touched says may have changed, and takes out
 * what @check finds changed or gone.  Of what has moved the entry is taken back at once and
 * the node a moment later.  All nodes must be taken back before any entry is, so
 * that no name leads to bytes that are older than those it led to before.
 * @check: of a node, given the version that was told and the name, NULL if it was told by
 * none or that was taken back; of one that is not gone it says whose change can change it
 * now.  Neither may call back.
 * Return: how many; *@ret_again: when to look again for those left, 0: not for their sake.
 */
size_t armed_collect(struct armed *armed, bool (*touched)(void *ctx, uint64_t group),
	enum armed_verdict (*check)(void *ctx, uint64_t ino, int64_t version,
		const char *name, uint64_t *group),
	void *ctx, int64_t now_ns, struct armed_change **ret, int64_t *ret_again);
/*
 * The kernel has taken a change of a node in.  Until then what was told is still what its
 * reads must get, for it goes by the size that it was told.
 * @known: it had the node.
 * Return: when armed_collect() must be called to take it back again, because it was told
 * again meanwhile, or will come to be known with what it was told before; 0: need not.
 */
int64_t armed_taken(struct armed *armed, uint64_t ino, bool known, int64_t now_ns);
void armed_changes_free(struct armed_change *changes, size_t n);

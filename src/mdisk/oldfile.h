/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The regular file that an older vhostmd left where the shared disk is expected.  A QEMU
 * that has it open knows nothing of a link in its place, so we go on writing it, by the old
 * protocol (formats: the metrics disk): busy, content, not busy.  Once a period, and never
 * longer or shorter.  When it is removed or moved away, the owner hears of it at once, for
 * the link; who has it open still sees it written, until nobody has.
 *
 * A thread of its own, since a file may be where writing takes long; it wakes for the period
 * and for what happens to the file.  Logs what is wrong, once for each change.
 */
#pragma once

#include <stdint.h>

struct blob;
struct oldfile;
struct strbuf;
struct tree;

struct oldfile_params {
	struct tree *tree;
	const char *path; /* where it was found */
	int64_t period_ns;
	/*
	 * On the thread: @path names something else, or nothing, now.  Asked again after
	 * oldfile_kick().  Return: a descriptor of another old file that is there, to be
	 * taken over; else -1.
	 */
	int (*removed)(void *ctx);
	/* On the thread: nobody has the file open any more, and it is closed. */
	void (*over)(void *ctx);
	void *ctx;
};

/*
 * @params: the path is copied, what the rest points to outlives the oldfile.  @fd: for
 * reading and writing; taken over, also on failure.
 * Return: 0, or -errno when threads or descriptors cannot be had.
 */
int oldfile_start(const struct oldfile_params *params, int fd, struct oldfile **ret);

/* After this nothing is written any more.  NULL is accepted. */
void oldfile_stop(struct oldfile *of);

/* Look at the path again now, with this period from now on.  Any thread. */
void oldfile_kick(struct oldfile *of, int64_t period_ns);

/* Appends lines for status.  Any thread. */
void oldfile_status(struct oldfile *of, struct strbuf *out);

/*
 * One writing.  When it fails the header may go on saying busy, and it is worth to try again.
 * @used: up to where something other than zeros may be; updated.
 * Return: 0 or -errno.
 */
int oldfile_write(int fd, const struct blob *image, uint64_t *used);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define FUSE_USE_VERSION 312

#include "fs/serve.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/uio.h>

#include <linux/fuse.h>

#include <fuse_lowlevel.h>

#include "core/blob.h"
#include "fs/content.h"
#include "fs/names.h"
#include "fs/node.h"
#include "fs/session.h"
#include "fs/watch.h"
#include "handover/handover.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/join.h"
#include "util/limits.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/strbuf.h"

/*
 * No handler waits for a collector, a VM or a disk, so threads are needed only to keep a
 * small read from standing behind the rendering of a large document, and to use a second
 * processor.  Four do that; more would only be woken in vain.
 */
#define N_THREADS HANDOVER_THREADS

/* Interrupts a thread that waits for a request, so that it sees the session's end. */
#define WAKE_SIGNAL SIGURG

/* How long serve_stop() waits for the entries' thread, which others can hold up. */
#define STOP_NS NS_PER_S

struct serve {
	struct session session; /* must be first */
	struct content *content;
	struct watch *watch;
	struct names *names; /* to be taken back */
	pthread_t threads[N_THREADS], notifier, entries_thread;
	_Atomic unsigned n_slots; /* taken by threads */
	unsigned n_threads;
	bool notifying, taking_back; /* those threads run */
	_Atomic bool stopping;
	_Atomic bool caught_up; /* with what was sent before */
	_Atomic bool lost;      /* which was told */
	void (*on_lost)(void *ctx);
	void *ctx;
};

static struct content *content_of(fuse_req_t req)
{
	const struct serve *serve = fuse_req_userdata(req);

	return serve->content;
}

/*
 * What may be kept is kept until the notifier takes it back.  The time only bounds for how
 * long files look alive after the daemon was killed.  The kernel never asks to open
 * anything: what a file holds does not depend on who opened it (fs/content.h).
 */
#define KEEP_S 60.0

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	/*
	 * Pages are dropped when a file's time moves on, and attributes looked at before each
	 * read, which are known of all files but disks: see fs/disk.h.  All else is emptied by
	 * notification.
	 */
	conn->want |= conn->capable & FUSE_CAP_AUTO_INVAL_DATA;
	/* a walk needs every entry's attributes: always tell them along */
	conn->want &= ~(unsigned)FUSE_CAP_READDIRPLUS_AUTO;
	conn->want |= conn->capable & FUSE_CAP_CACHE_SYMLINKS;
	/* nothing is ever written; a request must fit into a slot */
	if (conn->max_write > SLOT_BYTES / 2)
		conn->max_write = SLOT_BYTES / 2;
}

static double attr_timeout(const struct content_answer *answer)
{
	return answer->keep_attr ? KEEP_S : (double)answer->attr_ns / NS_PER_S;
}

static void fill_entry(const struct content_answer *answer, struct fuse_entry_param *ret)
{
	*ret = (struct fuse_entry_param){ .ino = answer->id,
		.generation = 1,
		.attr = answer->st,
		.attr_timeout = attr_timeout(answer),
		.entry_timeout = answer->keep_entry ? KEEP_S : 0 };
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct content *content = content_of(req);
	struct content_answer answer;
	struct fuse_entry_param e;
	int r = content_lookup(content, parent, name, fuse_req_ctx(req)->pid, &answer);

	if (r < 0) {
		/* without an entry nothing is remembered: it may come at any time */
		fuse_reply_err(req, -r);
		return;
	}
	fill_entry(&answer, &e);
	if (fuse_reply_entry(req, &e) < 0)
		content_forgotten(content, answer.id, 1);
	content_told(content, answer.generation);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct content *content = content_of(req);
	struct content_answer answer;
	int r = content_stat(content, ino, fuse_req_ctx(req)->pid, &answer);

	(void)fi;
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	fuse_reply_attr(req, &answer.st, attr_timeout(&answer));
	content_told(content, answer.generation);
}

/* The mount is read-only, but a chown must not be answered with ENOSYS in any case. */
static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
	struct fuse_file_info *fi)
{
	(void)ino;
	(void)attr;
	(void)to_set;
	(void)fi;
	fuse_reply_err(req, EROFS);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	_cleanup_strbuf_ struct strbuf target = STRBUF_INIT;
	struct content *content = content_of(req);
	uint64_t generation = 0;
	int r = content_readlink(content, ino, &target, &generation);

	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	fuse_reply_readlink(req, strbuf_str(&target));
	content_told(content, generation);
}

/* Once answered so, the kernel opens by itself. */
static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	fuse_reply_err(req, ENOSYS);
}

static void reply_bytes(fuse_req_t req, const struct content_bytes *bytes)
{
	static const char zeros[DISK_BLOCK_BYTES];
	size_t n = 0, left = bytes->zeros;
	size_t n_iov = 1 + (left + sizeof(zeros) - 1) / sizeof(zeros);
	_cleanup_free_ struct iovec *iov = xcalloc(n_iov, sizeof(*iov));

	iov[n++] = (struct iovec){ (void *)(uintptr_t)bytes->data, bytes->size };
	for (; left; n++) {
		size_t part = left < sizeof(zeros) ? left : sizeof(zeros);

		iov[n] = (struct iovec){ (void *)(uintptr_t)zeros, part };
		left -= part;
	}
	fuse_reply_iov(req, iov, (int)n);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
	struct fuse_file_info *fi)
{
	struct content *content = content_of(req);
	struct content_bytes bytes;
	int r = content_read(content, ino, fi->flags & O_DIRECT, fuse_req_ctx(req)->pid,
		(uint64_t)offset, size, &bytes);

	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	reply_bytes(req, &bytes);
	blob_unref(bytes.blob);
	content_told(content, bytes.generation);
}

/* Appends entries while they fit.  Return: the bytes used; *@ret_n: how many. */
static size_t add_entries(fuse_req_t req, char *buf, size_t size, bool plus,
	const struct node_entry *entries, const struct content_answer *answers, size_t n,
	size_t *ret_n)
{
	size_t used = 0, i;

	for (i = 0; i < n; i++) {
		const char *name = entries[i].name;
		const struct stat *st = &answers[i].st;
		struct fuse_entry_param e;
		size_t need;

		fill_entry(&answers[i], &e);
		/* ".", "..", documents and disks must not be counted as looked up */
		if (!answers[i].keep_attr)
			e.ino = 0;
		need = plus ? fuse_add_direntry_plus(req, buf + used, size - used, name,
				      &e, (off_t)entries[i].offset)
			    : fuse_add_direntry(req, buf + used, size - used, name, st,
				      (off_t)entries[i].offset);
		if (need > size - used)
			break;
		used += need;
	}
	*ret_n = i;
	return used;
}

static void reply_list(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, bool plus)
{
	struct content *content = content_of(req);
	struct node_entry *entries = NULL;
	_cleanup_free_ struct content_answer *answers = NULL;
	_cleanup_free_ char *buf = NULL;
	size_t n = 0, n_told = 0;
	/* as many as fit, if each name is short */
	size_t max = size / (plus ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET) + 1;
	int r = content_list(
		content, ino, (uint64_t)offset, max, plus, &entries, &answers, &n);

	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	buf = xmalloc(size);
	size_t used = add_entries(req, buf, size, plus, entries, answers, n, &n_told);

	if (fuse_reply_buf(req, buf, used) < 0)
		n_told = 0;
	for (size_t i = n_told; plus && i < n; i++)
		content_forgotten(content, answers[i].id, 1);
	if (n)
		content_told(content, answers[0].generation);
	node_entries_free(entries, n);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
	struct fuse_file_info *fi)
{
	(void)fi;
	reply_list(req, ino, size, offset, false);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
	struct fuse_file_info *fi)
{
	(void)fi;
	reply_list(req, ino, size, offset, true);
}

static void reply_xattr(fuse_req_t req, int r, const struct strbuf *value, size_t size)
{
	if (r < 0)
		fuse_reply_err(req, -r);
	else if (!size)
		fuse_reply_xattr(req, value->len);
	else if (size < value->len)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, strbuf_str(value), value->len);
}

static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	_cleanup_strbuf_ struct strbuf value = STRBUF_INIT;
	int r = content_getxattr(content_of(req), ino, name, &value);

	reply_xattr(req, r, &value, size);
}

static void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	_cleanup_strbuf_ struct strbuf names = STRBUF_INIT;
	int r = content_listxattr(content_of(req), ino, &names);

	reply_xattr(req, r, &names, size);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st = { .f_bsize = 4096, .f_frsize = 4096, .f_namemax = 255 };

	(void)ino;
	fuse_reply_statfs(req, &st);
}

/* Ids mean the same for ever; they are only counted. */
static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	content_forgotten(content_of(req), ino, n);
	fuse_reply_none(req);
}

/* ---- watching ---- */

/*
 * The kernel's number of the open file that this thread's request is about, if that is a
 * poll.  libfuse keeps it to itself, but it stands in the request, which is in memory as
 * all that are small (nothing is ever written here, so none is spliced).
 */
static _Thread_local uint64_t polled_file;

static void note_polled_file(const struct fuse_buf *buf)
{
	struct fuse_in_header header;
	struct fuse_poll_in body;
	const char *at = buf->mem;

	if (buf->size < sizeof(header) + sizeof(body) || (buf->flags & FUSE_BUF_IS_FD))
		return;
	memcpy(&header, at, sizeof(header));
	if (header.opcode != FUSE_POLL)
		return;
	memcpy(&body, at + sizeof(header), sizeof(body));
	polled_file = body.kh;
}

/*
 * As with files of sysfs: POLLPRI and POLLERR once the content differs from what it was
 * when this file was last polled.  POLLIN always: nobody waits to read.
 */
static void op_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
	struct fuse_pollhandle *ph)
{
	struct serve *serve = fuse_req_userdata(req);
	int64_t version = 0;
	int r = content_version(serve->content, ino, &version);

	(void)fi;
	if (r < 0) {
		if (ph)
			fuse_pollhandle_destroy(ph);
		fuse_reply_err(req, -r);
		return;
	}
	int64_t seen = version;
	bool changed = watch_poll(serve->watch, polled_file, ino, version, ph);

	/* it may have changed just before it was known that somebody waits */
	if (content_version(serve->content, ino, &version) < 0 || version != seen)
		content_wake(serve->content);
	fuse_reply_poll(req, POLLIN | (changed ? POLLPRI | POLLERR : 0));
}

static const struct fuse_lowlevel_ops ops = {
	.init = op_init,
	.lookup = op_lookup,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.open = op_open,
	.opendir = op_open,
	.read = op_read,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.statfs = op_statfs,
	.forget = op_forget,
	.poll = op_poll,
};

/* A thread has met the session's end: somebody else's doing, unless we are stopping. */
static void session_ended(struct serve *serve)
{
	if (!atomic_load(&serve->stopping) && !atomic_exchange(&serve->lost, true))
		serve->on_lost(serve->ctx);
}

static void process(struct session *session, const struct fuse_buf *buf)
{
	note_polled_file(buf);
	session_process(session, buf);
}

/* Once; what other threads have received and not answered, armed gives a moment for. */
static void look_if_caught_up(struct serve *serve)
{
	if (!atomic_load(&serve->caught_up) && session_is_idle(&serve->session) &&
		!atomic_exchange(&serve->caught_up, true))
		content_caught_up(serve->content);
}

static void *serve_main(void *arg)
{
	struct serve *serve = arg;
	struct fuse_session *fuse = serve->session.fuse;
	unsigned slot = atomic_fetch_add(&serve->n_slots, 1);
	struct fuse_buf buf = { 0 };

	while (!fuse_session_exited(fuse)) {
		look_if_caught_up(serve);
		int r = session_receive(&serve->session, slot, &buf);

		if (r == -EINTR)
			continue;
		if (r <= 0) {
			if (r < 0 && r != -ENODEV)
				log_error("reading requests: %s", strerror(-r));
			break;
		}
		process(&serve->session, &buf);
		session_answered(&serve->session, slot);
	}
	session_ended(serve);
	return NULL;
}

/* ---- the notifier ---- */

static int version_of(void *ctx, uint64_t ino, int64_t *ret)
{
	return content_version(ctx, ino, ret);
}

/*
 * Entries are taken back by a thread of their own.  The kernel locks the directory for it,
 * which anybody who lists that directory can keep locked, by letting its entries be written
 * to memory that is not there yet.  He holds up news of names, and of no value: a file
 * whose name should lead to another shows new values all the same (fs/content.h).
 */
static void *entries_main(void *arg)
{
	struct serve *serve = arg;
	uint64_t parent = 0;

	/* the kernel may have forgotten by itself: then there is no such thing */
	for (char *name; (name = names_take(serve->names, &parent)); free(name))
		fuse_lowlevel_notify_inval_entry(
			serve->session.fuse, parent, name, strlen(name));
	return NULL;
}

/* The names move. */
static void forget_entries(struct serve *serve, struct armed_change *changes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (changes[i].name)
			names_add(serve->names, changes[i].parent,
				TAKE_PTR(changes[i].name));
}

/* Before anybody asks for it: see content_outgrown(). */
static void give_what_outgrew(struct serve *serve, uint64_t ino)
{
	_cleanup_blob_ struct blob *blob = content_outgrown(serve->content, ino);
	struct fuse_bufvec bytes = FUSE_BUFVEC_INIT(blob ? blob->size : 0);

	if (!blob)
		return;
	bytes.buf[0].mem = (void *)(uintptr_t)blob->data;
	/* the kernel may have forgotten the node by itself: then nobody has it open */
	fuse_lowlevel_notify_store(serve->session.fuse, ino, 0, &bytes, 0);
}

/*
 * Of a directory the attributes alone: the kernel keeps listings, and knows by the time that one is
 * old.  Their pages are locked while they are listed, by anybody, into memory that is not there yet.
 */
static void forget_node(struct serve *serve, const struct armed_change *change)
{
	off_t from = node_is_directory(change->ino) ? -1 : 0;
	int r = fuse_lowlevel_notify_inval_inode(
		serve->session.fuse, change->ino, from, 0);

	content_taken(serve->content, change->ino, r != -ENOENT);
	if (r == 0)
		give_what_outgrew(serve, change->ino);
}

/*
 * Notifications come from threads that answer nothing: the kernel may wait, before it takes
 * one in, for an answer about the same file.
 */
static void *notifier_main(void *arg)
{
	struct serve *serve = arg;

	while (!atomic_load(&serve->stopping)) {
		struct armed_change *changes = NULL;
		size_t n = content_changes(serve->content, &changes);

		for (size_t i = 0; i < n; i++)
			if (changes[i].node)
				forget_node(serve, &changes[i]);
		/* now that no name can lead back to what is older */
		forget_entries(serve, changes, n);
		armed_changes_free(changes, n);
		watch_notify(serve->watch, version_of, serve->content);
	}
	return NULL;
}

static void on_wake_signal(int sig)
{
	(void)sig;
}

static void serve_free(struct serve *serve)
{
	session_close(&serve->session);
	watch_free(serve->watch);
	names_free(serve->names);
	free(serve);
}

/* Return: 0 or -errno; some may run then. */
static int start_threads(struct serve *serve)
{
	int r = 0;

	for (; r == 0 && serve->n_threads < N_THREADS; serve->n_threads += r == 0) {
		pthread_t *thread = &serve->threads[serve->n_threads];

		r = pthread_create(thread, NULL, serve_main, serve);
		if (r == 0)
			pthread_setname_np(*thread, "serve");
	}
	if (r == 0)
		r = pthread_create(&serve->notifier, NULL, notifier_main, serve);
	if (r)
		return -r;
	serve->notifying = true;
	pthread_setname_np(serve->notifier, "notify");
	r = pthread_create(&serve->entries_thread, NULL, entries_main, serve);
	if (r)
		return -r;
	serve->taking_back = true;
	pthread_setname_np(serve->entries_thread, "entries");
	return 0;
}

struct serve *serve_start(int fuse_fd, struct handover *handover, unsigned number,
	struct content *content, void (*on_lost)(void *ctx), void *ctx)
{
	struct sigaction wake = { .sa_handler = on_wake_signal };
	struct serve *serve = xcalloc(1, sizeof(*serve));

	serve->content = content;
	serve->on_lost = on_lost;
	serve->ctx = ctx;
	serve->names = names_new();
	if (session_open(serve, fuse_fd, handover, number, &ops, sizeof(ops)) < 0) {
		serve_free(serve);
		return NULL;
	}
	serve->watch = watch_new(&handover->polled, handover_polls(handover));
	session_resume(&serve->session, process);
	sigaction(
		WAKE_SIGNAL, &wake, NULL); /* without SA_RESTART: read() returns EINTR */
	int r = start_threads(serve);

	if (r == 0)
		return serve;
	log_error("the file system cannot be served: %s", strerror(-r));
	(void)serve_stop(serve);
	return NULL;
}

/* A signal may come just before the thread waits, so it is repeated until it worked. */
static void wake_and_join(pthread_t thread)
{
	for (;;) {
		struct timespec until = ns_to_timespec(clock_real_ns() + 10 * NS_PER_MS);

		pthread_kill(thread, WAKE_SIGNAL);
		if (pthread_timedjoin_np(thread, NULL, &until) != ETIMEDOUT)
			return;
	}
}

bool serve_stop(struct serve *serve)
{
	if (!serve)
		return true;
	/* while answers are still given, which a notification may wait for */
	atomic_store(&serve->stopping, true);
	content_wake(serve->content);
	if (serve->notifying)
		pthread_join(serve->notifier, NULL);
	names_close(serve->names);
	bool over = !serve->taking_back ||
		thread_join_until(serve->entries_thread, clock_mono_ns() + STOP_NS);

	fuse_session_exit(serve->session.fuse);
	for (unsigned i = 0; i < serve->n_threads; i++)
		wake_and_join(serve->threads[i]);
	if (!over)
		return false;
	serve_free(serve);
	return true;
}

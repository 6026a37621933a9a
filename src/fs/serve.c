/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define FUSE_USE_VERSION 312

#include "fs/serve.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/uio.h>

#include <fuse_lowlevel.h>

#include "core/blob.h"
#include "fs/content.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/limits.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/strbuf.h"

/*
 * No handler waits for a collector, a VM or a disk, so threads are needed only to keep a
 * small read from standing behind the rendering of a large document, and to use a second
 * processor.  Four do that; more would only be woken in vain.
 */
#define N_THREADS 4

/* Interrupts a thread that waits for a request, so that it sees the session's end. */
#define WAKE_SIGNAL SIGUSR1

struct serve {
	struct fuse_session *session;
	struct content *content;
	pthread_t threads[N_THREADS];
	unsigned n_threads;
};

static struct content *content_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static pid_t reader_of(fuse_req_t req)
{
	return fuse_req_ctx(req)->pid;
}

/*
 * Fixed directories never change.  Everything else may at the next publication, and the
 * kernel must ask again.
 */
static double entry_timeout(uint64_t id)
{
	return id < NODE_FIXED_END && node_type((enum node_kind)id) == S_IFDIR ? 86400
									       : 0;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = { .generation = 1 };
	int r = content_lookup(content_of(req), parent, name, reader_of(req), &e.attr);

	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	e.ino = e.attr.st_ino;
	e.entry_timeout = entry_timeout(e.ino);
	fuse_reply_entry(req, &e);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;
	int r = content_stat(content_of(req), ino, reader_of(req), &st);

	(void)fi;
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_attr(req, &st, 0);
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
	int r = content_readlink(content_of(req), ino, &target);

	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_readlink(req, strbuf_str(&target));
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	bool direct = false;
	int r = (fi->flags & O_ACCMODE) != O_RDONLY
		? -EROFS
		: content_open(content_of(req), ino, &direct);

	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	fi->direct_io = direct;
	fuse_reply_open(req, fi);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
	struct fuse_file_info *fi)
{
	static const char zeros[DISK_BLOCK_BYTES];
	_cleanup_blob_ struct blob *blob = NULL;
	const char *data = NULL;
	size_t n_data = 0, n_zeros = 0;
	int r = content_read(content_of(req), ino, reader_of(req), (uint64_t)offset, size,
		&blob, &data, &n_data, &n_zeros);

	(void)fi;
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	size_t n = 0, n_iov = 1 + (n_zeros + sizeof(zeros) - 1) / sizeof(zeros);
	_cleanup_free_ struct iovec *iov = xcalloc(n_iov, sizeof(*iov));

	iov[n++] = (struct iovec){ (void *)(uintptr_t)data, n_data };
	for (; n_zeros; n++) {
		size_t part = n_zeros < sizeof(zeros) ? n_zeros : sizeof(zeros);

		iov[n] = (struct iovec){ (void *)(uintptr_t)zeros, part };
		n_zeros -= part;
	}
	fuse_reply_iov(req, iov, (int)n);
}

/* Appends entries while they fit.  Return: the bytes used. */
static size_t add_entries(fuse_req_t req, char *buf, size_t size, bool plus,
	const struct node_entry *entries, const struct stat *stats, size_t n)
{
	size_t used = 0;

	for (size_t i = 0; i < n; i++) {
		const char *name = entries[i].name;
		bool dots = name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
		struct fuse_entry_param e = { .attr = stats[i], .generation = 1 };
		size_t need;

		/* "." and ".." must not be counted as looked up */
		e.ino = dots ? 0 : stats[i].st_ino;
		e.entry_timeout = entry_timeout(e.ino);
		need = plus ? fuse_add_direntry_plus(req, buf + used, size - used, name,
				      &e, (off_t)entries[i].offset)
			    : fuse_add_direntry(req, buf + used, size - used, name,
				      &stats[i], (off_t)entries[i].offset);
		if (need > size - used)
			break;
		used += need;
	}
	return used;
}

static void reply_list(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, bool plus)
{
	struct node_entry *entries = NULL;
	_cleanup_free_ struct stat *stats = NULL;
	_cleanup_free_ char *buf = NULL;
	size_t n = 0;
	int r = content_list(
		content_of(req), ino, (uint64_t)offset, plus, &entries, &stats, &n);

	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	buf = xmalloc(size);
	fuse_reply_buf(req, buf, add_entries(req, buf, size, plus, entries, stats, n));
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

/* Ids are not counted: they mean the same for ever. */
static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	(void)ino;
	(void)n;
	fuse_reply_none(req);
}

static const struct fuse_lowlevel_ops ops = {
	.lookup = op_lookup,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.open = op_open,
	.read = op_read,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.statfs = op_statfs,
	.forget = op_forget,
};

static void *serve_main(void *arg)
{
	struct serve *serve = arg;
	struct fuse_buf buf = { 0 };

	while (!fuse_session_exited(serve->session)) {
		int r = fuse_session_receive_buf(serve->session, &buf);

		if (r == -EINTR)
			continue;
		if (r <= 0) {
			if (r < 0 && r != -ENODEV)
				log_error("reading requests: %s", strerror(-r));
			break;
		}
		fuse_session_process_buf(serve->session, &buf);
	}
	free(buf.mem);
	return NULL;
}

static void on_wake_signal(int sig)
{
	(void)sig;
}

struct serve *serve_start(int fuse_fd, struct content *content)
{
	char name[] = "vhostmd", mountpoint[32];
	char *argv[] = { name, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	struct sigaction wake = { .sa_handler = on_wake_signal };
	struct serve *serve = xcalloc(1, sizeof(*serve));

	serve->content = content;
	serve->session = fuse_session_new(&args, &ops, sizeof(ops), content);
	fuse_opt_free_args(&args);
	snprintf(mountpoint, sizeof(mountpoint), "/dev/fd/%d", fuse_fd);
	if (!serve->session || fuse_session_mount(serve->session, mountpoint) != 0) {
		log_error("the FUSE session cannot be set up");
		if (serve->session)
			fuse_session_destroy(serve->session);
		else
			close(fuse_fd);
		free(serve);
		return NULL;
	}
	sigaction(
		WAKE_SIGNAL, &wake, NULL); /* without SA_RESTART: read() returns EINTR */
	for (; serve->n_threads < N_THREADS; serve->n_threads++) {
		pthread_t *thread = &serve->threads[serve->n_threads];

		if (pthread_create(thread, NULL, serve_main, serve) != 0)
			break;
		pthread_setname_np(*thread, "serve");
	}
	return serve;
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

void serve_stop(struct serve *serve)
{
	if (!serve)
		return;
	fuse_session_exit(serve->session);
	for (unsigned i = 0; i < serve->n_threads; i++)
		wake_and_join(serve->threads[i]);
	fuse_session_destroy(serve->session);
	free(serve);
}

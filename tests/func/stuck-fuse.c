/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A file whose reader sleeps where no signal reaches it: stuck-fuse MOUNTPOINT.  Reads of
 * `stuck` are taken and not answered before SIGUSR1 comes; then all give "1".
 */
#define FUSE_USE_VERSION 312

#include <errno.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool answering;
static fuse_req_t waiting[1024];
static size_t n_waiting;

static struct stat attributes(fuse_ino_t ino)
{
	return (struct stat){ .st_ino = ino,
		.st_mode = ino == 1 ? S_IFDIR | 0755 : S_IFREG | 0444,
		.st_nlink = 1,
		.st_size = ino == 1 ? 0 : 2 };
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = { .ino = strcmp(name, "stuck") ? 0 : 2 };

	(void)parent;
	e.attr = attributes(e.ino);
	if (e.ino)
		fuse_reply_entry(req, &e);
	else
		fuse_reply_err(req, ENOENT);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st = attributes(ino);

	(void)fi;
	fuse_reply_attr(req, &st, 0);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	fi->direct_io = 1;
	fuse_reply_open(req, fi);
}

static void answer(fuse_req_t req)
{
	fuse_reply_buf(req, "1\n", 2);
}

static void op_read(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	pthread_mutex_lock(&lock);
	if (off || size < 2)
		fuse_reply_buf(req, "", 0);
	else if (answering || n_waiting == sizeof(waiting) / sizeof(*waiting))
		answer(req);
	else
		waiting[n_waiting++] = req;
	pthread_mutex_unlock(&lock);
}

static void *answer_when_told(void *arg)
{
	int sig = 0;

	sigwait(arg, &sig);
	pthread_mutex_lock(&lock);
	answering = true;
	while (n_waiting)
		answer(waiting[--n_waiting]);
	pthread_mutex_unlock(&lock);
	return NULL;
}

static const struct fuse_lowlevel_ops ops = {
	.lookup = op_lookup,
	.getattr = op_getattr,
	.open = op_open,
	.read = op_read,
};

int main(int argc, char **argv)
{
	char *options[] = { argv[0], (char[]){ "-oallow_other" }, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(2, options);
	sigset_t told;
	pthread_t thread;

	if (argc != 2)
		return 2;
	sigemptyset(&told);
	sigaddset(&told, SIGUSR1);
	sigprocmask(SIG_BLOCK, &told, NULL);
	struct fuse_session *se = fuse_session_new(&args, &ops, sizeof(ops), NULL);

	if (!se || fuse_session_mount(se, argv[1]) != 0 ||
		pthread_create(&thread, NULL, answer_when_told, &told) != 0)
		return 1;
	fuse_set_signal_handlers(se);
	int r = fuse_session_loop(se);

	fuse_session_unmount(se);
	fuse_session_destroy(se);
	return r != 0;
}

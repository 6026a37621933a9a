/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mdisk/oldfile.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/blob.h"
#include "core/render_xml.h"
#include "core/snapshot.h"
#include "mdisk/image.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/limits.h"
#include "util/lock.h"
#include "util/log.h"
#include "util/loop.h"
#include "util/mem.h"
#include "util/strbuf.h"

/* A reader by the old protocol finds no end where all changes too often. */
#define PERIOD_MIN_NS (250 * NS_PER_MS)
static_assert(PERIOD_MIN_NS >= IMAGE_TICK_NS, "each image has a sum of its own");

struct oldfile {
	struct oldfile_params params; /* the path is ours */
	_Atomic int64_t period_ns;
	_Atomic bool kicked;
	struct loop *loop;

	/* the thread's, once it runs */
	int fd; /* -1: nobody has it open any more */
	int inotify_fd;
	int inotify_watch;
	uint64_t watch, timer;
	uint64_t generation; /* of what was written last; 0: nothing was */
	uint64_t used;       /* of oldfile_write() */
	bool told;           /* that it was removed */

	struct lock lock; /* guards what status shows */
	uint64_t writes;
	size_t left_out; /* metrics that have no room */
	int error;
	bool removed, over;
};

/* ---- one writing ---- */

static int write_at(int fd, const char *bytes, size_t n, uint64_t at)
{
	while (n) {
		ssize_t done = pwrite(fd, bytes, n, (off_t)at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? -errno : -EIO;
		bytes += done;
		at += (uint64_t)done;
		n -= (size_t)done;
	}
	return 0;
}

static int write_zeros(int fd, uint64_t from, uint64_t to)
{
	static const char zeros[65536];
	int r = 0;

	while (r == 0 && from < to) {
		size_t n = to - from < sizeof(zeros) ? to - from : sizeof(zeros);

		r = write_at(fd, zeros, n, from);
		from += n;
	}
	return r;
}

/* Before the header says busy: a full file system must not leave it so. */
static int reserve(int fd, uint64_t bytes)
{
	if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)bytes) == 0)
		return 0;
	return errno == EOPNOTSUPP || errno == ENOSYS ? 0 : -errno;
}

int oldfile_write(int fd, const struct blob *image, uint64_t *used)
{
	/* offsets: image.h */
	static const char busy[8] = "mvbd\0\0\0\1", stable[4] = { 0 };
	const char *data = image->data;
	uint64_t end = image->size;
	int r = reserve(fd, end > *used ? end : *used);

	if (r == 0)
		r = write_at(fd, busy, sizeof(busy), 0);
	if (r == 0 && end > *used)
		*used = end;
	if (r == 0)
		r = write_at(fd, data + IMAGE_HEADER_BYTES, end - IMAGE_HEADER_BYTES,
			IMAGE_HEADER_BYTES);
	if (r == 0)
		r = write_zeros(fd, end, *used);
	if (r == 0)
		r = write_at(fd, data + 8, 8, 8);
	if (r == 0)
		r = write_at(fd, stable, sizeof(stable), 4);
	if (r == 0)
		*used = end;
	return r;
}

/* ---- the file ---- */

/* Up to where something other than zeros may be in the file as it was found. */
static uint64_t find_used(int fd, uint64_t size)
{
	struct image_header h;
	char header[IMAGE_HEADER_BYTES];

	if (pread(fd, header, sizeof(header), 0) != sizeof(header) ||
		image_parse_header(header, sizeof(header), &h) < 0 ||
		h.length > size - IMAGE_HEADER_BYTES)
		return size;
	return IMAGE_HEADER_BYTES + h.length;
}

static void drop_file(struct oldfile *of)
{
	if (of->inotify_watch >= 0)
		inotify_rm_watch(of->inotify_fd, of->inotify_watch);
	of->inotify_watch = -1;
	close_p(&of->fd);
	of->fd = -1;
}

/* By the inode: a name may be exchanged.  Without it we look once a period. */
static void take_file(struct oldfile *of, int fd)
{
	_cleanup_free_ char *self = xasprintf("/proc/self/fd/%d", fd);
	struct stat st;

	drop_file(of);
	of->fd = fd;
	of->generation = 0;
	if (of->inotify_fd >= 0)
		of->inotify_watch = inotify_add_watch(
			of->inotify_fd, self, IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF);
	if (fstat(fd, &st) == 0 && st.st_size >= LIMIT_DISK_BYTES_MIN)
		of->used = find_used(fd, (uint64_t)st.st_size);
	of->told = false;
}

/* True if @path does not lead to our file, as far as can be seen. */
static bool is_removed(const struct oldfile *of)
{
	struct stat ours, there;

	if (of->fd < 0 || fstat(of->fd, &ours) < 0 || ours.st_nlink == 0)
		return true;
	if (lstat(of->params.path, &there) < 0)
		return errno == ENOENT || errno == ENOTDIR;
	return ours.st_ino != there.st_ino || ours.st_dev != there.st_dev;
}

/*
 * Only the file's owner and root get to know; else it is written until the end.  A lease is
 * given to who has a file alone.  Should somebody open it in the moment that we have it,
 * the signal that tells us of that is one that does nothing.
 */
static bool is_alone(int fd)
{
	fcntl(fd, F_SETSIG, SIGURG);
	if (fcntl(fd, F_SETLEASE, F_WRLCK) < 0)
		return false;
	fcntl(fd, F_SETLEASE, F_UNLCK);
	return true;
}

/* Finds out what became of the file. */
static void look(struct oldfile *of)
{
	bool removed = is_removed(of);

	if (atomic_exchange(&of->kicked, false))
		of->told = false;
	if (removed && !of->told) {
		int other = of->params.removed(of->params.ctx);

		of->told = true;
		if (other >= 0) {
			take_file(of, other);
			removed = false;
		}
	}
	if (removed && of->fd >= 0 && is_alone(of->fd)) {
		log_info("nobody has the old %s open any more", of->params.path);
		drop_file(of);
		of->params.over(of->params.ctx);
	}
	lock_take(&of->lock);
	of->removed = removed;
	of->over = of->fd < 0;
	lock_release(&of->lock);
}

/* ---- writing ---- */

static void note_result(struct oldfile *of, int r)
{
	lock_take(&of->lock);
	int before = of->error;

	of->error = r;
	of->writes += r == 0;
	lock_release(&of->lock);
	if (r == -EFBIG && r != before)
		log_error("%s is too small: it keeps its last content", of->params.path);
	else if (r < 0 && r != before)
		log_error("%s cannot be written: %s", of->params.path, strerror(-r));
}

static void note_left_out(struct oldfile *of, size_t n)
{
	lock_take(&of->lock);
	bool news = n && !of->left_out;

	of->left_out = n;
	lock_release(&of->lock);
	if (news)
		log_error("%s is too small: the last %zu metrics are left out",
			of->params.path, n);
}

static int write_view(struct oldfile *of, struct view *view)
{
	_cleanup_strbuf_ struct strbuf content = STRBUF_INIT;
	const struct blob *all = render_xml_shared(view);
	struct stat st;
	size_t left_out = 0;

	if (fstat(of->fd, &st) < 0)
		return -errno;
	if (st.st_size < LIMIT_DISK_BYTES_MIN)
		return -EFBIG;
	strbuf_add(&content, all->data, all->size);
	struct blob *image = image_new(&content, view->generation, all->time_ns,
		clock_mono_ns(), (uint64_t)st.st_size, &left_out);

	note_left_out(of, left_out);
	int r = oldfile_write(of->fd, image, &of->used);

	if (r == 0)
		of->generation = view->generation;
	blob_unref(image);
	return r;
}

/* Return: false if there is nothing to write yet. */
static bool write_newest(struct oldfile *of)
{
	_cleanup_view_ struct view *view = tree_view(of->params.tree);

	if (!view->host->collected && !view->n_vms)
		return false;
	if (of->generation == view->generation)
		return true;
	note_result(of, write_view(of, view));
	return true;
}

/* ---- the thread ---- */

static void on_beat(void *ctx)
{
	struct oldfile *of = ctx;
	int64_t period_ns = atomic_load(&of->period_ns);

	look(of);
	if (of->fd < 0) {
		loop_set_timer(of->loop, of->timer, LOOP_NEVER);
		return;
	}
	if (!write_newest(of) || period_ns < PERIOD_MIN_NS)
		period_ns = PERIOD_MIN_NS;
	loop_set_timer(of->loop, of->timer, clock_mono_ns() + period_ns);
}

static void on_file_changed(void *ctx, uint32_t events)
{
	struct oldfile *of = ctx;
	char buf[4096];

	(void)events;
	while (read(of->inotify_fd, buf, sizeof(buf)) > 0)
		;
	look(of);
}

static void oldfile_free(struct oldfile *of)
{
	drop_file(of);
	loop_free(of->loop);
	close_p(&of->inotify_fd);
	lock_done(&of->lock);
	free((char *)(uintptr_t)of->params.path);
	free(of);
}

int oldfile_start(const struct oldfile_params *params, int fd, struct oldfile **ret)
{
	struct oldfile *of = xcalloc(1, sizeof(*of));

	of->params = *params;
	of->params.path = xstrdup(params->path);
	of->fd = of->inotify_watch = -1;
	of->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	atomic_init(&of->period_ns, params->period_ns);
	lock_init(&of->lock);
	take_file(of, fd);
	int r = loop_new(on_beat, of, &of->loop);

	if (r == 0) {
		of->timer = loop_add_timer(of->loop, 0, on_beat, of);
		if (of->inotify_fd >= 0)
			loop_add_fd(of->loop, of->inotify_fd, EPOLLIN, on_file_changed,
				of, &of->watch);
		r = loop_start_thread(of->loop, "old-file");
	}
	if (r < 0) {
		oldfile_free(of);
		return r;
	}
	*ret = of;
	return 0;
}

void oldfile_stop(struct oldfile *of)
{
	if (!of)
		return;
	loop_end_thread(of->loop);
	oldfile_free(of);
}

void oldfile_kick(struct oldfile *of, int64_t period_ns)
{
	atomic_store(&of->period_ns, period_ns);
	atomic_store(&of->kicked, true);
	loop_wake(of->loop);
}

void oldfile_status(struct oldfile *of, struct strbuf *out)
{
	lock_take(&of->lock);
	strbuf_addf(out,
		"disk.old_file: %s%s%s\ndisk.old_file.writes: %" PRIu64
		"\ndisk.old_file.left_out: %zu\n",
		of->over              ? "nobody has it open any more"
			: of->removed ? "removed, written for who has it open"
				      : "written until it is removed",
		of->error ? ", failing: " : "", of->error ? strerror(-of->error) : "",
		of->writes, of->left_out);
	lock_release(&of->lock);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "shared_path.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "keeper/keeper.h"
#include "mdisk/oldfile.h"
#include "util/cleanup.h"
#include "util/lock.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/strbuf.h"

struct shared_path {
	struct tree *tree;
	int keeper_fd;
	const char *mount;
	char *path; /* main thread; for oldfile's, too, which runs only while it stays */

	struct lock lock; /* guards the rest; outside oldfile's */
	char *state;      /* for status; NULL: there is no path */
	struct oldfile *oldfile;
};

struct shared_path *shared_path_new(struct tree *tree, int keeper_fd, const char *mount)
{
	struct shared_path *sp = xcalloc(1, sizeof(*sp));

	sp->tree = tree;
	sp->keeper_fd = keeper_fd;
	sp->mount = mount;
	lock_init(&sp->lock);
	return sp;
}

/* @state: taken over; NULL is accepted.  Return: whether it is another than before. */
static bool set_state(struct shared_path *sp, char *state)
{
	lock_take(&sp->lock);
	_cleanup_free_ char *before = sp->state;
	bool news = !before || !state || strcmp(before, state) != 0;

	sp->state = state;
	lock_release(&sp->lock);
	return news;
}

/*
 * Has the path taken, and says how it stands with it: what is in the way each time that
 * somebody asks.  Main thread, or oldfile's.
 * Return: an old file, the caller's.
 */
static struct keeper_old_file take(struct shared_path *sp)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	struct keeper_old_file old;
	int r = keeper_place_disk(sp->keeper_fd, sp->mount, sp->path, &old, &why);
	bool there = old.fd >= 0 && !old.removed;
	bool news = set_state(sp,
		!sp->path ? NULL
			: r < 0
			? xasprintf("%s: not linked: %s", sp->path, strbuf_str(&why))
			: !there ? xasprintf("%s: linked", sp->path)
				 : xasprintf("%s: a file of an older vhostmd", sp->path));

	if (r == -EEXIST)
		log_error("%s exists and is not this daemon's (%s): domains that use it "
			  "will not see metrics; move it away and reload vhostmd, or "
			  "attach %s/disk/vhostmd0.img",
			sp->path, strbuf_str(&why), sp->mount);
	else if (r < 0)
		log_error("%s cannot be linked to the shared disk: %s",
			sp->path ? sp->path : "what was linked", strbuf_str(&why));
	else if (there)
		log_warning(
			"%s is of an older vhostmd: it is written on as it was, until "
			"it is removed; then new guests get the shared disk by a link",
			sp->path);
	else if (sp->path && news)
		log_info("%s is linked to the shared disk", sp->path);
	if (old.removed && news)
		log_info("the old %s was removed, and is written on for who has it open",
			sp->path);
	return old;
}

static int on_removed(void *ctx)
{
	struct keeper_old_file old = take(ctx);

	if (!old.removed)
		return old.fd;
	close_p(&old.fd); /* it is the one that we have */
	return -1;
}

static void on_over(void *ctx)
{
	const struct shared_path *sp = ctx;

	keeper_report_old_over(sp->keeper_fd);
}

static void start_oldfile(struct shared_path *sp, int fd, int64_t period_ns)
{
	const struct oldfile_params params = { .tree = sp->tree,
		.path = sp->path,
		.period_ns = period_ns,
		.removed = on_removed,
		.over = on_over,
		.ctx = sp };
	struct oldfile *oldfile = NULL;
	int r = oldfile_start(&params, fd, &oldfile);

	if (r < 0)
		log_error("%s cannot be written: %s", sp->path, strerror(-r));
	lock_take(&sp->lock);
	sp->oldfile = oldfile;
	lock_release(&sp->lock);
}

static void stop_oldfile(struct shared_path *sp)
{
	lock_take(&sp->lock);
	struct oldfile *oldfile = TAKE_PTR(sp->oldfile);

	lock_release(&sp->lock);
	oldfile_stop(oldfile);
}

void shared_path_free(struct shared_path *sp)
{
	if (!sp)
		return;
	stop_oldfile(sp);
	free(sp->path);
	free(sp->state);
	lock_done(&sp->lock);
	free(sp);
}

static bool same_path(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

void shared_path_set(struct shared_path *sp, const char *path, int64_t period_ns)
{
	bool same = same_path(sp->path, path);

	if (same && sp->oldfile) {
		oldfile_kick(sp->oldfile, period_ns);
		return;
	}
	if (same && !path)
		return;
	stop_oldfile(sp);
	free(sp->path);
	sp->path = path ? xstrdup(path) : NULL;
	struct keeper_old_file old = take(sp);

	if (old.fd >= 0)
		start_oldfile(sp, old.fd, period_ns);
}

void shared_path_status(struct shared_path *sp, struct strbuf *out)
{
	lock_take(&sp->lock);
	if (sp->state)
		strbuf_addf(out, "disk.path: %s\n", sp->state);
	if (sp->oldfile)
		oldfile_status(sp->oldfile, out);
	lock_release(&sp->lock);
}

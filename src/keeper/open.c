/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How the keeper begins, and what it leaves behind: nothing. */
#include "keeper/private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "handover/layout.h"
#include "keeper/apart.h"
#include "keeper/device.h"
#include "keeper/manager.h"
#include "keeper/message.h"
#include "keeper/mount.h"
#include "keeper/sockets.h"
#include "keeper/state.h"
#include "keeper/upgrade.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/loop.h"
#include "util/mem.h"
#include "util/pidfile.h"
#include "util/signals.h"
#include "util/strbuf.h"

sigset_t keeper_signals(void)
{
	sigset_t set;

	signals_handled(&set);
	sigaddset(&set, SIGCHLD);
	return set;
}

void keeper_remove_link(struct keeper *k)
{
	if (k->link)
		apart_remove(k->link, k->target, k->params->worker_uid, k->link_kept);
}

void keeper_close_loop(struct keeper *k)
{
	sockets_free(TAKE_PTR(k->sockets));
	loop_free(TAKE_PTR(k->loop));
	close_p(&k->signal_fd);
	close_p(&k->mounts_fd);
	k->signal_fd = k->mounts_fd = -1;
}

void keeper_free(struct keeper *k)
{
	while (k->workers) {
		struct worker *w = k->workers;

		k->workers = w->next;
		close_p(&w->thread_fd);
		free(w);
	}
	upgrade_done(k);
	delays_drop(&k->delays, false);
	close_p(&k->old_file_fd);
	free(k->link);
	free(k->target);
	good_conf_done(&k->good_conf);
	free(k);
}

void keeper_close(struct keeper *k)
{
	const struct keeper_params *params = k->params;

	bool listed = k->mounted && mount_is_listed(params->mount);

	/* what somebody mounted there instead is his; if a vhostmd, so is the link */
	if (!k->lost || !listed)
		keeper_remove_link(k);
	int r = 0;

	if (listed && !k->lost) {
		/* nobody answers any more: whoever waits for that gets an error */
		mount_abort(params->mount);
		if (mount_is_listed(params->mount))
			r = mount_detach(params->mount);
	}
	if (r < 0)
		log_error("%s cannot be unmounted: %s", params->mount, strerror(-r));
	if (k->created_dir)
		rmdir(params->mount);
	/* systemd has them for the next one, as the file system: it may be a restart */
	listeners_close(&k->listeners, k->mounted || !k->stopping);
	pidfile_release(params->pid_file, k->pid_fd);
	delays_drop(&k->delays, true);
	keeper_close_loop(k);
	close_p(&k->fuse_fd);
	handover_unmap(k->handover);
	close_p(&k->handover_fd);
	close_p(&k->socket);
	close_p(&k->ready_fd);
	keeper_free(k);
}

static int take_pid_file(struct keeper *k)
{
	pid_t pid = 0;
	int r = pidfile_acquire(k->params->pid_file, &k->pid_fd, &pid);

	if (r == -EEXIST)
		log_error(
			"a vhostmd is already running with pid %d, says %s; stop it, or choose "
			"other places with --pid-file and --mount",
			(int)pid, k->params->pid_file);
	else if (r < 0)
		log_error("pid file %s: %s", k->params->pid_file, strerror(-r));
	return r;
}

static int take_mount(struct keeper *k)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;

	if (k->params->fuse_fd >= 0) {
		k->fuse_fd = k->params->fuse_fd;
		return 0;
	}
	int r = mount_prepare(k->params->mount, &k->created_dir, &why);

	if (r == 0)
		r = mount_attach(k->params->mount, &k->fuse_fd, &why);
	if (r < 0)
		log_error("%s", strbuf_str(&why));
	k->mounted = r == 0;
	return r;
}

static int take_listeners(struct keeper *k)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;

	if (k->params->channels)
		listeners_adopt(&k->listeners, k->params->channels);
	listeners_drop_unwished(&k->listeners, k->params->listen);
	int r = listeners_open(
		&k->listeners, k->params->listen, k->params->fuse_fd >= 0, &why);

	if (r < 0)
		log_error("%s", strbuf_str(&why));
	else if (why.len)
		log_warning("%s", strbuf_str(&why));
	return r;
}

void keeper_listen_again(struct keeper *k)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;

	listeners_open(&k->listeners, k->params->listen, !k->mounted, &why);
	if (why.len)
		log_error("%s", strbuf_str(&why));
}

static int make_handover(struct keeper *k)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;

	k->handover_fd = handover_create();
	if (k->handover_fd < 0)
		strbuf_adds(&why, strerror(-k->handover_fd));
	else
		k->handover = handover_map(k->handover_fd, &why);
	if (k->handover)
		return 0;
	log_error("shared memory: %s", strbuf_str(&why));
	return -ENOMEM;
}

/* Return: @k; NULL: what was before us can go on. */
static struct keeper *take_over(struct keeper *k)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;

	if (upgrade_take_over(k, &why) == 0)
		return k;
	log_error("what was handed on: %s", strbuf_str(&why));
	k->upgrade.before_fd = -1;
	keeper_free(k);
	return NULL;
}

/* What is stored is of another layout. */
static int fetch(struct keeper *k, struct strbuf *why)
{
	int fd = layout_migrate(k->handover_fd, why);

	if (fd < 0)
		return fd;
	close(k->handover_fd);
	k->handover_fd = fd;
	k->handover = handover_map(fd, why);
	if (!k->handover)
		return -ENOMEM;
	if (manager_store_handover(fd) < 0)
		log_warning(
			"systemd does not store what a next process would go on with");
	return 0;
}

/*
 * The session of a keeper that has died: its worker is dead, too, and of what that left all is
 * there.  Return: as take_mount().
 */
static int resume(struct keeper *k)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;

	k->fuse_fd = k->params->fuse_fd;
	k->handover_fd = k->params->handover_fd;
	k->handover = handover_map(k->handover_fd, &why);
	if (!k->handover && fetch(k, &why) == 0)
		strbuf_clear(&why);
	if (k->handover && device_is_over(k->fuse_fd))
		strbuf_adds(&why, "the file system is gone");
	if (!why.len) {
		k->n_workers = 1;
		k->resumed = true;
		/* which the keeper before us may have made */
		k->link = k->params->link ? xstrdup(k->params->link) : NULL;
		k->link_kept = SIZE_MAX;
		return 0;
	}
	log_error("what systemd stored: %s", strbuf_str(&why));
	/* else we would be started with it again; readers get errors when nobody has it */
	manager_forget();
	return -ECONNABORTED;
}

static int begin(struct keeper *k)
{
	int r = make_handover(k);

	if (r == 0)
		r = take_mount(k);
	/* where nobody stores it the next one cannot go on, but we can begin */
	if (r == 0 && k->params->fuse_fd >= 0 &&
		manager_store_handover(k->handover_fd) < 0)
		log_warning(
			"systemd does not store what a next process would go on with");
	return r;
}

struct keeper *keeper_open(const struct keeper_params *params)
{
	struct keeper *k = xcalloc(1, sizeof(*k));
	sigset_t set = keeper_signals();

	/* from here on they wait for watch_worker(): nothing may be left behind */
	sigprocmask(SIG_BLOCK, &set, NULL);
	/* nor where nobody reads the log any more */
	signal(SIGPIPE, SIG_IGN);
	*k = (struct keeper){ .params = params,
		.pid_fd = -1,
		.fuse_fd = -1,
		.handover_fd = -1,
		.ready_fd = -1,
		.socket = -1,
		.signal_fd = -1,
		.mounts_fd = -1,
		.old_file_fd = -1,
		.delays = KEEPER_DELAYS_INIT,
		.upgrade = UPGRADE_NONE,
		.target = message_shared_disk(params->mount) };
	k->upgrade.program =
		xstrdup(params->state ? params->state->program : params->program);
	if (params->state)
		return take_over(k);
	bool stored = params->fuse_fd >= 0 && params->handover_fd >= 0;

	if (take_pid_file(k) < 0 || take_listeners(k) < 0 ||
		(stored ? resume(k) : begin(k)) < 0) {
		keeper_close(k);
		return NULL;
	}
	return k;
}

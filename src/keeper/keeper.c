/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keeper/keeper.h"

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "keeper/mount.h"
#include "keeper/place.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/lock.h"
#include "util/log.h"
#include "util/loop.h"
#include "util/mem.h"
#include "util/pidfile.h"
#include "util/signals.h"
#include "util/strbuf.h"
#include "util/wire.h"

/* What an end in good order takes at most; who asks twice does not cut it short. */
#define PATIENCE_NS (5 * NS_PER_S)

/* Messages: the worker sends a letter and a text, the keeper answers requests. */
#define MSG_READY 'R'
#define MSG_CONNECT 'C'
#define MSG_LINK 'L' /* where the shared disk is expected, "" for nowhere */

struct answer {
	int result;    /* 0, perhaps with a descriptor, or -errno */
	char why[128]; /* "", or what is wrong, for people */
};

struct keeper {
	const struct keeper_params *params;
	char *link;       /* to be removed in the end; NULL */
	size_t link_kept; /* place_remove() */
	char *target;     /* of the link */
	int pid_fd;
	int fuse_fd;
	int ready_fd;
	bool created_dir;
	bool mounted;
	bool lost; /* somebody unmounted it */
	pid_t worker;
	int worker_status; /* once it has ended: as loop_add_child() says */
	int socket;        /* to the worker; -1: one end is shut */
	struct loop *loop;
	uint64_t socket_watch;
	uint64_t patience; /* the timer that kills the worker; set when asked twice */
	int signal_fd, mounts_fd;
	bool stopping;
	int64_t asked_mono_ns;
	bool ready;
};

static void notify_manager(const char *state)
{
#ifdef HAVE_SYSTEMD
	sd_notify(0, state);
#else
	(void)state;
#endif
}

/* ---- the link ---- */

/* The shared disk's path within the mount; the caller frees. */
static char *shared_disk(const char *mount)
{
	return xasprintf("%s/disk/vhostmd0.img", mount);
}

static void remove_link(struct keeper *k)
{
	if (k->link)
		place_remove(k->link, k->target, k->params->worker_uid, k->link_kept);
}

/* Another one is to be removed in the end, or none: "". */
static void replace_link(struct keeper *k, const char *link)
{
	if (k->link && !strcmp(k->link, link))
		return;
	remove_link(k);
	free(k->link);
	k->link = *link ? xstrdup(link) : NULL;
	k->link_kept = SIZE_MAX;
}

/*
 * A worker gone bad must not have root make links wherever it likes, so we make the one that
 * we were started with.
 */
static int make_link(struct keeper *k, struct strbuf *why)
{
	size_t kept = SIZE_MAX;

	if (!k->params->link || strcmp(k->link, k->params->link) != 0)
		return -EPERM;
	int r = place_link(k->link, k->target, &kept, why);

	if (r == 0 && kept < k->link_kept)
		k->link_kept = kept;
	return r;
}

/* ---- connecting for the worker ---- */

/* Through the inode, so that the name's length does not matter and cannot be exchanged. */
static int connect_inode(int inode_fd)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd =
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d", inode_fd);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static int connect_path(const char *path)
{
	_cleanup_close_ int inode = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (inode < 0 || fstat(inode, &st) < 0)
		return -errno;
	return S_ISSOCK(st.st_mode) ? connect_inode(inode) : -ENOTSOCK;
}

/*
 * A worker gone bad must not reach other sockets, a hypervisor's monitor for instance, so
 * there is only one name that it may have connected.
 */
static bool is_channel(const char *path)
{
	const char *name = strrchr(path, '/');

	return path[0] == '/' && name && !strcmp(name + 1, WIRE_CHANNEL_NAME);
}

/* @fd: given to the worker if it is one, and closed here.  @why: NULL, or of an error. */
static void answer(int socket, int result, int fd, const struct strbuf *why)
{
	struct answer answer = { .result = result };
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { &answer, sizeof(answer) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (why)
		snprintf(answer.why, sizeof(answer.why), "%s", strbuf_str(why));
	if (fd >= 0) {
		msg.msg_control = control;
		msg.msg_controllen = sizeof(control);
		struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	}
	if (sendmsg(socket, &msg, MSG_NOSIGNAL) < 0)
		log_error("answering the worker: %s", strerror(errno));
	close_p(&fd);
}

static void answer_connect(struct keeper *k, const char *path)
{
	int fd = is_channel(path) ? connect_path(path) : -EPERM;

	answer(k->socket, fd < 0 ? fd : 0, fd, NULL);
}

static void answer_link(struct keeper *k, const char *link)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	int fd = -1, r = 0;

	replace_link(k, link);
	if (k->link)
		r = place_open_old(k->link, &fd, &why);
	if (r == -ENOENT)
		r = make_link(k, &why);
	answer(k->socket, r, fd, &why);
}

static void become_ready(struct keeper *k)
{
	char ok = 0;

	if (k->ready)
		return;
	k->ready = true;
	if (k->ready_fd >= 0 && write(k->ready_fd, &ok, 1) < 0)
		log_error("reporting readiness: %s", strerror(errno));
	close_p(&k->ready_fd);
	k->ready_fd = -1;
	notify_manager("READY=1");
	log_info("serving %s", k->params->mount);
}

static void on_message(void *ctx, uint32_t events)
{
	struct keeper *k = ctx;
	char msg[PATH_MAX + 1];
	ssize_t n = recv(k->socket, msg, sizeof(msg) - 1, MSG_DONTWAIT);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 1) {
		/* the worker is about to end, or has nothing more to ask for */
		loop_del(k->loop, &k->socket_watch);
		close(TAKE_FD(k->socket));
		return;
	}
	msg[n] = '\0';
	if (msg[0] == MSG_READY)
		become_ready(k);
	else if (msg[0] == MSG_CONNECT)
		answer_connect(k, msg + 1);
	else if (msg[0] == MSG_LINK)
		answer_link(k, msg + 1);
}

/* ---- the worker's side ---- */

static struct lock request_lock = LOCK_INIT;

void keeper_report_ready(int keeper_fd)
{
	char msg = MSG_READY;

	if (send(keeper_fd, &msg, 1, MSG_NOSIGNAL) < 0)
		log_error("reporting readiness: %s", strerror(errno));
}

/* @ret_fd: -1 if there is none. */
static int receive_answer(int keeper_fd, struct answer *answer, int *ret_fd)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { answer, sizeof(*answer) };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control) };
	ssize_t n = 0;

	do
		n = recvmsg(keeper_fd, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n != sizeof(*answer))
		return n < 0 ? -errno : -ECONNRESET;
	const struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	*ret_fd = -1;
	if (cmsg && cmsg->cmsg_type == SCM_RIGHTS)
		memcpy(ret_fd, CMSG_DATA(cmsg), sizeof(int));
	return answer->result;
}

/* @why: NULL is accepted. */
static int request(
	int keeper_fd, char kind, const char *path, int *ret_fd, struct strbuf *why)
{
	_cleanup_free_ char *msg = xasprintf("%c%s", kind, path);
	struct answer answer = { 0 };
	int r = 0;

	if (strlen(path) >= PATH_MAX)
		return -ENAMETOOLONG;
	lock_take(&request_lock);
	if (send(keeper_fd, msg, strlen(msg), MSG_NOSIGNAL) < 0)
		r = -errno;
	else
		r = receive_answer(keeper_fd, &answer, ret_fd);
	lock_release(&request_lock);
	if (r < 0 && why)
		strbuf_adds(why, *answer.why ? answer.why : strerror(-r));
	return r;
}

int keeper_connect(int keeper_fd, const char *path)
{
	int fd = connect_path(path);

	if (fd != -EACCES && fd != -EPERM)
		return fd;
	int r = request(keeper_fd, MSG_CONNECT, path, &fd, NULL);

	return r < 0 ? r : fd < 0 ? -EPROTO : fd;
}

int keeper_place_disk(int keeper_fd, const char *mount, const char *link, int *ret_old_fd,
	struct strbuf *why)
{
	_cleanup_free_ char *target = shared_disk(mount);
	_cleanup_strbuf_ struct strbuf refusal = STRBUF_INIT;
	size_t kept = 0;
	int fd = -1;
	int r = request(keeper_fd, MSG_LINK, link ? link : "", &fd, &refusal);

	if (r == -EPERM)
		return place_link(link, target, &kept, why);
	if (r < 0) {
		strbuf_adds(why, strbuf_str(&refusal));
		return r;
	}
	*ret_old_fd = fd;
	return 0;
}

/* ---- the keeper's life ---- */

static void close_loop(struct keeper *k)
{
	loop_free(TAKE_PTR(k->loop));
	close_p(&k->signal_fd);
	close_p(&k->mounts_fd);
	k->signal_fd = k->mounts_fd = -1;
}

static int start_worker(struct keeper *k)
{
	int sockets[2];
	pid_t parent = getpid();

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
		return -errno;
	k->worker = fork();
	if (k->worker == 0) {
		close(sockets[0]);
		close(k->pid_fd);
		close_p(&k->ready_fd);
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		if (getppid() != parent)
			_exit(1);
		close_loop(k);
		int status = k->params->worker(k->params->ctx, sockets[1], k->fuse_fd);

		free(k->link);
		free(k->target);
		free(k);
		exit(status);
	}
	int r = k->worker < 0 ? -errno : 0;

	close(sockets[1]);
	close(TAKE_FD(k->fuse_fd)); /* the worker's alone: its end ends the session */
	k->socket = sockets[0];
	return r;
}

static sigset_t our_signals(void)
{
	sigset_t set;

	signals_handled(&set);
	sigaddset(&set, SIGCHLD);
	return set;
}

static void stop_worker(struct keeper *k)
{
	if (k->stopping) {
		loop_set_timer(k->loop, k->patience, k->asked_mono_ns + PATIENCE_NS);
		return;
	}
	k->stopping = true;
	k->asked_mono_ns = clock_mono_ns();
	kill(k->worker, SIGTERM);
	notify_manager("STOPPING=1");
}

static void on_patience_end(void *ctx)
{
	const struct keeper *k = ctx;

	kill(k->worker, SIGKILL);
}

/*
 * Orphans of actions become our children, since the first process of a container may reap
 * none.  The worker's own end is told by itself.
 */
static void reap_adopted(const struct keeper *k)
{
	siginfo_t info = { 0 };

	while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid &&
		info.si_pid != k->worker) {
		waitid(P_PID, (id_t)info.si_pid, &info, WEXITED | WNOHANG);
		info.si_pid = 0;
	}
}

static void on_signal(void *ctx, uint32_t events)
{
	struct keeper *k = ctx;
	struct signalfd_siginfo info;

	(void)events;
	if (read(k->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGHUP)
		kill(k->worker, SIGHUP);
	else if (info.ssi_signo == SIGCHLD)
		reap_adopted(k);
	else
		stop_worker(k);
}

/*
 * Something was mounted or unmounted in our name space.  As long as somebody has a file of ours
 * open the kernel goes on asking the worker, which cannot know that nobody finds us any more.
 */
static void on_mounts_changed(void *ctx, uint32_t events)
{
	struct keeper *k = ctx;

	(void)events;
	if (k->lost || k->stopping || mount_is_listed(k->params->mount))
		return;
	k->lost = true;
	log_error("%s was unmounted by somebody else: ending", k->params->mount);
	kill(k->worker, SIGTERM);
}

static void on_worker_end(void *ctx, int status)
{
	struct keeper *k = ctx;

	k->worker_status = status;
	loop_stop(k->loop);
}

/* Before the worker is started: then nothing is in the way of watching it. */
static int open_loop(struct keeper *k)
{
	sigset_t set = our_signals();
	uint64_t watch = 0;
	int r = loop_new(NULL, NULL, &k->loop);

	if (r < 0)
		return r;
	k->patience = loop_add_timer(k->loop, LOOP_NEVER, on_patience_end, k);
	k->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	r = k->signal_fd < 0
		? -errno
		: loop_add_fd(k->loop, k->signal_fd, EPOLLIN, on_signal, k, &watch);
	k->mounts_fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	if (k->mounts_fd >= 0)
		loop_add_fd(
			k->loop, k->mounts_fd, EPOLLPRI, on_mounts_changed, k, &watch);
	return r;
}

static int watch_worker(struct keeper *k)
{
	int r = loop_add_fd(k->loop, k->socket, EPOLLIN, on_message, k, &k->socket_watch);

	if (r < 0) {
		log_error("the worker cannot be heard: %s", strerror(-r));
		kill(k->worker, SIGKILL);
	}
	loop_add_child(k->loop, k->worker, on_worker_end, k);
	loop_run(k->loop);
	int status = k->worker_status;

	/* its own statuses are small */
	if (status > 128)
		log_error("the worker was killed by signal %d", status - 128);
	else if (!k->lost && (status || !k->stopping))
		log_error("the worker ended with status %d", status);
	return k->stopping && status >= 0 && status <= 128 ? status : EXIT_FAILURE;
}

/* Undoes what keeper_open() did, and frees. */
static void keeper_close(struct keeper *k)
{
	const struct keeper_params *params = k->params;

	bool listed = k->mounted && mount_is_listed(params->mount);

	/* what somebody mounted there instead is his; if a vhostmd, so is the link */
	if (!k->lost || !listed)
		remove_link(k);
	free(TAKE_PTR(k->link));
	int r = listed && !k->lost ? mount_detach(params->mount) : 0;

	if (r < 0)
		log_error("%s cannot be unmounted: %s", params->mount, strerror(-r));
	if (k->created_dir)
		rmdir(params->mount);
	pidfile_release(params->pid_file, k->pid_fd);
	close_loop(k);
	close_p(&k->fuse_fd);
	close_p(&k->socket);
	close_p(&k->ready_fd);
	free(k->target);
	free(k);
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
	int r = mount_prepare(k->params->mount, &k->created_dir, &why);

	if (r == 0)
		r = mount_attach(k->params->mount, &k->fuse_fd, &why);
	if (r < 0)
		log_error("%s", strbuf_str(&why));
	k->mounted = r == 0;
	return r;
}

struct keeper *keeper_open(const struct keeper_params *params)
{
	struct keeper *k = xcalloc(1, sizeof(*k));
	sigset_t set = our_signals();

	/* from here on they wait for watch_worker(): nothing may be left behind */
	sigprocmask(SIG_BLOCK, &set, NULL);
	/* nor where nobody reads the log any more */
	signal(SIGPIPE, SIG_IGN);
	*k = (struct keeper){ .params = params,
		.pid_fd = -1,
		.fuse_fd = -1,
		.ready_fd = -1,
		.socket = -1,
		.signal_fd = -1,
		.mounts_fd = -1,
		.target = shared_disk(params->mount) };
	if (take_pid_file(k) < 0 || take_mount(k) < 0) {
		keeper_close(k);
		return NULL;
	}
	return k;
}

int keeper_run(struct keeper *k, int ready_fd)
{
	int status = EXIT_FAILURE;

	k->ready_fd = ready_fd;
	pidfile_write(k->pid_fd);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	int r = open_loop(k);

	if (r == 0)
		r = start_worker(k);
	if (r < 0)
		log_error("the worker cannot be started: %s", strerror(-r));
	else
		status = watch_worker(k);
	keeper_close(k);
	return status;
}

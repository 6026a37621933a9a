/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keeper/private.h"

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
#include <sys/syscall.h>
#include <sys/wait.h>
#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "keeper/apart.h"
#include "keeper/delays.h"
#include "keeper/device.h"
#include "keeper/manager.h"
#include "keeper/message.h"
#include "keeper/mount.h"
#include "keeper/old_file.h"
#include "keeper/sockets.h"
#include "keeper/state.h"
#include "keeper/upgrade.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/lock.h"
#include "util/log.h"
#include "util/loop.h"
#include "util/mem.h"
#include "util/pidfile.h"
#include "util/signals.h"
#include "util/strbuf.h"

/* What an end in good order takes at most, by the worker's clock. */
#define PATIENCE_NS (5 * NS_PER_S)

/* PIDFD_THREAD, Linux 6.9: tells of the end of one thread. */
#define PIDFD_OF_THREAD O_EXCL

/* What a process may take to end once its main thread has. */
#define OVERDUE_NS (50 * NS_PER_MS)

static void notify_manager(const char *state)
{
#ifdef HAVE_SYSTEMD
	sd_notify(0, state);
#else
	(void)state;
#endif
}

/* ---- the link ---- */

/* Another one is to be removed in the end, or none: "". */
static void replace_link(struct keeper *k, const char *link)
{
	if (k->link && !strcmp(k->link, link))
		return;
	if (k->link)
		old_file_drop(k);
	keeper_remove_link(k);
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
	int r = apart_link(k->link, k->target, &kept, why);

	if (r == 0 && kept < k->link_kept)
		k->link_kept = kept;
	return r;
}

/* ---- connecting for the worker ---- */

/*
 * The worker does not get its answer, if @r is an error of sending it.  One that has ended, or has
 * given way, needs none: what that means is the business of who hears of its end.
 */
static void log_unanswered(int r)
{
	if (r == -EPIPE || r == -ECONNRESET)
		log_debug("the worker is gone that wanted an answer");
	else if (r < 0)
		log_error("answering the worker: %s", strerror(-r));
}

/* @fd: given to the worker if it is one.  @why: NULL, or of an error. */
static void send_answer(
	int socket, struct answer *answer, int fd, const struct strbuf *why)
{
	if (why)
		snprintf(answer->why, sizeof(answer->why), "%s", strbuf_str(why));
	log_unanswered(message_send(socket, answer, fd));
}

/* Whoever looks for something there asks the worker, who waits for the keeper's answer. */
static bool is_ours(const struct keeper *k, const char *path)
{
	size_t n = strlen(k->params->mount);

	return !strncmp(path, k->params->mount, n) && (path[n] == '/' || !path[n]);
}

/*
 * True while a worker that is dead may still be about to read from a channel, or to write: while
 * that thread of it has not ended.  Others may stay in the kernel for as long as they like.
 */
static bool channels_run(const struct keeper *k)
{
	for (const struct worker *w = k->workers; w; w = w->next)
		if (w != k->worker &&
			device_user_has_thread(w->pid, HANDOVER_CHANNELS_THREAD))
			return true;
	return false;
}

static void answer_connect(struct keeper *k, const char *path)
{
	struct answer answer = { .result = -EPERM };
	struct socket_given given = { .fd = -1, .kept = true };

	if (sockets_is_channel(path) && !is_ours(k, path))
		answer.result = sockets_get(k->sockets, path, !channels_run(k), &given);
	answer.id = given.kept ? given.id : 0;
	answer.resumed = given.resumed;
	send_answer(k->socket, &answer, given.fd, NULL);
	if (!given.kept)
		close_p(&given.fd);
}

static void answer_link(struct keeper *k, const char *link)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	struct answer answer = { 0 };
	int fd = -1, r = 0;

	if (is_ours(k, link)) {
		strbuf_addf(&why, "it is below %s itself", k->params->mount);
		answer.result = -EINVAL;
		send_answer(k->socket, &answer, -1, &why);
		return;
	}
	replace_link(k, link);
	if (k->link)
		r = apart_open_old(k->link, &fd, &why);
	if (r == -ENOENT)
		r = make_link(k, &why);
	if (fd >= 0)
		old_file_keep(k, fd);
	answer.result = r;
	answer.removed = fd < 0 && k->old_file_fd >= 0;
	send_answer(k->socket, &answer, k->old_file_fd, &why);
}

static void answer_delays(struct keeper *k)
{
	struct answer answer = { 0 };
	const int *fds = delays_get(&k->delays, &answer);

	log_unanswered(message_send_fds(k->socket, &answer, fds, fds ? DELAY_MAPS : 0));
}

/* The worker was asked to end, and none comes after it. */
static bool is_ending(const struct keeper *k)
{
	return k->stopping || k->lost;
}

/* By the worker's clock.  What it waits for is looked at only if others wait for it. */
static int64_t worker_now_ns(struct keeper *k)
{
	bool waits = k->worker &&
		(!k->restart.ready_ns || is_ending(k) || watchdog_waits(&k->watchdog));
	pid_t pid = waits ? k->worker->pid : 0;
	struct worker_times times =
		pid ? device_user_times(pid) : (struct worker_times){ 0 };

	return worker_clock_ns(&k->clock, clock_mono_ns(), pid, &times);
}

static void become_ready(struct keeper *k)
{
	char ok = 0;

	/* that the old program's worker serves tells nothing of this one */
	if (!k->worker || k->worker->replaced || k->restart.ready_ns)
		return;
	restart_ready(&k->restart, worker_now_ns(k));
	if (k->ready) {
		log_info("worker %d serves %s", (int)k->worker->pid, k->params->mount);
		upgrade_served(k);
		return;
	}
	k->ready = true;
	if (k->ready_fd >= 0 && write(k->ready_fd, &ok, 1) < 0)
		log_error("reporting readiness: %s", strerror(errno));
	close_p(&k->ready_fd);
	k->ready_fd = -1;
	notify_manager("READY=1");
	log_info("serving %s", k->params->mount);
	upgrade_served(k);
}

static void answer_upgrade(struct keeper *k)
{
	struct answer answer = { .result = is_ending(k) ? -ESHUTDOWN : 0 };

	upgrade_ask(k);
	send_answer(k->socket, &answer, -1, NULL);
}

static void answer_upgrade_state(struct keeper *k)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	int fd = -1;
	struct answer answer = { .result = upgrade_state(k, &why, &fd) };

	send_answer(k->socket, &answer, fd, &why);
}

/* That somebody has set, if anybody has. */
static void take_log_level(struct keeper *k)
{
	enum log_level level;

	if (handover_log_level(k->handover, &level))
		log_set_level(level);
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
	else if (msg[0] == MSG_CONF && k->worker)
		good_conf_note(&k->good_conf, k->params->config_file, msg + 1);
	else if (msg[0] == MSG_LINK)
		answer_link(k, msg + 1);
	else if (msg[0] == MSG_OLD_OVER)
		old_file_drop(k);
	else if (msg[0] == MSG_UPGRADE)
		answer_upgrade(k);
	else if (msg[0] == MSG_UPGRADE_STATE)
		answer_upgrade_state(k);
	else if (msg[0] == MSG_DELAYS)
		answer_delays(k);
	else if (msg[0] == MSG_NO_DELAYS)
		delays_drop(&k->delays, true);
	else if (msg[0] == MSG_LOG)
		take_log_level(k);
}

/* ---- the keeper's life ---- */

/* In the worker: nothing of the keeper's stays. */
static void run_worker(struct keeper *k, int socket, bool distrust)
{
	struct good_conf good = TAKE_VALUE(k->good_conf, (struct good_conf){ 0 });
	const struct keeper_parcel parcel = { .keeper_fd = socket,
		.fuse_fd = TAKE_FD(k->fuse_fd),
		.handover_fd = TAKE_FD(k->handover_fd),
		.listeners = TAKE_VALUE(k->listeners, (struct listeners){ .n = 0 }),
		.number = k->n_workers,
		.distrust = distrust,
		.good_conf = good.text.len ? &good : NULL,
		.failed = upgrade_failed(k) };

	close(k->pid_fd);
	close_p(&k->ready_fd);
	keeper_close_loop(k);
	handover_unmap(k->handover);
	const struct keeper_params *params = k->params;

	keeper_free(k);
	int status = params->worker(params->ctx, &parcel);

	good_conf_done(&good);
	exit(status);
}

/* A worker gone bad does not take away from the next one what that must begin with. */
static void mend_handover(struct keeper *k)
{
	handover_mend(k->handover);
	if (!k->init_bytes)
		return;
	memcpy(k->handover->init, k->init, sizeof(k->init));
	atomic_store(&k->handover->init_bytes, k->init_bytes);
}

/* What the kernel began with does not change any more. */
static void note_init(struct keeper *k)
{
	uint32_t bytes = atomic_load(&k->handover->init_bytes);

	if (k->init_bytes || bytes > sizeof(k->init))
		return;
	memcpy(k->init, k->handover->init, sizeof(k->init));
	k->init_bytes = bytes;
}

/* Return: its process, or -errno. */
static pid_t fork_worker(struct keeper *k, int ret_sockets[2])
{
	pid_t parent = getpid();
	bool distrust = restart_distrusts(&k->restart, worker_now_ns(k));

	if (upgrade_fetch(k) < 0)
		return -EPROTO;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_sockets) < 0)
		return -errno;
	if (distrust)
		log_warning("workers crash: the next one starts without what they left");
	mend_handover(k);
	take_log_level(k);
	pid_t pid = fork();

	if (pid == 0) {
		close(ret_sockets[0]);
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		if (getppid() != parent)
			_exit(1);
		run_worker(k, ret_sockets[1], distrust);
	}
	int r = pid < 0 ? -errno : 0;

	close(ret_sockets[1]);
	if (r < 0)
		close(ret_sockets[0]);
	return r < 0 ? r : pid;
}

static void signal_worker(const struct keeper *k, int signal)
{
	if (k->worker)
		kill(k->worker->pid, signal);
}

/* None is to come after it. */
static void end_worker(struct keeper *k, int signal)
{
	if (k->worker) {
		k->asked_ns = worker_now_ns(k);
		kill(k->worker->pid, signal);
		return;
	}
	k->worker_status = EXIT_SUCCESS; /* there is none to be ended */
	loop_stop(k->loop);
}

static void stop_worker(struct keeper *k)
{
	if (k->stopping)
		return;
	k->stopping = true;
	notify_manager("STOPPING=1");
	end_worker(k, SIGTERM);
}

static bool is_worker(const struct keeper *k, pid_t pid)
{
	const struct worker *w = k->workers;

	while (w && w->pid != pid)
		w = w->next;
	return w;
}

/*
 * Orphans of actions become our children, since the first process of a container may reap
 * none.  The worker's own end is told by itself.
 */
static void reap_adopted(const struct keeper *k)
{
	siginfo_t info = { 0 };

	while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid &&
		!is_worker(k, info.si_pid) && !upgrade_is_child(k, info.si_pid)) {
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
		signal_worker(k, SIGHUP);
	else if (info.ssi_signo == SIGUSR2)
		upgrade_ask(k);
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
	if (is_ending(k) || mount_is_listed(k->params->mount))
		return;
	k->lost = true;
	log_error("%s was unmounted by somebody else: ending", k->params->mount);
	end_worker(k, SIGTERM);
}

/* ---- the worker's end, and the next one ---- */

static void log_end(int status)
{
	/* its own statuses are small */
	if (status > 128)
		log_error("the worker was killed by signal %d", status - 128);
	else
		log_error("the worker ended with status %d", status);
}

/* The worker works no more. */
static void worker_over(struct keeper *k, int status)
{
	bool killed = (status == 128 + SIGKILL || status == 128 + SIGTERM) &&
		!k->worker->killed;
	bool replaced = k->worker->replaced;

	k->worker = NULL;
	/* how it ended who was to end any way tells nothing of us */
	k->worker_status = replaced ? EXIT_SUCCESS : status;
	loop_set_timer(k->loop, k->overdue, LOOP_NEVER);
	loop_del(k->loop, &k->socket_watch);
	close_p(&k->socket);
	k->socket = -1;
	/* a first one that fails by itself says what is wrong, and others would meet the same */
	bool refused = !k->ready && status <= 128;

	if (!k->lost && !replaced && (status || !k->stopping))
		log_end(status);
	if (is_ending(k) || refused || device_is_over(k->fuse_fd)) {
		loop_stop(k->loop);
		return;
	}
	int64_t now_ns = worker_now_ns(k);
	int64_t pause_ns = restart_ended(&k->restart, now_ns, !killed);

	if (pause_ns < 0 || k->restart.unserved >= RESTART_CRASHES)
		upgrade_undo(k);
	/* who goes on killing may be the kernel, for want of memory: then it counts in time */
	if (killed && now_ns - k->restart.down_ns < RESTART_GIVE_UP_NS / 2)
		handover_forgive(k->handover);
	if (pause_ns < 0) {
		log_error("no worker gets to serve %s: ending", k->params->mount);
		loop_stop(k->loop);
		return;
	}
	loop_set_timer(k->loop, k->next_start, clock_mono_ns() + pause_ns);
}

static void forget_thread(struct worker *w)
{
	loop_del(w->keeper->loop, &w->thread_watch);
	close_p(&w->thread_fd);
	w->thread_fd = -1;
}

static void on_worker_end(void *ctx, int status)
{
	struct worker *w = ctx;
	struct keeper *k = w->keeper;

	struct worker **at = &k->workers;

	forget_thread(w);
	if (k->worker == w)
		worker_over(k, status);
	else
		device_send_again(k->fuse_fd);
	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	free(w);
}

/*
 * Its threads end together, but one may be in the kernel, taking something back, and the kernel
 * wait there for the answer to somebody's read, which only the next worker gives.
 */
static void on_thread_end(void *ctx, uint32_t events)
{
	struct worker *w = ctx;
	struct keeper *k = w->keeper;

	(void)events;
	forget_thread(w);
	/* all of it, if that was its main thread's own end alone */
	kill(w->pid, SIGKILL);
	if (k->worker == w)
		loop_set_timer(k->loop, k->overdue, clock_mono_ns() + OVERDUE_NS);
}

static void on_overdue(void *ctx)
{
	struct keeper *k = ctx;
	int status = 0;

	if (!k->worker)
		return;
	log_info("worker %d is dead; the kernel still keeps its process",
		(int)k->worker->pid);
	kill(k->worker->pid, SIGKILL);
	/* by itself, or by us; one that was asked to end may have done so well */
	bool known = device_user_is_dead(k->worker->pid, &status);

	worker_over(k, known && (status || k->stopping) ? status : 128 + SIGKILL);
}

static struct worker *add_worker(struct keeper *k, pid_t pid)
{
	struct worker *w = xcalloc(1, sizeof(*w));

	*w = (struct worker){ .next = k->workers, .keeper = k, .pid = pid };
	k->workers = w;
	w->thread_fd = (int)syscall(SYS_pidfd_open, pid, PIDFD_OF_THREAD);
	if (w->thread_fd >= 0)
		loop_add_fd(k->loop, w->thread_fd, EPOLLIN, on_thread_end, w,
			&w->thread_watch);
	loop_add_child(k->loop, pid, on_worker_end, w);
	return w;
}

/* @socket: to it; taken over; -1: it has no more to ask for. */
static void begin_with(struct keeper *k, struct worker *w, int socket)
{
	k->worker = w;
	k->socket = socket;
	watchdog_reset(&k->watchdog);
	w->start_ns = worker_now_ns(k);
	int r = socket < 0
		? 0
		: loop_add_fd(k->loop, socket, EPOLLIN, on_message, k, &k->socket_watch);

	if (r < 0) {
		log_error("the worker cannot be heard: %s", strerror(-r));
		kill(w->pid, SIGKILL);
	}
}

/* Return: 0 or -errno. */
static int start_worker(struct keeper *k)
{
	int sockets[2];
	pid_t pid = fork_worker(k, sockets);

	if (pid < 0)
		return pid;
	begin_with(k, add_worker(k, pid), sockets[0]);
	sockets_expect_all(k->sockets);
	k->n_workers++;
	return 0;
}

/* Those of the keeper that executed us are our children. */
static void adopt_workers(struct keeper *k, const struct keeper_state *s)
{
	for (uint32_t i = 0; i < s->n_workers; i++) {
		struct worker *w = add_worker(k, s->workers[i]);

		if (i == 0 && s->serves)
			begin_with(k, w, s->fds[STATE_FD_SOCKET]);
		w->replaced = !s->back;
		if (w->replaced)
			kill(w->pid, SIGKILL);
	}
	if (!k->worker)
		loop_set_timer(k->loop, k->next_start, clock_mono_ns());
	on_mounts_changed(k, 0); /* that nobody was told of */
}

static void on_next_start(void *ctx)
{
	struct keeper *k = ctx;
	int r = start_worker(k);

	if (r == 0)
		return;
	log_error("the worker cannot be started: %s", strerror(-r));
	if (restart_gives_up(&k->restart, worker_now_ns(k)))
		loop_stop(k->loop);
	else
		loop_set_timer(k->loop, k->next_start, clock_mono_ns() + 100 * NS_PER_MS);
}

static void kill_worker(struct keeper *k, const char *why)
{
	log_error("worker %d %s", (int)k->worker->pid, why);
	k->worker->killed = true;
	kill(k->worker->pid, SIGKILL);
}

static void look(struct keeper *k)
{
	int64_t now_ns = worker_now_ns(k);
	int status = 0;

	if (k->worker->killed || device_user_is_dead(k->worker->pid, &status)) {
		on_overdue(k);
		return;
	}
	if (is_ending(k) && now_ns - k->asked_ns >= PATIENCE_NS) {
		kill_worker(k, "does not end: it is killed");
		/* it may wait for an answer that it cannot give any more */
		if (!k->lost)
			mount_abort(k->params->mount);
		return;
	}
	bool late = k->ready && !k->restart.ready_ns &&
		now_ns - k->worker->start_ns >= WATCHDOG_NS;
	bool stuck = watchdog_look(
		&k->watchdog, k->handover, device_has_requests(k->fuse_fd), now_ns);

	if (k->restart.ready_ns)
		note_init(k);
	if (k->ready && !k->stopping && (late || stuck))
		kill_worker(k, "answers no more: it is replaced");
}

static void on_next_look(void *ctx)
{
	struct keeper *k = ctx;

	if (k->worker)
		look(k);
	loop_set_timer(k->loop, k->next_look, clock_mono_ns() + WATCHDOG_LOOK_NS);
}

/* Before the worker is started: then nothing is in the way of watching it. */
static int open_loop(struct keeper *k)
{
	sigset_t set = keeper_signals();
	uint64_t watch = 0;
	int r = loop_new(NULL, NULL, &k->loop);

	if (r < 0)
		return r;
	k->sockets = sockets_new(k->loop, !k->mounted);
	if (k->resumed && k->params->channels) {
		sockets_adopt_all(k->sockets, k->params->channels);
		old_file_adopt(k, k->params->channels);
	}
	k->next_start = loop_add_timer(k->loop, LOOP_NEVER, on_next_start, k);
	k->overdue = loop_add_timer(k->loop, LOOP_NEVER, on_overdue, k);
	k->next_look = loop_add_timer(
		k->loop, clock_mono_ns() + WATCHDOG_LOOK_NS, on_next_look, k);
	k->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	r = k->signal_fd < 0
		? -errno
		: loop_add_fd(k->loop, k->signal_fd, EPOLLIN, on_signal, k, &watch);
	k->mounts_fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	if (k->mounts_fd >= 0)
		loop_add_fd(
			k->loop, k->mounts_fd, EPOLLPRI, on_mounts_changed, k, &watch);
	upgrade_watch(k);
	if (k->params->state)
		keeper_listen_again(k);
	return r;
}

/* Return: the exit status. */
static int run_loop(struct keeper *k)
{
	loop_run(k->loop);
	int status = k->worker_status;

	return k->stopping && status >= 0 && status <= 128 ? status : EXIT_FAILURE;
}

int keeper_run(struct keeper *k, int ready_fd)
{
	int status = EXIT_FAILURE;

	k->ready_fd = ready_fd;
	if (!k->params->state)
		pidfile_write(k->pid_fd);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	int r = open_loop(k);

	if (r == 0 && k->params->state)
		adopt_workers(k, k->params->state);
	else if (r == 0)
		r = start_worker(k);
	if (r < 0)
		log_error("the worker cannot be started: %s", strerror(-r));
	else
		status = run_loop(k);
	/* whoever waits gets an error, and does not wait for the next one to fail, too */
	if (!k->stopping)
		manager_forget();
	else
		handover_forget_log_level(k->handover);
	keeper_close(k);
	return status;
}

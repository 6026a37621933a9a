/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keeper/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "handover/layout.h"
#include "keeper/baggage.h"
#include "keeper/manager.h"
#include "keeper/old_file.h"
#include "keeper/private.h"
#include "keeper/sockets.h"
#include "keeper/state.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/fileio.h"
#include "util/limits.h"
#include "util/log.h"
#include "util/loop.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"

/* What a program may take to say whether it can take over. */
#define ANSWER_NS (10 * NS_PER_S)

/* What its worker may take to serve: readers wait. */
#define TRIAL_NS (4 * NS_PER_S)

#define SAID_MAX 4096u

#define MORE_MAX (LIMIT_CONF_BYTES + (size_t)LIMIT_VMS * (PATH_MAX + 64))

/* ---- the program ---- */

static bool is_this_program(const char *path)
{
	struct stat a, b;

	return stat(path, &a) == 0 && stat("/proc/self/exe", &b) == 0 &&
		a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

char *upgrade_program(const char *name)
{
	_cleanup_free_ char *path = strchr(name, '/') ? path_absolute(name) : NULL;
	static const char deleted[] = " (deleted)";
	char link[STATE_PATH_MAX];

	/* as it was called: where the name is a link, the next one may lead elsewhere */
	if (path && is_this_program(path))
		return TAKE_PTR(path);
	ssize_t n = readlink("/proc/self/exe", link, sizeof(link) - 1);

	if (n < 0)
		return path ? TAKE_PTR(path) : xstrdup(name);
	link[n] = '\0';
	size_t kept = (size_t)n - (sizeof(deleted) - 1);

	if ((size_t)n >= sizeof(deleted) && !strcmp(link + kept, deleted))
		link[kept] = '\0';
	return xstrdup(link);
}

/* Its command line.  Return: the caller's to free; the words stay others'. */
static char **arguments(char *program, char *const *words, char *option, char *value)
{
	size_t n = 0, at = 0;

	while (words[n])
		n++;
	char **argv = xcalloc(n + 4, sizeof(*argv));

	argv[at++] = program;
	for (size_t i = 0; i < n; i++)
		argv[at++] = words[i];
	argv[at++] = option;
	argv[at] = value;
	return argv;
}

/* ---- whether it can ---- */

/* Of the state, of the handover, and of what somebody who knows only some of that must know. */
static char *versions(void)
{
	_cleanup_strbuf_ struct strbuf parts = STRBUF_INIT;

	layout_describe(&parts);
	return xasprintf("%u:%u:%s", STATE_VERSION, HANDOVER_VERSION, strbuf_str(&parts));
}

/* How far two of them are the same. */
static bool are_equal(const char *a, const char *b)
{
	size_t state = strcspn(a, ":");
	const char *parts_a = strrchr(a, ':'), *parts_b = strrchr(b, ':');

	return state == strcspn(b, ":") && !strncmp(a, b, state) && parts_a && parts_b &&
		!strcmp(parts_a, parts_b);
}

int upgrade_can(const char *text, struct strbuf *why)
{
	_cleanup_free_ char *ours = versions();

	if (are_equal(text, ours))
		return 0;
	strbuf_addf(why, "what is handed on is of version %s, and %s is known here", text,
		ours);
	return -EPROTO;
}

static void forget_child(struct keeper *k)
{
	struct upgrade *u = &k->upgrade;

	u->child = 0;
	if (k->loop)
		loop_set_timer(k->loop, u->limit, LOOP_NEVER);
	close_p(&u->said_fd);
	u->said_fd = -1;
}

/* In the child: what it says goes to @said_fd. */
static void run_check(char *const *argv, int said_fd)
{
	sigset_t none;

	setpgid(0, 0);
	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(said_fd, STDOUT_FILENO);
	dup2(said_fd, STDERR_FILENO);
	execv(argv[0], argv);
	dprintf(STDERR_FILENO, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static void on_check_end(void *ctx, int status);

/* Return: 0 or -errno. */
static int start_check(struct keeper *k)
{
	struct upgrade *u = &k->upgrade;
	_cleanup_free_ char *value = versions();
	_cleanup_free_ char **argv = arguments(
		u->program, k->params->words, (char[]){ "--can-take-over" }, value);
	int fds[2];

	if (stat(u->program, &u->seen) < 0 || pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	pid_t pid = fork();

	if (pid == 0)
		run_check(argv, fds[1]);
	int r = pid < 0 ? -errno : 0;

	close(fds[1]);
	if (r < 0) {
		close(fds[0]);
		return r;
	}
	u->child = pid;
	u->late = false;
	u->said_fd = fds[0];
	loop_add_child(k->loop, pid, on_check_end, k);
	loop_set_timer(k->loop, u->limit, clock_mono_ns() + ANSWER_NS);
	return 0;
}

/* @why: taken over; NULL: it is not refused.  Log and worker are told in words of their own. */
static void set_refusal(struct upgrade *u, char *why)
{
	free(u->refusal);
	u->refusal = why;
}

void upgrade_ask(struct keeper *k)
{
	struct upgrade *u = &k->upgrade;

	if (k->stopping || k->lost || u->child)
		return;
	set_refusal(u, NULL);
	if (!k->ready || u->before_fd >= 0) {
		u->asked = true; /* when a worker serves */
		return;
	}
	int r = start_check(k);

	if (r == 0)
		return;
	set_refusal(u, xasprintf("it cannot be asked to take over: %s", strerror(-r)));
	log_error("%s cannot be asked to take over: %s: vhostmd " VHOSTMD_VERSION
		  " goes on",
		u->program, strerror(-r));
}

/* Return: -EINPROGRESS or another -errno. */
static int tell_later(struct upgrade *u, int *ret_fd)
{
	if (u->told_fd < 0)
		u->told_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (u->told_fd < 0)
		return -errno;
	*ret_fd = u->told_fd;
	return -EINPROGRESS;
}

/* Who waits asks again: us, when we get to it, or whom we execute first. */
static void tell(struct upgrade *u)
{
	if (u->told_fd < 0)
		return;
	eventfd_write(u->told_fd, 1);
	close(TAKE_FD(u->told_fd));
}

int upgrade_state(struct keeper *k, struct strbuf *why, int *ret_fd)
{
	struct upgrade *u = &k->upgrade;
	const char *failed = upgrade_failed(k);

	if (u->child || u->asked || u->before_fd >= 0)
		return tell_later(u, ret_fd);
	if (u->refusal)
		strbuf_adds(why, u->refusal);
	else if (failed)
		strbuf_addf(why, "version %s has failed", failed);
	return u->refusal || failed ? -ECANCELED : 0;
}

const char *upgrade_failed(const struct keeper *k)
{
	const struct keeper_state *s = k->params->state;

	return s && s->back ? s->writer : NULL;
}

static void on_limit(void *ctx)
{
	struct keeper *k = ctx;

	if (!k->upgrade.child)
		return;
	k->upgrade.late = true;
	kill(-k->upgrade.child, SIGKILL);
	kill(k->upgrade.child, SIGKILL);
}

/* With the first line that it said.  The caller frees. */
static char *refusal_of(const struct upgrade *u, int status, const char *said)
{
	int n = (int)strcspn(said, "\n");
	bool is_signal = status > 128;

	if (u->late)
		return xasprintf("it does not say within %d s whether it can take over",
			(int)(ANSWER_NS / NS_PER_S));
	return xasprintf("it cannot take over (%s %d)%s%.*s",
		is_signal ? "signal" : "status", is_signal ? status - 128 : status,
		n ? ": " : "", n, said);
}

/* It is for people to read, a few lines of it. */
static void log_refusal(struct upgrade *u, int status)
{
	char said[SAID_MAX];
	ssize_t n = read(u->said_fd, said, sizeof(said) - 1);

	said[n < 0 ? 0 : n] = '\0';
	log_lines(LOG_LEVEL_WARNING, said);
	set_refusal(u, refusal_of(u, status, said));
	if (u->late)
		log_error("%s does not say within %d s whether it can take over: "
			  "vhostmd " VHOSTMD_VERSION " goes on",
			u->program, (int)(ANSWER_NS / NS_PER_S));
	else
		log_error("%s cannot take over (%s %d): vhostmd " VHOSTMD_VERSION
			  " goes on",
			u->program, status > 128 ? "signal" : "status",
			status > 128 ? status - 128 : status);
}

/* Whether another one was put in its place since it was asked. */
static bool was_replaced(const struct upgrade *u)
{
	struct stat st;

	return stat(u->program, &st) < 0 || st.st_dev != u->seen.st_dev ||
		st.st_ino != u->seen.st_ino || st.st_size != u->seen.st_size ||
		st.st_mtim.tv_sec != u->seen.st_mtim.tv_sec ||
		st.st_mtim.tv_nsec != u->seen.st_mtim.tv_nsec;
}

/* ---- giving way ---- */

static void put_workers(const struct keeper *k, struct keeper_state *s)
{
	s->serves = k->worker != NULL;
	if (k->worker)
		s->workers[s->n_workers++] = k->worker->pid;
	for (const struct worker *w = k->workers; w && s->n_workers < STATE_WORKERS;
		w = w->next)
		if (w != k->worker)
			s->workers[s->n_workers++] = w->pid;
}

/* Return: a descriptor for STATE_FD_MORE; -1: whoever comes next connects channels anew. */
static int pack(const struct keeper *k)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

	baggage_begin(&out, k->good_conf.text.data, k->good_conf.text.len);
	sockets_pack(k->sockets, &out);
	delays_pack(&k->delays, &out);
	listeners_pack(&k->listeners, &out);
	old_file_pack(k, &out);
	int fd = state_send_more(&out);

	if (fd < 0)
		log_warning("channels cannot be handed on: %s", strerror(-fd));
	return fd < 0 ? -1 : fd;
}

/* Whether the program that is executed has what pack() names. */
static void inherit_all(struct keeper *k, bool inherit)
{
	sockets_inherit(k->sockets, inherit);
	delays_inherit(&k->delays, inherit);
	listeners_inherit(&k->listeners, inherit);
	old_file_inherit(k, inherit);
}

/* The worker's clock begins anew with the next keeper. */
static int64_t as_monotonic(const struct keeper *k, int64_t worker_ns)
{
	return worker_ns ? worker_ns + k->clock.wall_ns - k->clock.ns : 0;
}

/* Return: 0, or -E2BIG. */
static int make_state(const struct keeper *k, struct keeper_state *s)
{
	size_t n_workers = 0;

	state_begin(s);
	s->fds[STATE_FD_FUSE] = k->fuse_fd;
	s->fds[STATE_FD_HANDOVER] = k->upgrade.old_handover_fd >= 0
		? k->upgrade.old_handover_fd
		: k->handover_fd;
	s->fds[STATE_FD_PID_FILE] = k->pid_fd;
	s->fds[STATE_FD_SOCKET] = k->worker ? k->socket : -1;
	put_workers(k, s);
	for (const struct worker *w = k->workers; w; w = w->next)
		n_workers++;
	s->n_started = k->n_workers;
	s->ready_ns = as_monotonic(k, k->restart.ready_ns);
	s->down_ns = as_monotonic(k, k->restart.down_ns);
	s->created_dir = k->created_dir;
	s->mounted = k->mounted;
	s->init_bytes = k->init_bytes;
	memcpy(s->init, k->init, sizeof(s->init));
	s->link_kept = k->link_kept == SIZE_MAX ? -1 : (int64_t)k->link_kept;
	if (n_workers > STATE_WORKERS || (k->link && strlen(k->link) >= STATE_PATH_MAX) ||
		strlen(k->upgrade.program) >= STATE_PATH_MAX)
		return -E2BIG;
	snprintf(s->link, sizeof(s->link), "%s", k->link ? k->link : "");
	snprintf(s->program, sizeof(s->program), "%s", k->upgrade.program);
	return 0;
}

/*
 * @program_fd: executed; -1: the one that is installed at state->program.
 * Return: why it cannot be: -errno.
 */
static int execute(int program_fd, struct keeper_state *state, char *const *words)
{
	_cleanup_close_ int fd = state_send(state);
	_cleanup_free_ char *value = xasprintf("%d", fd);
	_cleanup_free_ char **argv =
		arguments(state->program, words, (char[]){ "--take-over" }, value);

	if (fd < 0)
		return fd;
	state_inherit(state, true);
	if (program_fd >= 0)
		fexecve(program_fd, argv, environ);
	else
		execv(state->program, argv);
	int r = -errno;

	state_inherit(state, false);
	return r;
}

static void give_way(struct keeper *k)
{
	_cleanup_close_ int self = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	struct keeper_state state;
	int r = self < 0 ? -errno : make_state(k, &state);

	if (r == 0) {
		log_info("giving way to %s", state.program);
		handover_mend(k->handover);
		state.fds[STATE_FD_BEFORE] = self;
		state.fds[STATE_FD_MORE] = pack(k);
		inherit_all(k, true);
		r = execute(-1, &state, k->params->words);
		inherit_all(k, false);
		close_p(&state.fds[STATE_FD_MORE]);
	}
	set_refusal(&k->upgrade, xasprintf("it cannot be executed: %s", strerror(-r)));
	log_error("%s cannot be executed: %s: vhostmd " VHOSTMD_VERSION " goes on",
		k->upgrade.program, strerror(-r));
}

static void on_check_end(void *ctx, int status)
{
	struct keeper *k = ctx;
	struct upgrade *u = &k->upgrade;
	bool can = status == 0 && !u->late;

	if (!can && !k->stopping)
		log_refusal(u, status);
	forget_child(k);
	tell(u);
	if (!can || k->stopping || k->lost)
		return;
	if (was_replaced(u))
		upgrade_ask(k);
	else
		give_way(k);
}

/* ---- the successor ---- */

int upgrade_take_over(struct keeper *k, struct strbuf *why)
{
	const struct keeper_state *s = k->params->state;

	k->pid_fd = s->fds[STATE_FD_PID_FILE];
	k->fuse_fd = s->fds[STATE_FD_FUSE];
	k->handover_fd = s->fds[STATE_FD_HANDOVER];
	k->upgrade.before_fd = s->fds[STATE_FD_BEFORE];
	k->created_dir = s->created_dir;
	k->mounted = s->mounted;
	k->n_workers = s->n_started;
	k->init_bytes = s->init_bytes;
	memcpy(k->init, s->init, sizeof(k->init));
	k->link = *s->link ? xstrdup(s->link) : NULL;
	k->link_kept = s->link_kept < 0 ? SIZE_MAX : (size_t)s->link_kept;
	k->restart.ready_ns = s->ready_ns;
	k->restart.down_ns = s->down_ns;
	k->ready = true;
	/* who was executed by a descriptor is called after that */
	prctl(PR_SET_NAME, "vhostmd");
	k->handover = handover_map(k->handover_fd, why);
	if (k->handover)
		return 0;
	/* of another layout: what is in it is fetched when the old worker has ended */
	strbuf_clear(why);
	k->upgrade.old_handover_fd = k->handover_fd;
	k->handover_fd = handover_create();
	k->handover = k->handover_fd < 0 ? NULL : handover_map(k->handover_fd, why);
	return k->handover ? 0 : -EPROTO;
}

int upgrade_fetch(struct keeper *k)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	struct upgrade *u = &k->upgrade;

	if (u->old_handover_fd < 0 || u->fetched)
		return 0;
	int fd = layout_migrate(u->old_handover_fd, &why);
	struct handover *h = fd < 0 ? NULL : handover_map(fd, &why);

	if (!h) {
		log_error("what the last workers left: %s", strbuf_str(&why));
		close_p(&fd);
		upgrade_undo(k);
		return -EPROTO;
	}
	handover_unmap(k->handover);
	close(k->handover_fd);
	k->handover = h;
	k->handover_fd = fd;
	u->fetched = true;
	return 0;
}

/* The rest of what was handed on, which a go_back() would have wanted as it is. */
static void unpack(struct keeper *k, int more_fd)
{
	_cleanup_strbuf_ struct strbuf bytes = STRBUF_INIT;
	struct baggage baggage;
	int r = state_receive_more(more_fd, MORE_MAX, &bytes);

	if (r == 0)
		r = baggage_open(bytes.data, bytes.len, clock_mono_ns(), &baggage);
	if (r == 0) {
		good_conf_set(&k->good_conf, baggage.conf, baggage.conf_bytes);
		r = sockets_adopt_all(k->sockets, &bytes);
		delays_adopt(&k->delays, &bytes);
		listeners_adopt(&k->listeners, &bytes);
		old_file_adopt(k, &bytes);
	}
	if (r < 0)
		log_warning("channels are connected anew: %s", strerror(-r));
}

static void on_trial_end(void *ctx)
{
	struct keeper *k = ctx;

	if (k->upgrade.before_fd >= 0)
		log_error("vhostmd " VHOSTMD_VERSION " does not serve within %d s",
			(int)(TRIAL_NS / NS_PER_S));
	upgrade_undo(k);
}

void upgrade_watch(struct keeper *k)
{
	struct upgrade *u = &k->upgrade;
	const struct keeper_state *s = k->params->state;

	u->limit = loop_add_timer(k->loop, LOOP_NEVER, on_limit, k);
	u->trial = loop_add_timer(k->loop,
		u->before_fd >= 0 ? clock_mono_ns() + TRIAL_NS : LOOP_NEVER, on_trial_end,
		k);
	if (s && s->fds[STATE_FD_MORE] >= 0) {
		unpack(k, s->fds[STATE_FD_MORE]);
		close(s->fds[STATE_FD_MORE]);
	}
	sockets_end_left();
	listeners_end_left();
	if (s && s->back)
		log_warning("vhostmd " VHOSTMD_VERSION " goes on: version %s has failed",
			s->writer);
}

static void end_trial(struct keeper *k)
{
	struct upgrade *u = &k->upgrade;

	loop_set_timer(k->loop, u->trial, LOOP_NEVER);
	close(TAKE_FD(u->before_fd));
	tell(u);
}

/* The handover of another layout is needed no more. */
static void drop_old_handover(struct keeper *k)
{
	if (k->upgrade.old_handover_fd < 0)
		return;
	close(TAKE_FD(k->upgrade.old_handover_fd));
	if (!k->mounted && manager_store_handover(k->handover_fd) < 0)
		log_debug("no systemd stores the new handover");
}

void upgrade_served(struct keeper *k)
{
	struct upgrade *u = &k->upgrade;

	if (u->before_fd >= 0) {
		end_trial(k);
		log_info("vhostmd " VHOSTMD_VERSION " has taken over from version %s",
			k->params->state->writer);
	}
	drop_old_handover(k);
	tell(u);
	/* who asked meanwhile may have what he wanted */
	if (TAKE_VALUE(u->asked, false) && !is_this_program(u->program))
		upgrade_ask(k);
}

static int go_back(int before_fd, struct keeper_state *state, char *const *words)
{
	state->back = 1;
	state->fds[STATE_FD_BEFORE] = -1;
	return execute(before_fd, state, words);
}

void upgrade_undo(struct keeper *k)
{
	struct keeper_state state;

	if (k->upgrade.before_fd < 0 || k->stopping || k->lost)
		return;
	log_error("vhostmd " VHOSTMD_VERSION " cannot serve: going back to version %s",
		k->params->state->writer);
	int r = make_state(k, &state);

	if (k->worker)
		kill(k->worker->pid, SIGKILL);
	/* it was on the way to serve, or is about to end */
	state.serves = 0;
	state.fds[STATE_FD_SOCKET] = -1;
	if (r == 0) {
		state.fds[STATE_FD_MORE] = pack(k);
		inherit_all(k, true);
		r = go_back(k->upgrade.before_fd, &state, k->params->words);
		inherit_all(k, false);
		close_p(&state.fds[STATE_FD_MORE]);
	}
	log_error("version %s cannot be executed again: %s", k->params->state->writer,
		strerror(-r));
	end_trial(k);
}

void upgrade_go_back(const struct keeper_state *state, char *const *words)
{
	struct keeper_state again = *state;
	int before_fd = state->fds[STATE_FD_BEFORE];

	if (before_fd < 0)
		return;
	memset(again.writer, 0, sizeof(again.writer));
	snprintf(again.writer, sizeof(again.writer), "%s", VHOSTMD_VERSION);
	log_error("vhostmd " VHOSTMD_VERSION
		  " cannot take over: going back to version %s",
		state->writer);
	int r = go_back(before_fd, &again, words);

	log_error("version %s cannot be executed again: %s", state->writer, strerror(-r));
}

/* ---- in any case ---- */

bool upgrade_is_child(const struct keeper *k, pid_t pid)
{
	return k->upgrade.child == pid;
}

void upgrade_done(struct keeper *k)
{
	struct upgrade *u = &k->upgrade;

	close_p(&u->said_fd);
	close_p(&u->told_fd);
	close_p(&u->before_fd);
	close_p(&u->old_handover_fd);
	free(u->program);
	free(u->refusal);
	*u = UPGRADE_NONE;
}

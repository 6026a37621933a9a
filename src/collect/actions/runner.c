/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/actions/runner.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "collect/actions/rights.h"
#include "util/caps.h"
#include "util/cleanup.h"
#include "util/limits.h"
#include "util/lock.h"
#include "util/mem.h"
#include "util/strbuf.h"

/* What the runner keeps: becoming the commands' user, killing them, reading their plan. */
#define RUNNER_CAPS                                                                      \
	(CAP_TO_BIT(CAP_SETUID) | CAP_TO_BIT(CAP_SETGID) | CAP_TO_BIT(CAP_KILL) |        \
		CAP_TO_BIT(CAP_DAC_READ_SEARCH))

enum request_kind { RUN, KILL, IS_GONE, RELOAD, VIRSH_DIR };

/* Over a stream: this, with the two outputs of a command to RUN, then its text. */
struct request {
	enum request_kind kind;
	pid_t pid;
	uint64_t max_files;
	uint32_t len;   /* of the script and the environment, each with a NUL */
	uint32_t n_env; /* parts of the latter */
};

struct reply {
	int result;
	char text[PATH_MAX];
};

static int write_all(int fd, const void *data, size_t len)
{
	for (const char *p = data; len;) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return -errno;
		p += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int read_whole(int fd, void *data, size_t len)
{
	for (char *p = data; len;) {
		ssize_t n = recv(fd, p, len, 0);

		if (n == 0 || (n < 0 && errno != EINTR))
			return n ? -errno : -EPIPE;
		p += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* ---- the runner's side ---- */

struct group {
	pid_t pid; /* of its first process, and so its number */
	int pidfd; /* -1: none could be had */
};

struct server {
	const struct runner_params *params;
	struct runner_grant grant;
	int socket;
	pid_t master;
	struct group *groups; /* commands that are not gone */
	size_t n, cap;
};

/* Descriptors above what select() can take break old programs, so many are not inherited. */
static void limit_files(uint64_t max_files)
{
	struct rlimit limit;

	if (!max_files || getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = max_files < limit.rlim_max ? max_files : limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* In the command's process, before it is one. */
static _Noreturn void exec_child(
	const struct server *s, const struct runner_command *c, const int outputs[2])
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t none;
	int null = open("/dev/null", O_RDONLY);

	setpgid(0, 0);
	for (int sig = 1; sig < 32; sig++)
		sigaction(sig, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (null < 0 || dup2(null, 0) < 0 || dup2(outputs[0], 1) < 0 ||
		dup2(outputs[1], 2) < 0)
		_exit(126);
	syscall(SYS_close_range, 3, ~0U, 0);
	limit_files(c->max_files);
	if (user_become(&s->grant.user) < 0)
		_exit(126);
	/* what is not root's any more is nobody's: no right of the runner's is for commands */
	if (geteuid() != 0 && caps_keep(0) < 0)
		_exit(126);
	/* after the change of user, which would cancel it */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != s->master || chdir("/") < 0)
		_exit(126);
	execle("/bin/sh", "sh", "-c", c->script, (char *)NULL, c->env);
	_exit(127);
}

/* As fork(), but the child is a child of our parent's, who can wait for it. */
static pid_t fork_sibling(void)
{
	unsigned long flags = CLONE_PARENT | SIGCHLD;

#ifdef __s390__
	return (pid_t)syscall(SYS_clone, 0UL, flags, 0UL, 0UL, 0UL);
#else
	return (pid_t)syscall(SYS_clone, flags, 0UL, 0UL, 0UL, 0UL);
#endif
}

static int run(
	struct server *s, const struct runner_command *command, const int outputs[2])
{
	if (!s->grant.any)
		return -EPERM;
	pid_t pid = fork_sibling();

	if (pid == 0)
		exec_child(s, command, outputs);
	if (pid < 0)
		return -errno;
	s->groups = xgrow(s->groups, s->n, &s->cap, sizeof(*s->groups));
	s->groups[s->n++] = (struct group){ pid, (int)syscall(SYS_pidfd_open, pid, 0) };
	return pid;
}

static struct group *find_group(struct server *s, pid_t pid)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->groups[i].pid == pid)
			return &s->groups[i];
	return NULL;
}

/* While the first process is not waited for the group's number is nobody else's. */
static void kill_group(const struct group *group)
{
	if (group &&
		(group->pidfd < 0 ||
			syscall(SYS_pidfd_send_signal, group->pidfd, 0, NULL, 0) == 0))
		kill(-group->pid, SIGKILL);
}

static bool is_gone(struct server *s, pid_t pid)
{
	struct group *group = find_group(s, pid);

	/* -EPERM: none of those that are left is one that we could kill */
	if (group && kill(-pid, 0) == 0)
		return false;
	if (group) {
		close_p(&group->pidfd);
		*group = s->groups[--s->n];
	}
	return true;
}

/* The configuration is read by a child: what it meets there is no harm to the runner. */
static void reload(struct server *s)
{
	struct runner_grant found = { 0 };
	int fds[2], status = 0;

	s->grant = found;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return;
	pid_t pid = fork();

	if (pid == 0)
		_exit(s->params->find(s->params->ctx, &found) < 0 ||
			write(fds[1], &found, sizeof(found)) != sizeof(found));
	close(fds[1]);
	if (pid > 0 && read(fds[0], &found, sizeof(found)) == sizeof(found))
		s->grant = found;
	close(fds[0]);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
}

/* Return: 0, or -errno when there is nobody to serve any more. */
static int receive_request(struct server *s, struct request *ret, int outputs[2])
{
	char control[CMSG_SPACE(2 * sizeof(int))] = { 0 };
	struct iovec iov = { ret, sizeof(*ret) };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control) };
	ssize_t n = 0;

	do
		n = recvmsg(s->socket, &msg, MSG_CMSG_CLOEXEC | MSG_WAITALL);
	while (n < 0 && errno == EINTR);
	const struct cmsghdr *cmsg = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;

	if (cmsg && cmsg->cmsg_type == SCM_RIGHTS &&
		cmsg->cmsg_len == CMSG_LEN(2 * sizeof(int)))
		memcpy(outputs, CMSG_DATA(cmsg), 2 * sizeof(int));
	return n == sizeof(*ret) && ret->len <= LIMIT_RUNNER_BYTES ? 0 : -EPROTO;
}

/* Takes a request's text apart.  Return: -EPROTO if it is not what it says. */
static int answer_run(
	struct server *s, const struct request *request, char *text, const int outputs[2])
{
	_cleanup_free_ char **env = xcalloc(request->n_env + 1, sizeof(*env));
	char *p = text, *end = text + request->len;

	if (outputs[1] < 0 || !request->len || end[-1])
		return -EPROTO;
	for (uint32_t i = 0; i < request->n_env; i++) {
		p += strlen(p) + 1;
		if (p == end)
			return -EPROTO;
		env[i] = p;
	}
	const struct runner_command command = {
		.script = text, .env = env, .max_files = request->max_files
	};

	return run(s, &command, outputs);
}

static void answer_virsh_dir(const struct server *s, struct reply *reply)
{
	_cleanup_free_ char *dir = rights_virsh_dir(&s->grant.user);

	if (dir && strlen(dir) < sizeof(reply->text))
		memcpy(reply->text, dir, strlen(dir) + 1);
}

static int serve_one(struct server *s)
{
	struct request request = { 0 };
	struct reply reply = { 0 };
	int outputs[2] = { -1, -1 };
	int r = receive_request(s, &request, outputs);
	_cleanup_free_ char *text = r < 0 ? NULL : xmalloc(request.len + 1);

	if (r == 0)
		r = read_whole(s->socket, text, request.len);
	if (r == 0 && request.n_env > request.len)
		r = -EPROTO;
	if (r < 0)
		return r;
	switch (request.kind) {
	case RUN:
		reply.result = answer_run(s, &request, text, outputs);
		break;
	case KILL:
		kill_group(find_group(s, request.pid));
		break;
	case IS_GONE:
		reply.result = is_gone(s, request.pid);
		break;
	case RELOAD:
		reload(s);
		break;
	case VIRSH_DIR:
		answer_virsh_dir(s, &reply);
		break;
	}
	close_p(&outputs[0]);
	close_p(&outputs[1]);
	return write_all(s->socket, &reply, sizeof(reply));
}

static _Noreturn void serve(const struct runner_params *params, int socket, pid_t master)
{
	struct server s = { .params = params, .grant = params->grant, .master = master };

	prctl(PR_SET_NAME, "vhostmd-runner");
	/* the file system must end with its worker, and a channel with its own */
	s.socket = dup2(socket, 3);
	if (s.socket < 0 || fcntl(s.socket, F_SETFD, FD_CLOEXEC) < 0)
		_exit(1);
	syscall(SYS_close_range, 4, ~0U, 0);
	if (params->become && user_become(params->become) < 0)
		_exit(1);
	caps_keep(params->become ? 0 : RUNNER_CAPS);
	while (serve_one(&s) == 0)
		;
	for (size_t i = 0; i < s.n; i++)
		kill_group(&s.groups[i]);
	_exit(0);
}

/* ---- its master's side ---- */

struct runner {
	struct lock lock; /* a request and its reply */
	int socket;
	pid_t pid;
};

int runner_start(const struct runner_params *params, struct runner **ret)
{
	int sockets[2];
	pid_t master = getpid();

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0)
		return -errno;
	pid_t pid = fork();

	if (pid == 0)
		serve(params, sockets[1], master);
	int r = pid < 0 ? -errno : 0;

	close(sockets[1]);
	if (r < 0) {
		close(sockets[0]);
		return r;
	}
	struct runner *runner = xcalloc(1, sizeof(*runner));

	lock_init(&runner->lock);
	runner->socket = sockets[0];
	runner->pid = pid;
	*ret = runner;
	return 0;
}

static int send_request(const struct runner *runner, const struct request *request,
	const char *text, const int *outputs)
{
	char control[CMSG_SPACE(2 * sizeof(int))] = { 0 };
	struct request copy = *request;
	struct iovec iov = { &copy, sizeof(copy) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (outputs) {
		msg.msg_control = control;
		msg.msg_controllen = sizeof(control);
		struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(2 * sizeof(int));
		memcpy(CMSG_DATA(cmsg), outputs, 2 * sizeof(int));
	}
	/* so little is sent as a whole or not at all */
	if (sendmsg(runner->socket, &msg, MSG_NOSIGNAL) != sizeof(copy))
		return -EPIPE;
	return write_all(runner->socket, text, request->len);
}

/* @ret_text: NULL, or of PATH_MAX bytes. */
static int ask(struct runner *runner, const struct request *request, const char *text,
	const int *outputs, char *ret_text)
{
	_cleanup_free_ struct reply *reply = xcalloc(1, sizeof(*reply));

	lock_take(&runner->lock);
	int r = send_request(runner, request, text, outputs);

	if (r == 0)
		r = read_whole(runner->socket, reply, sizeof(*reply));
	lock_release(&runner->lock);
	if (r < 0)
		return -EPIPE; /* whether it ended before it was asked, in the middle, or then */
	if (ret_text)
		memcpy(ret_text, reply->text, sizeof(reply->text));
	return reply->result;
}

void runner_reload(struct runner *runner)
{
	const struct request request = { .kind = RELOAD };

	ask(runner, &request, "", NULL, NULL);
}

char *runner_virsh_dir(struct runner *runner)
{
	const struct request request = { .kind = VIRSH_DIR };
	char dir[PATH_MAX] = "";

	return ask(runner, &request, "", NULL, dir) < 0 || !*dir ? NULL : xstrdup(dir);
}

pid_t runner_spawn(
	struct runner *runner, const struct runner_command *command, int out, int err)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct request request = { .kind = RUN, .max_files = command->max_files };
	const int outputs[2] = { out, err };

	strbuf_add(&text, command->script, strlen(command->script) + 1);
	for (; command->env[request.n_env]; request.n_env++)
		strbuf_add(&text, command->env[request.n_env],
			strlen(command->env[request.n_env]) + 1);
	if (text.len > LIMIT_RUNNER_BYTES)
		return -E2BIG;
	request.len = (uint32_t)text.len;
	return ask(runner, &request, text.data, outputs, NULL);
}

void runner_kill(struct runner *runner, pid_t pid)
{
	const struct request request = { .kind = KILL, .pid = pid };

	ask(runner, &request, "", NULL, NULL);
}

bool runner_is_gone(struct runner *runner, pid_t pid)
{
	const struct request request = { .kind = IS_GONE, .pid = pid };

	return ask(runner, &request, "", NULL, NULL) != 0;
}

void runner_stop(struct runner *runner)
{
	if (!runner)
		return;
	close(runner->socket);
	while (waitpid(runner->pid, NULL, 0) < 0 && errno == EINTR)
		;
	lock_done(&runner->lock);
	free(runner);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/actions/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "util/cleanup.h"
#include "util/clock.h"
#include "util/fileio.h"
#include "util/limits.h"
#include "util/mem.h"

/* In the child, between fork and exec: only async-signal-safe calls. */
static void exec_child(const char *script, char *const *env, const struct user *user,
	int out, int err, pid_t parent)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t none;
	int null = open("/dev/null", O_RDONLY);

	setpgid(0, 0);
	for (int sig = 1; sig < 32; sig++)
		sigaction(sig, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (null < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
		_exit(126);
	syscall(SYS_close_range, 3, ~0U, 0);
	if (user_become(user) < 0)
		_exit(126);
	/* after the change of user, which would cancel it */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent || chdir("/") < 0)
		_exit(126);
	execle("/bin/sh", "sh", "-c", script, (char *)NULL, env);
	_exit(127);
}

int action_process_start(struct action_process *p, const char *script, char *const *env,
	const struct user *user, int64_t timeout_ns)
{
	int out[2] = { -1, -1 }, err[2] = { -1, -1 }, r = 0;
	pid_t parent = getpid();

	*p = (struct action_process){ .pidfd = -1, .out_fd = -1, .err_fd = -1 };
	if (pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0) {
		r = -errno;
		goto out;
	}
	p->pid = fork();
	if (p->pid == 0)
		exec_child(script, env, user, out[1], err[1], parent);
	if (p->pid < 0) {
		r = -errno;
		goto out;
	}
	setpgid(p->pid, p->pid); /* whoever comes first */
	p->pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
	p->out_fd = TAKE_FD(out[0]);
	p->err_fd = TAKE_FD(err[0]);
	fd_set_nonblock(p->out_fd);
	fd_set_nonblock(p->err_fd);
	p->deadline_mono_ns = clock_mono_ns() + timeout_ns;
	if (p->pidfd < 0) {
		r = -errno;
		action_process_done(p);
	}
out:
	for (int i = 0; i < 2; i++) {
		close_p(&out[i]);
		close_p(&err[i]);
	}
	return r;
}

void action_process_poll(const struct action_process *p, struct pollfd *fds)
{
	fds[0] = (struct pollfd){ .fd = p->exited ? -1 : p->pidfd, .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = p->out_fd, .events = POLLIN };
	fds[2] = (struct pollfd){ .fd = p->err_fd, .events = POLLIN };
}

/* Reads what is there; closes the descriptor at its end. */
static void read_out(struct action_process *p)
{
	while (p->out_fd >= 0) {
		ssize_t n = read(p->out_fd, strbuf_reserve(&p->out, 4096), 4096);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n > 0) {
			p->out.len += (size_t)n;
			p->out.data[p->out.len] = '\0';
		}
		p->too_long = p->out.len > LIMIT_ACTION_OUTPUT_BYTES;
		if (n <= 0 || p->too_long) {
			close(p->out_fd);
			p->out_fd = -1;
		}
	}
}

/* Keeps the start, reads the rest away. */
static void read_err(struct action_process *p)
{
	char rest[512];

	while (p->err_fd >= 0) {
		ssize_t n = read(p->err_fd, rest, sizeof(rest));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			close(p->err_fd);
			p->err_fd = -1;
			return;
		}
		size_t room = sizeof(p->err) - 1 - p->err_len;
		size_t take = (size_t)n < room ? (size_t)n : room;

		memcpy(p->err + p->err_len, rest, take);
		p->err_len += take;
	}
}

static void kill_group(const struct action_process *p)
{
	/* The leader is not reaped yet, so the group's number cannot belong to others. */
	kill(-p->pid, SIGKILL);
}

static void reap(struct action_process *p)
{
	siginfo_t info = { 0 };

	kill_group(p);
	while (waitid(P_PID, (id_t)p->pid, &info, WEXITED) < 0 && errno == EINTR)
		;
	p->status = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
	p->exited = true;
}

bool action_process_step(struct action_process *p, const struct pollfd *fds)
{
	if (fds[1].revents)
		read_out(p);
	if (fds[2].revents)
		read_err(p);
	if (!p->exited && !p->too_long && clock_mono_ns() >= p->deadline_mono_ns)
		p->timed_out = true;
	if (p->exited)
		return true;
	if (!fds[0].revents && !p->timed_out && !p->too_long)
		return false;
	/* What the shell printed is in the pipe; what it left behind in the background is
	 * not waited for. */
	read_out(p);
	read_err(p);
	reap(p);
	return true;
}

void action_process_done(struct action_process *p)
{
	if (p->pid > 0 && !p->exited)
		reap(p);
	close_p(&p->pidfd);
	close_p(&p->out_fd);
	close_p(&p->err_fd);
	strbuf_done(&p->out);
	*p = (struct action_process){ .pidfd = -1, .out_fd = -1, .err_fd = -1 };
}

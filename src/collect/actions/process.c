/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/actions/process.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "collect/actions/runner.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/fileio.h"
#include "util/limits.h"
#include "util/loop.h"
#include "util/mem.h"

/* What a pipe holds, so that a command that never stops printing does not keep us. */
#define READ_BYTES 4096
#define READS_AT_ONCE 16

static void close_pipe(struct action_process *p, int *fd, uint64_t *watch)
{
	if (*fd < 0)
		return;
	loop_del(p->loop, watch);
	close(TAKE_FD(*fd));
}

/* Reads what is there; closes the descriptor at its end. */
static void read_out(struct action_process *p)
{
	for (int i = 0; i < READS_AT_ONCE && p->out_fd >= 0; i++) {
		ssize_t n =
			read(p->out_fd, strbuf_reserve(&p->out, READ_BYTES), READ_BYTES);

		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			return;
		if (n > 0) {
			p->out.len += (size_t)n;
			p->out.data[p->out.len] = '\0';
		}
		p->too_long = p->out.len > LIMIT_ACTION_OUTPUT_BYTES;
		if (n <= 0 || p->too_long)
			close_pipe(p, &p->out_fd, &p->out_watch);
	}
}

/* Keeps the start, reads the rest away. */
static void read_err(struct action_process *p)
{
	char rest[READ_BYTES];

	for (int i = 0; i < READS_AT_ONCE && p->err_fd >= 0; i++) {
		ssize_t n = read(p->err_fd, rest, sizeof(rest));

		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			return;
		if (n <= 0) {
			close_pipe(p, &p->err_fd, &p->err_watch);
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
	if (p->pid > 0 && !p->exited)
		runner_kill(p->runner, p->pid);
}

/* Nothing is read any more, and nobody is told. */
static void close_all(struct action_process *p)
{
	p->ended = true;
	loop_del(p->loop, &p->deadline);
	close_pipe(p, &p->out_fd, &p->out_watch);
	close_pipe(p, &p->err_fd, &p->err_watch);
}

/* The results are final. */
static void end(struct action_process *p)
{
	if (p->ended)
		return;
	close_all(p);
	p->on_end(p->ctx);
}

static void on_out(void *ctx, uint32_t events)
{
	struct action_process *p = ctx;

	(void)events;
	read_out(p);
	if (!p->too_long)
		return;
	kill_group(p);
	end(p);
}

static void on_err(void *ctx, uint32_t events)
{
	(void)events;
	read_err(ctx);
}

static void on_deadline(void *ctx)
{
	struct action_process *p = ctx;

	p->timed_out = true;
	kill_group(p);
	end(p);
}

/* What the shell left behind in the background is not waited for. */
static void on_exit_of_shell(void *ctx, int status)
{
	struct action_process *p = ctx;

	if (status >= 0)
		kill_group(p);
	p->exited = true;
	if (p->ended)
		return;
	p->status = status >= 0 ? status : 255;
	read_out(p);
	read_err(p);
	end(p);
}

static int watch_pipes(struct action_process *p)
{
	int r = loop_add_fd(p->loop, p->out_fd, EPOLLIN, on_out, p, &p->out_watch);

	fd_set_nonblock(p->out_fd);
	fd_set_nonblock(p->err_fd);
	return r < 0 ? r
		     : loop_add_fd(p->loop, p->err_fd, EPOLLIN, on_err, p, &p->err_watch);
}

/* Return: 0, or -errno when the command does not run. */
static int launch(struct action_process *p, const struct action_command *command)
{
	int out[2] = { -1, -1 }, err[2] = { -1, -1 }, r = 0;

	if (pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0)
		r = -errno;
	p->out_fd = out[0];
	p->err_fd = err[0];
	if (r == 0)
		r = watch_pipes(p);
	if (r == 0)
		r = p->pid = runner_spawn(p->runner, &command->run, out[1], err[1]);
	close_p(&out[1]);
	close_p(&err[1]);
	return r < 0 ? r : 0;
}

int action_process_start(struct loop *loop, const struct action_command *command,
	void (*on_end)(void *ctx), void *ctx, struct action_process **ret)
{
	struct action_process *p = xcalloc(1, sizeof(*p));

	*p = (struct action_process){
		.loop = loop, .runner = command->runner, .on_end = on_end, .ctx = ctx
	};
	int r = launch(p, command);

	if (r < 0) {
		action_process_free(p);
		return r;
	}
	setpgid(p->pid, p->pid); /* whoever comes first */
	p->child = loop_add_child(loop, p->pid, on_exit_of_shell, p);
	p->deadline = loop_add_timer(
		loop, clock_mono_ns() + command->timeout_ns, on_deadline, p);
	*ret = p;
	return 0;
}

void action_process_kill(struct action_process *p)
{
	close_all(p);
	kill_group(p);
	strbuf_done(&p->out);
}

bool action_process_gone(struct action_process *p)
{
	if (!p->gone)
		p->gone = p->pid <= 0 || (p->exited && runner_is_gone(p->runner, p->pid));
	return p->gone;
}

void action_process_free(struct action_process *p)
{
	if (!p)
		return;
	action_process_kill(p);
	loop_del(p->loop, &p->child);
	free(p);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keeper/apart.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bpf/delay_loader.h"
#include "keeper/message.h"
#include "keeper/place.h"
#include "util/cleanup.h"
#include "util/strbuf.h"

#define APART_MS 1000
/* 0.1 s, but a host that is emulated, or has no processor to spare, takes many times as long. */
#define ATTACH_MS 8000

/* What is to be done there. */
struct task {
	void (*run)(const struct task *task, struct answer *answer, int *ret_fds);
	size_t n_fds; /* that it answers with, all or none; 0: one or none */
	int limit_ms; /* 0: APART_MS */
	const char *path, *target;
	uid_t uid;
	size_t kept;
	char *memory; /* shared with the child, that large */
	size_t size;
};

/* In the child: it keeps nothing of the keeper's open, be it that it never ends. */
static void run_child(const struct task *task, int socket, pid_t parent)
{
	struct answer answer = { 0 };
	int fds[MESSAGE_FDS] = { -1 };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent || (socket != 3 && dup2(socket, 3) < 0))
		_exit(1);
	syscall(SYS_close_range, 4, ~0U, 0);
	task->run(task, &answer, fds);
	message_send_fds(3, &answer, fds, fds[0] < 0 ? 0 : task->n_fds ? task->n_fds : 1);
	_exit(0);
}

/* @socket: the child's answer comes there. */
static int wait_for_child(
	const struct task *task, int socket, struct answer *answer, int *ret_fds)
{
	struct pollfd p = { .fd = socket, .events = POLLIN };
	int n = 0;

	do
		n = poll(&p, 1, task->limit_ms ? task->limit_ms : APART_MS);
	while (n < 0 && errno == EINTR);
	if (n == 0) {
		snprintf(answer->why, sizeof(answer->why), "%s",
			task->path
				? "looking there takes too long; does it lead into the "
				  "mount itself?"
				: "it takes too long");
		return -ETIMEDOUT;
	}
	return n < 0 ? -errno
		     : message_receive_fds(
			       socket, answer, ret_fds, task->n_fds ? task->n_fds : 1);
}

static int run_apart(const struct task *task, struct answer *answer, int *ret_fds)
{
	pid_t parent = getpid();
	int sockets[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
		return -errno;
	pid_t pid = fork();

	if (pid == 0)
		run_child(task, sockets[1], parent);
	int r = pid < 0 ? -errno : 0;

	close(sockets[1]);
	if (r == 0)
		r = wait_for_child(task, sockets[0], answer, ret_fds);
	close(sockets[0]);
	if (pid < 0)
		return r;
	/* it has nothing more to do; it is reaped when it can be (reap_adopted()) */
	kill(pid, SIGKILL);
	return r;
}

/* The same, with @why. */
static int run_told(
	const struct task *task, struct answer *answer, int *ret_fds, struct strbuf *why)
{
	int r = run_apart(task, answer, ret_fds);

	if (r < 0)
		strbuf_adds(why, *answer->why ? answer->why : strerror(-r));
	return r;
}

static void say(struct answer *answer, const struct strbuf *why)
{
	snprintf(answer->why, sizeof(answer->why), "%s", strbuf_str(why));
}

static void do_connect(const struct task *task, struct answer *answer, int *ret_fd)
{
	*ret_fd = message_connect(task->path);
	answer->result = *ret_fd < 0 ? *ret_fd : 0;
}

int apart_connect(const char *path)
{
	const struct task task = { .run = do_connect, .path = path };
	struct answer answer = { 0 };
	int fd = -1, r = run_apart(&task, &answer, &fd);

	return r < 0 ? r : fd < 0 ? -EPROTO : fd;
}

static void do_link(const struct task *task, struct answer *answer, int *ret_fd)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;

	(void)ret_fd;
	answer->result = place_link(task->path, task->target, &answer->kept, &why);
	say(answer, &why);
}

int apart_link(const char *path, const char *target, size_t *ret_kept, struct strbuf *why)
{
	const struct task task = { .run = do_link, .path = path, .target = target };
	struct answer answer = { 0 };
	int fd = -1, r = run_told(&task, &answer, &fd, why);

	if (r == 0)
		*ret_kept = answer.kept;
	return r;
}

static void do_open_old(const struct task *task, struct answer *answer, int *ret_fd)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;

	answer->result = place_open_old(task->path, ret_fd, &why);
	say(answer, &why);
}

int apart_open_old(const char *path, int *ret_fd, struct strbuf *why)
{
	const struct task task = { .run = do_open_old, .path = path };
	struct answer answer = { 0 };

	return run_told(&task, &answer, ret_fd, why);
}

/* Return: how many bytes, or -errno. */
static ssize_t read_file(int fd, char *to, size_t size)
{
	size_t at = 0;
	ssize_t n = 1;

	while (n != 0 && at < size) {
		n = read(fd, to + at, size - at);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			at += (size_t)n;
	}
	return (ssize_t)at;
}

static void do_read(const struct task *task, struct answer *answer, int *ret_fd)
{
	_cleanup_close_ int fd =
		open(task->path, O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	ssize_t n = fd < 0 || fstat(fd, &st) < 0 ? -errno
		: S_ISREG(st.st_mode)            ? read_file(fd, task->memory, task->size)
						 : -EMEDIUMTYPE;

	(void)ret_fd;
	answer->result = n < 0 ? (int)n : 0;
	answer->kept = n < 0 ? 0 : (size_t)n;
}

int apart_read(const char *path, size_t max, struct strbuf *out)
{
	char *memory = mmap(
		NULL, max + 1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	const struct task task = {
		.run = do_read, .path = path, .memory = memory, .size = max + 1
	};
	struct answer answer = { 0 };
	int fd = -1;

	if (memory == MAP_FAILED)
		return -errno;
	int r = run_apart(&task, &answer, &fd);

	if (r == 0 && answer.kept > max)
		r = -EFBIG;
	if (r == 0)
		strbuf_add(out, memory, answer.kept);
	munmap(memory, max + 1);
	return r;
}

static void do_remove(const struct task *task, struct answer *answer, int *ret_fd)
{
	(void)answer;
	(void)ret_fd;
	place_remove(task->path, task->target, task->uid, task->kept);
}

void apart_remove(const char *path, const char *target, uid_t uid, size_t kept)
{
	const struct task task = {
		.run = do_remove, .path = path, .target = target, .uid = uid, .kept = kept
	};
	struct answer answer = { 0 };
	int fd = -1;

	(void)run_apart(&task, &answer, &fd);
}

static void do_attach(const struct task *task, struct answer *answer, int *ret_fds)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;

	(void)task;
	answer->result = delay_attach(ret_fds, &answer->bits, &why);
	say(answer, &why);
}

int apart_attach(int ret_fds[DELAY_FDS], uint32_t *ret_bits, struct strbuf *why)
{
	const struct task task = {
		.run = do_attach, .n_fds = DELAY_FDS, .limit_ms = ATTACH_MS
	};
	struct answer answer = { 0 };
	int r = run_told(&task, &answer, ret_fds, why);

	if (r == 0 && ret_fds[0] < 0)
		r = -EPROTO;
	if (r == 0)
		*ret_bits = answer.bits;
	return r;
}

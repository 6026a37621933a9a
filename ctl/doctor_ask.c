/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor_private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/clock.h"
#include "util/fileio.h"

/* Between looks whether a child has ended that has said all. */
#define LOOK_NS (5 * NS_PER_MS)
/* A child that is killed ends at once, or not at all. */
#define KILLED_NS (200 * NS_PER_MS)
/* The lowest number that a descriptor of the child's has for a moment. */
#define HIGH_FD 10
#define OUT_FD 3
#define MAX_FDS 4096

void doctor_answer(int out, const struct strbuf *text)
{
	for (size_t done = 0; done < text->len;) {
		ssize_t n = write(out, text->data + done, text->len - done);

		if (n < 0 && errno != EINTR)
			return;
		done += n > 0 ? (size_t)n : 0;
	}
}

/*
 * Who reads what doctor prints must not wait for a child that is left behind: it keeps nothing
 * of ours open.
 */
static void close_all(int out)
{
	int null = open("/dev/null", O_RDWR);
	int high = fcntl(out, F_DUPFD, HIGH_FD);
	int high_null = fcntl(null, F_DUPFD, HIGH_FD);

	for (int fd = 0; fd <= 2; fd++)
		dup2(high_null, fd);
	if (dup2(high, OUT_FD) < 0)
		_exit(EMFILE);
	if (close_range(OUT_FD + 1, ~0u, 0) < 0)
		for (int fd = OUT_FD + 1; fd < MAX_FDS; fd++)
			close(fd);
}

/* Return: false when there is nothing more to come, or not in time. */
static bool read_more(
	int fd, int64_t until_ns, size_t max, struct strbuf *text, int *ret_r)
{
	int64_t left_ns = until_ns - clock_mono_ns();
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	int n = left_ns > 0 ? poll(&pfd, 1, (int)(left_ns / NS_PER_MS) + 1) : 0;

	if (n < 0 && errno == EINTR)
		return true;
	if (n <= 0) {
		*ret_r = n < 0 ? -errno : -ETIMEDOUT;
		return false;
	}
	ssize_t got = read(fd, strbuf_reserve(text, 4096), 4096);

	if (got < 0 && errno == EINTR)
		return true;
	text->len += got > 0 ? (size_t)got : 0;
	text->data[text->len] = '\0';
	if (text->len > max)
		*ret_r = -EFBIG;
	return got > 0 && text->len <= max;
}

/* Return: its exit status, or -errno; -ETIMEDOUT: it still runs. */
static int reap(pid_t pid, int64_t until_ns)
{
	const struct timespec pause = ns_to_timespec(LOOK_NS);
	int status = 0;

	for (;;) {
		pid_t got = waitpid(pid, &status, WNOHANG);

		if (got == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : -EINTR;
		if (got < 0 && errno != EINTR)
			return -errno;
		if (clock_mono_ns() >= until_ns)
			return -ETIMEDOUT;
		nanosleep(&pause, NULL);
	}
}

int doctor_ask(int (*work)(const void *ctx, int out), const void *ctx, int timeout_ms,
	size_t max, struct strbuf *text)
{
	int64_t until_ns = clock_mono_ns() + timeout_ms * NS_PER_MS;
	int fds[2], r = 0;

	strbuf_clear(text);
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close_all(fds[1]);
		_exit(work(ctx, OUT_FD));
	}
	if (pid < 0)
		r = -errno;
	close(fds[1]);
	while (r == 0 && read_more(fds[0], until_ns, max, text, &r))
		;
	close(fds[0]);
	if (pid < 0)
		return r;
	int status = r < 0 ? -ETIMEDOUT : reap(pid, until_ns);

	if (status == -ETIMEDOUT) {
		kill(pid, SIGKILL);
		reap(pid, clock_mono_ns() + KILLED_NS);
	}
	return r < 0 ? r : status;
}

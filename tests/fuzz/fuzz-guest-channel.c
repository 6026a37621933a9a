/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a guest's reader gets over the channel, in pieces: a byte says how many bytes come with
 * one read, 255 that the host's end is closed for a moment, 254 that the port is in trouble,
 * 0 that there is nothing now.
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "channel.h"
#include "fuzz.h"
#include "util/clock.h"
#include "util/wire.h"

enum { NOTHING = 0, TROUBLE = 254, CLOSED = 255 };

static bool playing;
static const uint8_t *at;
static size_t left;
static int64_t passed_ms;

ssize_t __real_read(int fd, void *buf, size_t n);
ssize_t __wrap_read(int fd, void *buf, size_t n);
ssize_t __real_write(int fd, const void *buf, size_t n);
ssize_t __wrap_write(int fd, const void *buf, size_t n);
int __real_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
int __real_clock_gettime(clockid_t id, struct timespec *ret);
int __wrap_clock_gettime(clockid_t id, struct timespec *ret);

static ssize_t fail_with(int error)
{
	errno = error;
	return -1;
}

ssize_t __wrap_read(int fd, void *buf, size_t n)
{
	if (!playing)
		return __real_read(fd, buf, n);
	if (!left)
		return fail_with(EAGAIN);
	size_t piece = *at++;

	left--;
	if (piece == NOTHING)
		return fail_with(EAGAIN);
	if (piece == TROUBLE)
		return fail_with(EIO);
	if (piece == CLOSED)
		return 0;
	piece = piece < left ? piece : left;
	piece = piece < n ? piece : n;
	memcpy(buf, at, piece);
	at += piece;
	left -= piece;
	return piece ? (ssize_t)piece : fail_with(EAGAIN);
}

/* Takes little at a time, and now and then nothing. */
ssize_t __wrap_write(int fd, const void *buf, size_t n)
{
	static unsigned calls;

	if (!playing)
		return __real_write(fd, buf, n);
	if (++calls % 4 == 0)
		return fail_with(EAGAIN);
	return n < 7 ? (ssize_t)n : 7;
}

int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	if (!playing)
		return __real_poll(fds, n, timeout_ms);
	if (fds && ((fds->events & POLLOUT) || left)) {
		fds->revents = fds->events;
		return 1;
	}
	passed_ms += timeout_ms;
	return 0;
}

int __wrap_clock_gettime(clockid_t id, struct timespec *ret)
{
	if (!playing || id != CLOCK_MONOTONIC)
		return __real_clock_gettime(id, ret);
	*ret = (struct timespec){ .tv_sec = 1000 + passed_ms / 1000,
		.tv_nsec = passed_ms % 1000 * 1000000 };
	return 0;
}

static bool is_document(const struct buf *out)
{
	static const char start[] = "<metrics>";

	return out->len > strlen(start) && !memcmp(out->data, start, strlen(start)) &&
		out->data[out->len - 1] == '\n' &&
		!memmem(out->data, out->len, WIRE_END, strlen(WIRE_END));
}

/* @settle: as who does not know what was left in the port */
static void play(const uint8_t *data, size_t size, bool settle)
{
	_cleanup_buf_ struct buf out = BUF_INIT, tried = BUF_INIT;

	at = data;
	left = size;
	passed_ms = 0;
	playing = true;
	int r = channel_read(
		"/dev/null", settle, clock_mono_ns() + 10 * NS_PER_S, &out, &tried);

	playing = false;
	if (r < 0 ? !tried.len || out.len : !is_document(&out))
		abort();
	if (passed_ms > 11000)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	play(data, size, false);
	play(data, size, true);
	return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>

#include "util/clock.h"
#include "util/mem.h"

/* Some lines for each VM. */
#define ANSWER_BYTES_MAX (64u << 20)

/* Before it is asked again. */
#define PAUSE_NS (20 * NS_PER_MS)

void control_answer_done(struct control_answer *a)
{
	free(a->word);
	free(a->text);
	free(a->body);
	*a = (struct control_answer){ 0 };
}

/* Takes a word and the space behind it off a line. */
static bool skip_word(const char **at, const char *word)
{
	size_t n = strlen(word);

	if (strncmp(*at, word, n) != 0 || ((*at)[n] != ' ' && (*at)[n]))
		return false;
	*at += n + ((*at)[n] == ' ');
	return true;
}

int control_parse(const char *bytes, size_t len, struct control_answer *ret)
{
	if (memchr(bytes, '\0', len))
		return -EPROTO;
	/* an empty line ends it */
	if (len < 2 || memcmp(bytes + len - 2, "\n\n", 2) != 0)
		return -ENODATA;
	const char *newline = memchr(bytes, '\n', len);
	size_t n_first = (size_t)(newline - bytes);
	_cleanup_free_ char *line = xstrndup(bytes, n_first);
	const char *at = line;
	size_t n_word = 0;
	bool ok = skip_word(&at, "ok");

	if (!ok && !skip_word(&at, "error"))
		return -EPROTO;
	if (!ok)
		n_word = strcspn(at, " ");
	*ret = (struct control_answer){ .ok = ok,
		.word = xstrndup(at, n_word),
		.text = xstrdup(at + n_word + (!ok && at[n_word] == ' ')),
		.body = xstrndup(newline + 1, len - n_first - 2) };
	return 0;
}

char *control_value(const struct control_answer *a, const char *key)
{
	size_t n = strlen(key);

	for (const char *line = a->body; *line;
		line += strcspn(line, "\n"), line += *line == '\n')
		if (!strncmp(line, key, n) && !strncmp(line + n, ": ", 2))
			return xstrndup(line + n + 2, strcspn(line + n + 2, "\n"));
	return NULL;
}

static int left_ms(int64_t until_ns)
{
	int64_t ms = (until_ns - clock_mono_ns() + NS_PER_MS - 1) / NS_PER_MS;

	return ms < 0 ? 0 : ms > INT32_MAX ? INT32_MAX : (int)ms;
}

/* Where many want to connect it takes a moment.  Return: a descriptor or -errno. */
static int connect_to(const char *path, int64_t until_ns)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int ms = left_ms(until_ns);
	struct timeval limit = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 + 1 };

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	memcpy(addr.sun_path, path, strlen(path) + 1);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	return TAKE_FD(fd);
}

/* Return: 0 at the end; -errno. */
static int receive_all(int fd, int64_t until_ns, struct strbuf *out)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	while (out->len < ANSWER_BYTES_MAX) {
		int n = poll(&poll_fd, 1, left_ms(until_ns));

		if (n == 0)
			return -ETIMEDOUT;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n < 0)
			continue;
		ssize_t got = read(fd, strbuf_reserve(out, 65536), 65536);

		/* who has not read all that we said ends so, and whoever is killed */
		if (got == 0 || (got < 0 && errno == ECONNRESET))
			return 0;
		if (got < 0 && errno != EINTR)
			return -errno;
		if (got > 0)
			out->len += (size_t)got;
	}
	return -EPROTO;
}

int control_ask(
	const char *path, const char *verb, int64_t until_ns, struct control_answer *ret)
{
	_cleanup_free_ char *line = xasprintf("vhostmd 1 %s\n", verb);
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	_cleanup_close_ int fd = connect_to(path, until_ns);

	if (fd < 0)
		return fd;
	if (send(fd, line, strlen(line), MSG_NOSIGNAL) < 0)
		return errno == EPIPE || errno == ECONNRESET ? -ENODATA : -errno;
	int r = receive_all(fd, until_ns, &out);

	return r < 0 ? r : control_parse(strbuf_str(&out), out.len, ret);
}

int control_ask_patiently(
	const char *path, const char *verb, int64_t until_ns, struct control_answer *ret)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };
	int r;

	while ((r = control_ask(path, verb, until_ns, ret)) == -ENODATA &&
		clock_mono_ns() < until_ns)
		nanosleep(&pause, NULL);
	return r;
}

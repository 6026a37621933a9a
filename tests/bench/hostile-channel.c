/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hostile-channel DIR HONEST HOSTILE ROUNDS ALONE BESIDE
 *
 * Stands in for so many VMs' QEMU: listens on DIR/N/org.github.vhostmd.1, says "ready" once
 * vhostmd is connected to all, and goes on when a line comes.  Then, so many times, the honest
 * ones ask for ALONE seconds, and for BESIDE seconds while the hostile ones do what they can.
 * Prints the 99th percentiles of the honest ones' times in microseconds, alone and beside,
 * one line a round.
 */
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/parse.h"
#include "util/wire.h"

#define ASKS_A_SECOND 5 /* an honest one */
#define PATIENCE_MS 20000
#define MAX_SAMPLES 100000u

enum kind {
	FLOODS,   /* asks without end, reads all */
	DEAF,     /* asks without end, reads nothing */
	GARBAGE,  /* says nonsense without end, reads all */
	ENDLESS,  /* says nothing but carriage returns */
	DRIPS,    /* says a byte now and then, which never end a request */
	SIPS,     /* asks without end, reads a byte a second */
	HANGS_UP, /* asks and closes */
	KINDS
};

struct port {
	enum kind kind;
	int listener, fd;
	int64_t due_ns; /* the next byte of those that have time */
};

static struct port *ports;
static unsigned n_honest, n_ports;
static _Atomic bool siege; /* the hostile ones are at it */
static char flood_of_gets[18 * 200 + 1], flood_of_garbage[4096], flood_of_cr[4096];

static void port_listen(struct port *p, const char *dir, unsigned n)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%u", dir, n);
	mkdir(addr.sun_path, 0755);
	snprintf(
		addr.sun_path, sizeof(addr.sun_path), "%s/%u/" WIRE_CHANNEL_NAME, dir, n);
	p->fd = -1;
	p->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->listener < 0 ||
		bind(p->listener, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
		listen(p->listener, 1) < 0)
		err(1, "%s", addr.sun_path);
}

static void port_accept(struct port *p, bool must)
{
	struct pollfd pfd = { .fd = p->listener, .events = POLLIN };

	if (must && poll(&pfd, 1, PATIENCE_MS) != 1)
		errx(1, "no connection");
	p->fd = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (p->fd < 0 && must)
		err(1, "accept");
}

/* ---- the hostile ones ---- */

static bool dropped(const struct port *p)
{
	struct pollfd pfd = { .fd = p->fd, .events = 0 };

	return poll(&pfd, 1, 0) == 1;
}

static void say(const struct port *p, const char *text, size_t n)
{
	while (send(p->fd, text, n, MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
		;
}

static void swallow(const struct port *p)
{
	static char sink[1 << 16];

	while (recv(p->fd, sink, sizeof(sink), MSG_DONTWAIT) > 0)
		;
}

static void misbehave(struct port *p, int64_t now)
{
	bool due = now >= p->due_ns;
	char byte;

	switch (p->kind) {
	case FLOODS:
	case DEAF:
	case SIPS:
		say(p, flood_of_gets, strlen(flood_of_gets));
		break;
	case GARBAGE:
		say(p, flood_of_garbage, sizeof(flood_of_garbage));
		break;
	case ENDLESS:
		say(p, flood_of_cr, sizeof(flood_of_cr));
		break;
	case DRIPS:
		if (send(p->fd, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			break;
		break;
	case HANGS_UP:
		if (due &&
			send(p->fd, WIRE_REQUEST, strlen(WIRE_REQUEST), MSG_NOSIGNAL) >=
				0)
			close(p->fd);
		else
			return;
		p->fd = -1;
		break;
	case KINDS:
		break;
	}
	if (p->fd >= 0 && p->kind != DEAF && p->kind != SIPS)
		swallow(p);
	if (p->kind == SIPS && due && recv(p->fd, &byte, 1, MSG_DONTWAIT) > 0)
		p->due_ns = now + NS_PER_S;
}

/* Each is looked at some hundred times a second, so that the daemon is what is measured. */
static void *hostile_main(void *arg)
{
	(void)arg;
	for (;;) {
		int64_t now = clock_mono_ns();

		for (unsigned i = n_honest; atomic_load(&siege) && i < n_ports; i++) {
			struct port *p = &ports[i];

			if (p->fd >= 0 && dropped(p))
				close(p->fd), p->fd = -1;
			if (p->fd < 0)
				port_accept(p, false);
			if (p->fd >= 0)
				misbehave(p, now);
		}
		poll(NULL, 0, 5);
	}
	return NULL;
}

/* ---- the honest ones ---- */

static int by_size(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Return: how long it took. */
static int64_t ask(const struct port *p)
{
	static char in[1 << 20];
	size_t len = 0;
	int64_t start = clock_mono_ns();

	if (send(p->fd, WIRE_REQUEST, strlen(WIRE_REQUEST), MSG_NOSIGNAL) < 0)
		err(1, "an honest request");
	do {
		struct pollfd pfd = { .fd = p->fd, .events = POLLIN };

		if (poll(&pfd, 1, PATIENCE_MS) != 1)
			errx(1, "an honest request is not answered");
		ssize_t n = recv(p->fd, in + len, sizeof(in) - len, MSG_DONTWAIT);

		if (n == 0)
			errx(1, "an honest channel is lost");
		len += n > 0 ? (size_t)n : 0;
	} while (len < 2 || memcmp(in + len - 2, WIRE_END, 2) != 0);
	if (memcmp(in, "<metrics>", 9) != 0)
		errx(1, "an honest request is refused");
	return clock_mono_ns() - start;
}

static double p99_us(unsigned seconds)
{
	static int64_t took[MAX_SAMPLES];
	int64_t step = NS_PER_S / ASKS_A_SECOND / n_honest, next = clock_mono_ns();
	size_t n = (size_t)seconds * ASKS_A_SECOND * n_honest;

	if (n > MAX_SAMPLES)
		n = MAX_SAMPLES;
	for (size_t i = 0; i < n; i++) {
		struct timespec until = ns_to_timespec(next += step);

		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
		took[i] = ask(&ports[i % n_honest]);
	}
	qsort(took, n, sizeof(*took), by_size);
	return (double)took[n * 99 / 100] / 1000;
}

static unsigned number(const char *word)
{
	uint64_t n = 0;

	if (parse_u64(word, &n) < 0 || n > MAX_SAMPLES)
		errx(2, "%s: no number", word);
	return (unsigned)n;
}

static void prepare(void)
{
	const size_t request_bytes = strlen(WIRE_REQUEST);
	struct rlimit files;

	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	for (size_t i = 0; i + request_bytes < sizeof(flood_of_gets); i += request_bytes)
		memcpy(flood_of_gets + i, WIRE_REQUEST, request_bytes);
	for (size_t i = 0; i < sizeof(flood_of_garbage); i++)
		flood_of_garbage[i] = "no such thing\n\n"[i % 15];
	memset(flood_of_cr, '\r', sizeof(flood_of_cr));
}

int main(int argc, char **argv)
{
	pthread_t hostile;
	char line[16];

	if (argc != 7)
		errx(2, "DIR HONEST HOSTILE ROUNDS ALONE BESIDE");
	n_honest = number(argv[2]);
	n_ports = n_honest + number(argv[3]);
	ports = calloc(n_ports, sizeof(*ports));
	prepare();
	for (unsigned i = 0; i < n_ports; i++) {
		ports[i].kind = i % KINDS;
		port_listen(&ports[i], argv[1], i);
	}
	for (unsigned i = 0; i < n_ports; i++)
		port_accept(&ports[i], true);
	pthread_create(&hostile, NULL, hostile_main, NULL);
	puts("ready");
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		return 1;
	for (unsigned left = number(argv[4]); left > 0; left--) {
		double alone = p99_us(number(argv[5]));

		atomic_store(&siege, true);
		printf("%.1f %.1f\n", alone, p99_us(number(argv[6])));
		fflush(stdout);
		atomic_store(&siege, false);
	}
	return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What libmetrics costs inside a guest, beside the least that it could cost there.  Runs in a
 * guest that has no libc, and on the host, where it is the other end of an echo:
 *
 *   disk PATH ROUNDS      "get_metric RATIO", "snapshot RATIO" and "first RATIO": of medians,
 *                         taken in turns
 *   memory PATH           "held RATIO" and "peak RATIO": of the heap, to the document's length
 *   channel ROUNDS        "channel US BYTES": a request to its whole reply, the median
 *   echo BYTES ROUNDS     "echo US": the same from answer(), over the same port, opened and closed
 *                         each time, as programs must that share it; "kept US": open all the time
 *   answer SOCKET BYTES   answers each request that comes out of a guest with so many bytes
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "mdisk/image.h"
#include "util/parse.h"
#include "util/wire.h"
#include "vhostmd/metrics.h"

enum { LOOK_UPS = 60, SMALL = 4096, BLOCK = 65536 };

#define PORT "/dev/virtio-ports/" WIRE_CHANNEL_NAME

/* ---- memory ---- */

static size_t heap, heap_most;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *p);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void __wrap_free(void *p);

static void *count(void *p)
{
	heap += malloc_usable_size(p);
	heap_most = heap > heap_most ? heap : heap_most;
	return p;
}

void *__wrap_malloc(size_t size)
{
	return count(__real_malloc(size));
}

void *__wrap_calloc(size_t n, size_t size)
{
	return count(__real_calloc(n, size));
}

/* Where it moves, both are there at once. */
void *__wrap_realloc(void *p, size_t size)
{
	size_t had = malloc_usable_size(p);
	uintptr_t was = (uintptr_t)p;
	void *ret = __real_realloc(p, size);

	if (ret && (uintptr_t)ret == was)
		heap -= had;
	count(ret);
	if (ret && (uintptr_t)ret != was)
		heap -= had;
	return ret;
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
	return count(__real_aligned_alloc(alignment, size));
}

void __wrap_free(void *p)
{
	heap -= malloc_usable_size(p);
	__real_free(p);
}

/* ---- another document each time ---- */

/*
 * The host samples once a second, which is too seldom to wait for.  So a digit of the content is
 * exchanged while it is read, and the sum follows: to who reads it all that is a new sample.
 */
static bool exchanges;
static char digit = '0';
static size_t digit_at; /* in the image; in its first small block */

ssize_t __real_pread64(int fd, void *buf, size_t n, off_t at);
ssize_t __wrap_pread64(int fd, void *buf, size_t n, off_t at);

ssize_t __wrap_pread64(int fd, void *buf, size_t n, off_t at)
{
	ssize_t got = __real_pread64(fd, buf, n, at);
	char *image = buf;
	uint32_t sum;

	if (!exchanges || at != 0 || got < SMALL)
		return got;
	memcpy(&sum, image + 8, sizeof(sum));
	sum = htonl(ntohl(sum) + (uint32_t)digit - (uint32_t)image[digit_at]);
	memcpy(image + 8, &sum, sizeof(sum));
	image[digit_at] = digit;
	return got;
}

static void next_sample(void)
{
	exchanges = true;
	digit = digit < '9' ? (char)(digit + 1) : '1';
}

/* ---- what all need ---- */

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* Writes how long it took since @start.  Return: now. */
static double lap(double *ret_us, double start)
{
	double now = now_us();

	*ret_us = now - start;
	return now;
}

static double *series(size_t n)
{
	double *us = n > 0 ? calloc(n, sizeof(*us)) : NULL;

	if (!us)
		die("rounds");
	return us;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *v, size_t n)
{
	qsort(v, n, sizeof(*v), compare);
	return v[n / 2];
}

static struct vhostmd_snapshot *read_source(struct vhostmd_source *s)
{
	struct vhostmd_snapshot *now = NULL;
	int r = vhostmd_read(s, &now);

	if (r == 0)
		return now;
	fprintf(stderr, "%s%s\n", vhostmd_tried(s), vhostmd_strerror(r));
	exit(1);
}

/* ---- a disk ---- */

struct raw {
	int fd;
	char *room;
	size_t bytes; /* header and content, in whole small blocks */
};

static void read_raw(struct raw *r, size_t bytes)
{
	for (size_t at = 0; at < bytes; at += BLOCK) {
		size_t n = bytes - at < BLOCK ? bytes - at : BLOCK;

		if (pread(r->fd, r->room, n, (off_t)at) <= 0)
			die("read");
	}
}

/* As the format's rules are: header and content, then the header again. */
static void read_whole(struct raw *r)
{
	read_raw(r, r->bytes);
	read_raw(r, SMALL);
}

static void get_one(const char *name)
{
	metric *m = NULL;

	if (get_metric(name, &m, METRIC_CONTEXT_HOST) != 0)
		die(name);
	metric_free(m);
}

static void look_up_all(struct vhostmd_source *s)
{
	struct vhostmd_snapshot *now = read_source(s);

	for (size_t i = 0; i < LOOK_UPS; i++) {
		const struct vhostmd_metric *m = vhostmd_snapshot_at(now, i);
		double value = 0;

		if (!m)
			die("too few metrics");
		int r = vhostmd_get_real(
			now, vhostmd_metric_context(m), vhostmd_metric_name(m), &value);

		if (r < 0 && r != VHOSTMD_ERR_TYPE)
			die(vhostmd_metric_name(m));
	}
	vhostmd_snapshot_free(now);
}

static struct raw open_raw(const char *path, size_t content)
{
	struct raw r = { .fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC),
		.room = aligned_alloc(SMALL, BLOCK),
		.bytes = (content + IMAGE_HEADER_BYTES + SMALL - 1) / SMALL * SMALL };

	if (r.fd < 0 && errno == EINVAL)
		r.fd = open(path, O_RDONLY | O_CLOEXEC);
	if (r.fd < 0 || !r.room)
		die(path);
	return r;
}

/* The first metric of the host's. */
static const char *host_metric(const struct vhostmd_snapshot *now)
{
	const struct vhostmd_metric *m = vhostmd_snapshot_at(now, 0);

	if (!m || vhostmd_metric_context(m) != METRIC_CONTEXT_HOST)
		die("no metric of the host");
	return vhostmd_metric_name(m);
}

/* The first number in @xml, one digit of it. */
static size_t find_digit(const char *xml)
{
	const char *at = xml;

	do
		at = strstr(at + 1, "</value>");
	while (at && (at[-1] < '0' || at[-1] > '9'));
	if (!at || at - xml >= SMALL - IMAGE_HEADER_BYTES)
		die("no number");
	return IMAGE_HEADER_BYTES + (size_t)(at - 1 - xml);
}

enum { HEADER, GET_METRIC, WHOLE, SNAPSHOT, FIRST, THINGS };

static void disk(const char *path, size_t rounds)
{
	double *us[THINGS], middle[THINGS];
	struct vhostmd_source *s = NULL;
	size_t len = 0;

	if (setenv("VHOSTMD_SOURCE", path, 1) < 0 || vhostmd_open(path, &s) < 0)
		die(path);
	struct vhostmd_snapshot *first = read_source(s);
	const char *uuid = vhostmd_snapshot_uuid(first), *name = host_metric(first);

	digit_at = find_digit(vhostmd_snapshot_xml(first, &len));
	struct raw raw = open_raw(path, len);

	for (int what = 0; what < THINGS; what++)
		us[what] = series(rounds);
	for (size_t i = 0; i < rounds; i++) {
		double at = now_us();

		read_raw(&raw, SMALL);
		at = lap(&us[HEADER][i], at);
		get_one(name);
		at = lap(&us[GET_METRIC][i], at);
		read_whole(&raw);
		at = lap(&us[WHOLE][i], at);
		next_sample();
		look_up_all(s);
		at = lap(&us[SNAPSHOT][i], at);
		/* what was known of the document is forgotten */
		(void)vhostmd_set_uuid(s, uuid);
		look_up_all(s);
		lap(&us[FIRST][i], at);
		exchanges = false;
	}
	for (int what = 0; what < THINGS; what++)
		middle[what] = median(us[what], rounds);
	fprintf(stderr,
		"%zu bytes; us: header %.1f get_metric %.1f whole %.1f snapshot %.1f first "
		"%.1f\n",
		len, middle[HEADER], middle[GET_METRIC], middle[WHOLE], middle[SNAPSHOT],
		middle[FIRST]);
	printf("get_metric %.3f\nsnapshot %.3f\nfirst %.3f\n",
		middle[GET_METRIC] / middle[HEADER], middle[SNAPSHOT] / middle[WHOLE],
		middle[FIRST] / middle[WHOLE]);
	vhostmd_snapshot_free(first);
	vhostmd_close(s);
}

static void memory(const char *path)
{
	struct vhostmd_source *s = NULL;
	size_t before = heap, held, most, len = 0;

	heap_most = heap;
	if (vhostmd_open(path, &s) < 0)
		die(path);
	struct vhostmd_snapshot *now = read_source(s);

	held = heap - before;
	most = heap_most - before;
	(void)vhostmd_snapshot_xml(now, &len);
	vhostmd_snapshot_free(now);
	vhostmd_close(s);
	if (heap != before) {
		fprintf(stderr, "%zu bytes are lost\n", heap - before);
		exit(1);
	}
	printf("held %.3f\npeak %.3f\n", (double)held / (double)len,
		(double)most / (double)len);
}

/* ---- a channel ---- */

static void wait_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (poll(&p, 1, 10000) != 1)
		die("no answer");
}

static void channel(size_t rounds)
{
	double *us = series(rounds);
	struct vhostmd_source *s = NULL;
	size_t len = 0;

	if (vhostmd_open("channel", &s) < 0)
		die("channel");
	vhostmd_snapshot_free(read_source(s));
	for (size_t i = 0; i < rounds; i++) {
		double start = now_us();
		struct vhostmd_snapshot *now = read_source(s);

		lap(&us[i], start);
		(void)vhostmd_snapshot_xml(now, &len);
		vhostmd_snapshot_free(now);
	}
	printf("channel %.1f %zu\n", median(us, rounds), len + 1);
	vhostmd_close(s);
}

/* The other end may not be there yet, or no more, and what is said is lost: until it answers. */
static void wait_for_answer(int fd, size_t bytes, char *room)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t have = 0;

	for (int tries = 0; tries < 100 && have < bytes; tries++) {
		if (write(fd, WIRE_REQUEST, strlen(WIRE_REQUEST)) < 0)
			poll(NULL, 0, 100);
		while (poll(&p, 1, 500) == 1 && p.revents & POLLIN) {
			ssize_t n = read(fd, room, bytes);

			have += n > 0 ? (size_t)n : 0;
		}
	}
}

static int open_port(void)
{
	int fd = open(PORT, O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		die(PORT);
	return fd;
}

static void ask(int fd, size_t bytes, char *room)
{
	if (write(fd, WIRE_REQUEST, strlen(WIRE_REQUEST)) < 0)
		die(PORT);
	for (size_t have = 0; have < bytes;) {
		ssize_t n = read(fd, room, bytes - have);

		have += n > 0 ? (size_t)n : 0;
		if (n <= 0)
			wait_readable(fd);
	}
}

static void echo(size_t bytes, size_t rounds)
{
	double *us = series(rounds);
	char *room = malloc(bytes);
	int fd = open_port();

	if (!room)
		die("memory");
	wait_for_answer(fd, bytes, room);
	for (size_t i = 0; i < rounds; i++) {
		double start = now_us();

		ask(fd, bytes, room);
		lap(&us[i], start);
	}
	printf("kept %.1f\n", median(us, rounds));
	close(fd);
	for (size_t i = 0; i < rounds; i++) {
		double start = now_us();

		fd = open_port();
		ask(fd, bytes, room);
		close(fd);
		lap(&us[i], start);
	}
	printf("echo %.1f\n", median(us, rounds));
}

static void answer(const char *path, size_t bytes)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char *text = malloc(bytes), request[64];
	ssize_t n;

	if (!text || strlen(path) >= sizeof(a.sun_path))
		die(path);
	memcpy(a.sun_path, path, strlen(path) + 1);
	memset(text, 'x', bytes);
	if (connect(fd, (const struct sockaddr *)&a, sizeof(a)) < 0)
		die(path);
	while ((n = recv(fd, request, sizeof(request), 0)) > 0)
		if (request[n - 1] == '\n' && send(fd, text, bytes, 0) < 0)
			die(path);
}

/* 0 if it is none, or too large to count with. */
static size_t number_of(const char *word)
{
	uint64_t n = 0;

	return parse_u64(word, &n) == 0 && n < 1u << 30 ? (size_t)n : 0;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "", *first = argc > 2 ? argv[2] : "";
	size_t number = argc > 2 ? number_of(argv[2]) : 0;
	size_t second = argc > 3 ? number_of(argv[3]) : 0;

	if (!strcmp(mode, "disk") && second)
		disk(first, second);
	else if (!strcmp(mode, "memory") && *first)
		memory(first);
	else if (!strcmp(mode, "channel") && number)
		channel(number);
	else if (!strcmp(mode, "echo") && number && second)
		echo(number, second);
	else if (!strcmp(mode, "answer") && second)
		answer(first, second);
	else
		return 2;
	return 0;
}

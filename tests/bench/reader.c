/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What read.sh reads with.
 *   reader file PATH SECONDS          open, read, close; prints the mean in microseconds
 *   reader disk PATH COUNT [direct]   64 KiB reads at offset 0; prints mean and p99, us
 *   reader torn PATH ROUNDS THREADS guest|blocks
 *       reads header, content and header as guests do and checks the sum: `guest` in the
 *       parts that they are in, `blocks` in blocks of 64 KiB from offset 0.  Prints how many
 *       rounds were torn, and how many started over.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 65536u
#define SIGNATURE 0x6d766264u

/* A QEMU has its disk open for as long as its VM runs. */
#define WARM_UP_US 5e5

static double now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static int read_files(const char *path, double seconds)
{
	double start = now_us(), end = start + seconds * 1e6, now;
	long n = 0;
	char text[4096];

	do {
		for (int i = 0; i < 100; i++, n++) {
			int fd = open(path, O_RDONLY | O_CLOEXEC);

			if (fd < 0 || read(fd, text, sizeof(text)) <= 0) {
				perror(path);
				return 1;
			}
			close(fd);
		}
		now = now_us();
	} while (now < end);
	printf("%.3f\n", (now - start) / (double)n);
	return 0;
}

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static int read_disk(const char *path, long count, int direct)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | (direct ? O_DIRECT : 0));
	double *us = calloc((size_t)count, sizeof(*us)), sum = 0;
	void *buf = aligned_alloc(4096, BLOCK);
	double begin = now_us() + WARM_UP_US;

	while (now_us() < begin)
		if (pread(fd, buf, BLOCK, 0) != BLOCK)
			break; /* said below */
	for (long i = 0; i < count; i++) {
		double start = now_us();

		if (pread(fd, buf, BLOCK, 0) != BLOCK) {
			perror(path);
			return 1;
		}
		us[i] = now_us() - start;
		sum += us[i];
	}
	qsort(us, (size_t)count, sizeof(*us), compare);
	printf("%.2f %.2f\n", sum / (double)count, us[count * 99 / 100]);
	close(fd);
	free(buf);
	free(us);
	return 0;
}

static const char *disk;
static int by_blocks;
static atomic_long rounds_left, torn, retries;

struct header {
	uint32_t signature, busy, sum, length;
};

static void read_at(int fd, unsigned char *buf, size_t len, off_t offset)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = pread(fd, buf + done, len - done, offset + (off_t)done);

		if (n <= 0) {
			perror(disk);
			exit(1);
		}
		done += (size_t)n;
	}
}

static struct header read_header(int fd, unsigned char *buf)
{
	uint32_t words[4];

	/* O_DIRECT wants whole sectors; guests' readers want whole blocks */
	read_at(fd, buf, by_blocks ? BLOCK : 4096, 0);
	memcpy(words, buf, sizeof(words));
	return (struct header){ ntohl(words[0]), ntohl(words[1]), ntohl(words[2]),
		ntohl(words[3]) };
}

/* Return: 1 if it was whole, 0 to start over, -1 if it was torn. */
static int read_round(int fd, unsigned char *buf)
{
	struct header before = read_header(fd, buf);
	size_t all = 16 + (size_t)before.length;
	size_t len = (all + BLOCK - 1) / BLOCK * BLOCK;
	uint32_t sum = 0;

	if (before.signature != SIGNATURE || before.busy || len > 16u << 20)
		return before.signature == SIGNATURE ? 0 : -1;
	if (by_blocks)
		for (size_t at = 0; at < len; at += BLOCK)
			read_at(fd, buf + at, BLOCK, (off_t)at);
	else
		for (size_t at = 0; at < len; at += 4096)
			read_at(fd, buf + at, 4096, (off_t)at);
	unsigned char last[BLOCK] __attribute__((aligned(4096)));
	struct header after = read_header(fd, last);

	if (after.busy || after.sum != before.sum)
		return 0;
	for (size_t i = 16; i < all; i++)
		sum += buf[i];
	return sum == before.sum ? 1 : -1;
}

static void *read_rounds(void *arg)
{
	int fd = open(disk, O_RDONLY | O_CLOEXEC | O_DIRECT);
	unsigned char *buf = aligned_alloc(4096, 16u << 20);

	(void)arg;
	while (fd >= 0 && atomic_fetch_sub(&rounds_left, 1) > 0) {
		int r;

		while ((r = read_round(fd, buf)) == 0)
			atomic_fetch_add(&retries, 1);
		if (r < 0)
			atomic_fetch_add(&torn, 1);
	}
	close(fd);
	free(buf);
	return NULL;
}

static int read_torn(long rounds, long n_threads)
{
	pthread_t threads[64];

	atomic_store(&rounds_left, rounds);
	for (long i = 0; i < n_threads; i++)
		pthread_create(&threads[i], NULL, read_rounds, NULL);
	for (long i = 0; i < n_threads; i++)
		pthread_join(threads[i], NULL);
	printf("%ld %ld\n", atomic_load(&torn), atomic_load(&retries));
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "file"))
		return read_files(argv[2], strtod(argv[3], NULL));
	if (argc >= 4 && !strcmp(argv[1], "disk"))
		return read_disk(argv[2], strtol(argv[3], NULL, 10), argc > 4);
	if (argc == 6 && !strcmp(argv[1], "torn")) {
		long n = strtol(argv[4], NULL, 10);

		disk = argv[2];
		by_blocks = !strcmp(argv[5], "blocks");
		return read_torn(strtol(argv[3], NULL, 10), n < 64 ? n : 64);
	}
	fprintf(stderr, "usage: reader file|disk|torn ...\n");
	return 2;
}

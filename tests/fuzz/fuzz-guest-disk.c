/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a guest's reader finds on a disk, which may be exchanged between two of its reads:
 *
 *     byte 0   after how many reads that is; 0: never
 *     byte 1   the disk's size in blocks, the rest of which is zeros; 0: as long as the image
 *     2, 3     the first image's length
 *     4        the first image, the second one behind it
 *
 * Then it is read once more by who knows what he has read.
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "disk.h"
#include "fuzz.h"
#include "mdisk/image.h"
#include "util/clock.h"
#include "util/limits.h"

static bool playing;
static const uint8_t *image, *next_image;
static size_t image_bytes, next_bytes, disk_bytes;
static unsigned n_reads;
static int64_t passed_ms;

ssize_t __real_pread64(int fd, void *buf, size_t n, off_t at);
ssize_t __wrap_pread64(int fd, void *buf, size_t n, off_t at);
off_t __real_lseek64(int fd, off_t offset, int whence);
off_t __wrap_lseek64(int fd, off_t offset, int whence);
int __real_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
int __real_clock_gettime(clockid_t id, struct timespec *ret);
int __wrap_clock_gettime(clockid_t id, struct timespec *ret);

static size_t end_of_disk(void)
{
	return disk_bytes ? disk_bytes : image_bytes;
}

ssize_t __wrap_pread64(int fd, void *buf, size_t n, off_t at)
{
	if (!playing)
		return __real_pread64(fd, buf, n, at);
	if (n_reads && !--n_reads) {
		image = next_image;
		image_bytes = next_bytes;
	}
	size_t end = end_of_disk(), from = (size_t)at < end ? (size_t)at : end;

	n = n < end - from ? n : end - from;
	size_t known = from < image_bytes ? image_bytes - from : 0;

	known = known < n ? known : n;
	if (known)
		memcpy(buf, image + from, known);
	memset((char *)buf + known, 0, n - known);
	return (ssize_t)n;
}

off_t __wrap_lseek64(int fd, off_t offset, int whence)
{
	return playing ? (off_t)end_of_disk() : __real_lseek64(fd, offset, whence);
}

int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	if (!playing)
		return __real_poll(fds, n, timeout_ms);
	passed_ms += 20 * timeout_ms; /* or it would try 200 times */
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

/* It is what the header announces, with its sum. */
static bool is_announced(const uint8_t *data, size_t size, const struct buf *content)
{
	uint8_t header[IMAGE_HEADER_BYTES] = { 0 };
	struct image_header h;
	uint32_t as_signed = 0;

	for (size_t i = 0; i < content->len; i++)
		as_signed += (uint32_t)(signed char)content->data[i];
	if (size)
		memcpy(header, data, size < sizeof(header) ? size : sizeof(header));
	return image_parse_header(header, sizeof(header), &h) == 0 && !h.busy &&
		h.length == content->len &&
		(h.checksum == image_checksum(content->data, content->len) ||
			h.checksum == as_signed);
}

/* Reads what is played.  @known: NULL, or what was read before. */
static int play(struct disk *d, const struct buf *known, struct buf *out)
{
	const uint8_t *before = image;
	size_t before_bytes = image_bytes;

	passed_ms = 0;
	playing = true;
	int r = disk_read(d, known, clock_mono_ns() + 10 * NS_PER_S, out);

	playing = false;
	if (r == 0 ? !is_announced(before, before_bytes, out) &&
				!is_announced(next_image, next_bytes, out)
		   : out->len)
		abort();
	if (r == 1 &&
		(!known ||
			(!is_announced(before, before_bytes, known) &&
				!is_announced(next_image, next_bytes, known))))
		abort();
	if (passed_ms > 11000)
		abort();
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_buf_ struct buf first = BUF_INIT, second = BUF_INIT, tried = BUF_INIT;
	struct disk d = DISK_CLOSED;

	if (size < 4)
		return 0;
	size_t bytes = (size_t)(data[2] << 8 | data[3]);

	image = data + 4;
	image_bytes = bytes < size - 4 ? bytes : size - 4;
	next_image = image + image_bytes;
	next_bytes = size - 4 - image_bytes;
	n_reads = data[0];
	disk_bytes = data[1] % 4 * DISK_BLOCK_BYTES;
	if (disk_open("/proc/self/exe", &d, &tried) < 0)
		abort();
	if (play(&d, NULL, &first) == 0)
		(void)play(&d, &first, &second);
	disk_close(&d);
	return 0;
}

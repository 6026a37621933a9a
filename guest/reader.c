/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "reader.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mdisk/image.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/fileio.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"
#include "util/wire.h"

#define DISK_PATIENCE_NS (10 * NS_PER_S)
#define DISK_PAUSE_MS 50
#define CHANNEL_PATIENCE_NS (5 * NS_PER_S)
#define CHANNEL_MAX_BYTES (16u << 20)

const char *reader_strerror(int r)
{
	switch (r) {
	case -ENODATA:
		return "no metrics disk";
	case -EBUSY:
		return "its content did not become stable in time";
	case -EBADMSG:
		return "header, length or checksum is wrong";
	case -ETIMEDOUT:
		return "no answer in time";
	case -EFBIG:
		return "the answer is too long";
	case -EPROTO:
		return "the host refused the request";
	default:
		return strerror(-r);
	}
}

static int failed(struct strbuf *tried, const char *what, int r)
{
	strbuf_addf(tried, "%s: %s\n", what, reader_strerror(r));
	return r;
}

/* ---- disk ---- */

struct disk {
	int fd;
	bool direct;
	char *block; /* DISK_BLOCK_BYTES, aligned for O_DIRECT */
};

static void disk_close(struct disk *d)
{
	close_p(&d->fd);
	free(d->block);
}

static int disk_open(const char *path, struct disk *ret)
{
	struct disk d = { .direct = true };

	d.fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);
	if (d.fd < 0 && errno == EINVAL) {
		d.direct = false;
		d.fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	if (d.fd < 0)
		return -errno;
	d.block = aligned_alloc(DISK_BLOCK_BYTES, DISK_BLOCK_BYTES);
	if (!d.block) {
		close(d.fd);
		return -ENOMEM;
	}
	*ret = d;
	return 0;
}

/* Reads block @n; short only at the disk's end.  Return: bytes, or -errno. */
static ssize_t read_block(struct disk *d, uint64_t n)
{
	size_t have = 0;
	off_t at = (off_t)(n * DISK_BLOCK_BYTES);

	if (!d->direct) /* or the kernel would show what it read before */
		posix_fadvise(d->fd, 0, 0, POSIX_FADV_DONTNEED);
	while (have < DISK_BLOCK_BYTES) {
		ssize_t r = pread(d->fd, d->block + have, DISK_BLOCK_BYTES - have,
			at + (off_t)have);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			break;
		have += (size_t)r;
	}
	return (ssize_t)have;
}

/* Hosts differ in the sum of bytes above 0x7f: some add them as signed. */
static bool sum_is(const char *content, size_t len, uint32_t sum)
{
	uint32_t as_signed = 0;

	for (size_t i = 0; i < len; i++)
		as_signed += (uint32_t)(int32_t)(signed char)content[i];
	return sum == image_checksum(content, len) || sum == as_signed;
}

static int read_header(struct disk *d, struct image_header *ret)
{
	ssize_t n = read_block(d, 0);

	if (n < 0)
		return (int)n;
	if (image_parse_header(d->block, (size_t)n, ret) < 0)
		return -ENODATA;
	return 0;
}

/* Appends the content that the header in the first block announces. */
static int read_content(struct disk *d, const struct image_header *h, struct strbuf *out)
{
	size_t left = h->length, skip = IMAGE_HEADER_BYTES;
	off_t disk_bytes = lseek(d->fd, 0, SEEK_END);

	if (h->length > LIMIT_DISK_BYTES_MAX ||
		(disk_bytes > 0 && (off_t)(h->length + IMAGE_HEADER_BYTES) > disk_bytes))
		return -EBADMSG;
	for (uint64_t block = 0; left; block++) {
		ssize_t n = block ? read_block(d, block) : (ssize_t)DISK_BLOCK_BYTES;

		if (n < 0)
			return (int)n;
		if ((size_t)n <= skip)
			return -EBADMSG;
		size_t take = (size_t)n - skip < left ? (size_t)n - skip : left;

		strbuf_add(out, d->block + skip, take);
		left -= take;
		skip = 0;
	}
	return 0;
}

static bool same_header(const struct image_header *a, const struct image_header *b)
{
	return a->busy == b->busy && a->checksum == b->checksum && a->length == b->length;
}

/* Header, content, header again.  Return: -EAGAIN if the content changed in between. */
static int read_once(struct disk *d, struct strbuf *out)
{
	struct image_header before, after;
	int r = read_header(d, &before);

	if (r < 0)
		return r;
	if (before.busy)
		return -EBUSY;
	r = read_content(d, &before, out);
	if (r < 0)
		return r;
	bool whole = sum_is(strbuf_str(out), out->len, before.checksum);

	r = read_header(d, &after);
	if (r < 0)
		return r;
	if (!same_header(&before, &after))
		return -EAGAIN;
	return whole ? 0 : -EBADMSG;
}

int reader_disk_at(const char *path, struct strbuf *out, struct strbuf *tried)
{
	_cleanup_(disk_close) struct disk d = { .fd = -1 };
	int64_t deadline = clock_mono_ns() + DISK_PATIENCE_NS;
	int r = disk_open(path, &d);

	while (r == 0) {
		_cleanup_strbuf_ struct strbuf content = STRBUF_INIT;

		r = read_once(&d, &content);
		if (r == 0) {
			strbuf_add(out, content.data, content.len);
			return 0;
		}
		/* busy, or torn by an update: worth another try */
		if (r != -EAGAIN && r != -EBUSY && r != -EBADMSG)
			break;
		if (clock_mono_ns() >= deadline) {
			r = r == -EAGAIN ? -EBUSY : r;
			break;
		}
		poll(NULL, 0, DISK_PAUSE_MS);
		r = 0;
	}
	return failed(tried, path, r);
}

static bool is_candidate(const char *name)
{
	static const char *const never[] = { "loop", "ram", "zram", "fd", "sr", "dm-",
		"md" };

	if (name[0] == '.')
		return false;
	for (size_t i = 0; i < ARRAY_LEN(never); i++)
		if (!strncmp(name, never[i], strlen(never[i])))
			return false;
	return true;
}

/* 512-byte sectors of a block device; 0 if unknown. */
static uint64_t sectors(const char *name)
{
	_cleanup_free_ char *path = xasprintf("/sys/block/%s/size", name);
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	uint64_t n = 0;

	if (read_file_at(AT_FDCWD, path, 64, &text) == 0 && text.len)
		(void)parse_u64(str_trim(text.data), &n);
	return n;
}

int reader_disk(struct strbuf *out, struct strbuf *tried)
{
	_cleanup_closedir_ DIR *dir = opendir("/sys/block");
	bool seen = false;

	if (!dir)
		return failed(tried, "/sys/block", -errno);
	for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
		_cleanup_free_ char *path = xasprintf("/dev/%s", entry->d_name);

		if (!is_candidate(entry->d_name))
			continue;
		/* a metrics disk is small, and large ones may be slow to answer */
		if (sectors(entry->d_name) >
			(LIMIT_DISK_BYTES_MAX + DISK_BLOCK_BYTES) / 512)
			continue;
		seen = true;
		if (reader_disk_at(path, out, tried) == 0)
			return 0;
	}
	return seen ? -ENODATA
		    : failed(tried, "block devices of at most 256 MiB", -ENODATA);
}

/* ---- channel ---- */

/* Waits until @events or the deadline.  Return: 0 or -ETIMEDOUT. */
static int wait_for(int fd, short events, int64_t deadline)
{
	for (;;) {
		struct pollfd pfd = { .fd = fd, .events = events };
		int64_t left = deadline - clock_mono_ns();

		if (left <= 0)
			return -ETIMEDOUT;
		int n = poll(&pfd, 1, (int)(left / NS_PER_MS) + 1);

		if (n > 0 && pfd.revents & events)
			return 0;
		/* the host's end is not open (yet): poll() does not wait then */
		if (n > 0)
			poll(NULL, 0, 20);
	}
}

static int send_request(int fd, int64_t deadline)
{
	const char *p = WIRE_REQUEST;

	while (*p) {
		ssize_t n = write(fd, p, strlen(p));

		if (n > 0) {
			p += n;
			continue;
		}
		if (n < 0 && errno != EAGAIN && errno != EINTR && errno != EPIPE)
			return -errno;
		if (wait_for(fd, POLLOUT, deadline) < 0)
			return -ETIMEDOUT;
	}
	return 0;
}

/*
 * Takes complete messages from the start of @in: the remains of an answer that somebody
 * else did not read are dropped.  Return: 0 once a document was found, -EAGAIN to read on,
 * -EPROTO for a refusal.
 */
static int take_document(struct strbuf *in, struct strbuf *out)
{
	for (;;) {
		char *end = in->len ? memmem(in->data, in->len, WIRE_END, 2) : NULL;

		if (!end)
			return -EAGAIN;
		size_t n = (size_t)(end - in->data) + 2;

		if (!strncmp(in->data, "<metrics>", 9)) {
			strbuf_add(out, in->data, n - 1);
			return 0;
		}
		if (!strncmp(in->data, WIRE_REFUSAL, strlen(WIRE_REFUSAL)))
			return -EPROTO;
		memmove(in->data, in->data + n, in->len - n + 1);
		in->len -= n;
	}
}

static int receive_document(int fd, int64_t deadline, struct strbuf *out)
{
	_cleanup_strbuf_ struct strbuf in = STRBUF_INIT;

	for (;;) {
		ssize_t n = read(fd, strbuf_reserve(&in, 65536), 65536);

		if (n > 0) {
			in.len += (size_t)n;
			in.data[in.len] = '\0';
			int r = take_document(&in, out);

			if (r != -EAGAIN)
				return r;
			if (in.len > CHANNEL_MAX_BYTES)
				return -EFBIG;
			continue;
		}
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (wait_for(fd, POLLIN, deadline) < 0)
			return -ETIMEDOUT;
	}
}

static void drain(int fd)
{
	char rest[4096];

	while (read(fd, rest, sizeof(rest)) > 0)
		;
}

int reader_channel_at(const char *path, struct strbuf *out, struct strbuf *tried)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return failed(tried, path, -errno);
	int r = -EPROTO;

	/* A refusal may be the answer to what somebody else began to say before us. */
	for (int tries = 0; tries < 3 && r == -EPROTO; tries++) {
		drain(fd);
		r = send_request(fd, clock_mono_ns() + CHANNEL_PATIENCE_NS);
		if (r == 0)
			r = receive_document(
				fd, clock_mono_ns() + CHANNEL_PATIENCE_NS, out);
	}
	return r < 0 ? failed(tried, path, r) : 0;
}

/* Without udev there are no names: looks for the port in sysfs.  NULL if there is none. */
static char *find_port(void)
{
	_cleanup_closedir_ DIR *dir = opendir("/sys/class/virtio-ports");

	for (struct dirent *entry = dir ? readdir(dir) : NULL; entry;
		entry = readdir(dir)) {
		_cleanup_free_ char *path =
			xasprintf("/sys/class/virtio-ports/%s/name", entry->d_name);
		_cleanup_strbuf_ struct strbuf name = STRBUF_INIT;

		if (entry->d_name[0] != '.' &&
			read_file_at(AT_FDCWD, path, 256, &name) == 0 && name.len &&
			!strcmp(str_trim(name.data), WIRE_CHANNEL_NAME))
			return xasprintf("/dev/%s", entry->d_name);
	}
	return NULL;
}

int reader_channel(struct strbuf *out, struct strbuf *tried)
{
	static const char usual[] = "/dev/virtio-ports/" WIRE_CHANNEL_NAME;

	if (access(usual, F_OK) == 0)
		return reader_channel_at(usual, out, tried);
	_cleanup_free_ char *port = find_port();

	if (port)
		return reader_channel_at(port, out, tried);
	return failed(tried, usual, -ENOENT);
}

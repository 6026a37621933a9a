/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "disk.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "failure.h"
#include "mdisk/image.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/limits.h"
#include "vhostmd/metrics.h"

/* The least that O_DIRECT takes everywhere. */
#define SMALL_BYTES 4096u

#define PAUSE_MIN_MS 1
#define PAUSE_MAX_MS 50

static bool is_same_file(const struct disk *d, const struct stat *st)
{
	return d->dev == st->st_dev && d->ino == st->st_ino && d->rdev == st->st_rdev;
}

bool disk_is_open(const struct disk *d)
{
	struct stat st;

	return d->fd >= 0 && fstat(d->fd, &st) == 0 && is_same_file(d, &st);
}

bool disk_is_at(const struct disk *d, const char *path)
{
	struct stat st;

	return disk_is_open(d) && stat(path, &st) == 0 && is_same_file(d, &st);
}

void disk_close(struct disk *d)
{
	if (disk_is_open(d))
		close(d->fd);
	free(d->block);
	*d = DISK_CLOSED;
}

/* Gives the disk a buffer of another size; what was in it is gone. */
static int set_block(struct disk *d, size_t bytes)
{
	char *block = aligned_alloc(SMALL_BYTES, bytes);

	if (!block)
		return VHOSTMD_ERR_MEMORY;
	free(d->block);
	d->block = block;
	d->block_bytes = bytes;
	return 0;
}

int disk_open(const char *path, struct disk *ret, struct buf *tried)
{
	struct disk d = { .direct = true };
	const int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	struct stat st;
	int r;

	d.fd = open(path, flags | O_DIRECT);
	if (d.fd < 0 && errno == EINVAL) {
		d.direct = false;
		d.fd = open(path, flags);
	}
	if (d.fd < 0 || fstat(d.fd, &st) < 0) {
		r = failure_note_errno(tried, path, errno);
	} else if (!S_ISBLK(st.st_mode) && !S_ISREG(st.st_mode)) {
		r = failure_note(tried, path, VHOSTMD_ERR_NOT_A_DISK);
	} else {
		d.is_block = S_ISBLK(st.st_mode);
		d.dev = st.st_dev;
		d.ino = st.st_ino;
		d.rdev = st.st_rdev;
		r = set_block(&d, SMALL_BYTES);
	}
	if (r == 0)
		*ret = d;
	else if (d.fd >= 0)
		close(d.fd);
	return r;
}

/* Reads up to @bytes at @at, short only at the disk's end.  Return: bytes or an error. */
static ssize_t read_at(struct disk *d, size_t bytes, uint64_t at)
{
	size_t have = 0;

	/* or the kernel would show what it read before; such files are memory */
	if (!d->direct && d->is_block)
		posix_fadvise(d->fd, 0, 0, POSIX_FADV_DONTNEED);
	while (have < bytes) {
		ssize_t r =
			pread(d->fd, d->block + have, bytes - have, (off_t)(at + have));

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return failure_from_errno(errno);
		if (r == 0)
			break;
		have += (size_t)r;
		if (d->direct && have % 512) /* nothing can follow but the end */
			break;
	}
	return (ssize_t)have;
}

static uint32_t word_at(const char *at)
{
	uint32_t v;

	memcpy(&v, at, sizeof(v));
	return be32toh(v);
}

/* The header at the start of the block, of which @n bytes were read. */
static int parse_header(const struct disk *d, ssize_t n, struct image_header *ret)
{
	if (n < 0)
		return (int)n;
	if ((size_t)n < IMAGE_HEADER_BYTES || word_at(d->block) != IMAGE_SIGNATURE)
		return VHOSTMD_ERR_NOT_A_DISK;
	*ret = (struct image_header){ IMAGE_SIGNATURE, word_at(d->block + 4),
		word_at(d->block + 8), word_at(d->block + 12) };
	return 0;
}

int disk_probe(struct disk *d)
{
	struct image_header h;

	return parse_header(d, read_at(d, SMALL_BYTES, 0), &h);
}

/* Hosts differ in the sum of bytes above 0x7f: some add them as signed. */
static bool sum_is(const struct buf *content, uint32_t sum)
{
	uint32_t as_unsigned = 0, negative = 0;

	for (size_t i = 0; i < content->len; i++) {
		unsigned char c = (unsigned char)content->data[i];

		as_unsigned += c;
		negative += c >> 7;
	}
	return sum == as_unsigned || sum == as_unsigned - 256 * negative;
}

/* So much is read at once that usual disks need one read. */
static size_t block_for(const struct image_header *h)
{
	size_t bytes = (size_t)h->length + IMAGE_HEADER_BYTES;

	bytes = (bytes + SMALL_BYTES - 1) / SMALL_BYTES * SMALL_BYTES;
	return bytes < DISK_BLOCK_BYTES ? bytes : DISK_BLOCK_BYTES;
}

/* What is compared with what is known, and kept from the first difference on. */
struct content {
	const struct buf *known; /* NULL once it differs */
	size_t len;
	struct buf *out;
};

static void add_content(struct content *c, const char *bytes, size_t n)
{
	if (c->known &&
		(n > c->known->len - c->len ||
			memcmp(c->known->data + c->len, bytes, n) != 0)) {
		buf_add(c->out, c->known->data, c->len);
		c->known = NULL;
	}
	if (!c->known)
		buf_add(c->out, bytes, n);
	c->len += n;
}

/* The content that the header announces, of which the block has the beginning, @n bytes. */
static int read_content(
	struct disk *d, const struct image_header *h, ssize_t n, struct content *c)
{
	size_t skip = IMAGE_HEADER_BYTES;
	off_t needed = (off_t)h->length + IMAGE_HEADER_BYTES;

	if (h->length > LIMIT_DISK_BYTES_MAX)
		return VHOSTMD_ERR_CORRUPT;
	if (needed > d->bytes)
		d->bytes = lseek(d->fd, 0, SEEK_END);
	if (needed > d->bytes)
		return VHOSTMD_ERR_CORRUPT;
	for (uint64_t at = 0; c->len < h->length; skip = 0) {
		if (at)
			n = read_at(d, d->block_bytes, at);
		if (n < 0)
			return (int)n;
		if ((size_t)n <= skip)
			return VHOSTMD_ERR_CORRUPT;
		size_t left = h->length - c->len;
		size_t have = (size_t)n - skip < left ? (size_t)n - skip : left;

		add_content(c, d->block + skip, have);
		if (c->out->failed)
			return VHOSTMD_ERR_MEMORY;
		at += d->block_bytes;
	}
	return 0;
}

static bool same_header(const struct image_header *a, const struct image_header *b)
{
	return a->busy == b->busy && a->checksum == b->checksum && a->length == b->length;
}

/* Header, content, header again.  Return: as disk_read(); VHOSTMD_ERR_UNSTABLE to try again. */
static int read_once(struct disk *d, const struct buf *known, struct buf *out)
{
	struct content c = { .known = known, .out = out };
	struct image_header before = { 0 }, after = { 0 };
	ssize_t n = read_at(d, d->block_bytes, 0);
	int r = parse_header(d, n, &before);

	if (r == 0 && before.busy)
		r = VHOSTMD_ERR_UNSTABLE;
	if (r == 0 && block_for(&before) > d->block_bytes) {
		r = set_block(d, block_for(&before));
		if (r == 0)
			n = read_at(d, d->block_bytes, 0);
		if (r == 0)
			r = parse_header(d, n, &before);
		if (r == 0 && before.busy)
			r = VHOSTMD_ERR_UNSTABLE;
	}
	if (r == 0)
		r = read_content(d, &before, n, &c);
	if (r < 0)
		return r;
	if (c.known && c.len == c.known->len)
		return 1;
	if (c.known) /* it is shorter now */
		buf_add(out, c.known->data, c.len);
	if (out->failed)
		return VHOSTMD_ERR_MEMORY;
	bool whole = sum_is(out, before.checksum);

	r = parse_header(d, read_at(d, SMALL_BYTES, 0), &after);
	if (r < 0)
		return r;
	if (!same_header(&before, &after))
		return VHOSTMD_ERR_UNSTABLE;
	return whole ? 0 : VHOSTMD_ERR_CORRUPT;
}

int disk_read(
	struct disk *d, const struct buf *known, int64_t deadline_ns, struct buf *out)
{
	int r, pause_ms = PAUSE_MIN_MS;

	for (;;) {
		r = read_once(d, known, out);
		if (r >= 0)
			break;
		buf_clear(out);
		/* busy, or torn by an update: worth another try */
		if (r != VHOSTMD_ERR_UNSTABLE && r != VHOSTMD_ERR_CORRUPT)
			break;
		if (clock_mono_ns() >= deadline_ns)
			break;
		poll(NULL, 0, pause_ms);
		pause_ms = pause_ms * 2 < PAUSE_MAX_MS ? pause_ms * 2 : PAUSE_MAX_MS;
	}
	return r;
}

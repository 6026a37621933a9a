/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "disk.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "mdisk/image.h"
#include "system.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/limits.h"
#include "vhostmd/metrics.h"

/* The least that is read past the cache everywhere. */
#define SMALL_BYTES DEVICE_ALIGNMENT

/* Who has compared all bytes goes by the header for so long. */
#define COMPARED_NS NS_PER_S

#define PAUSE_MIN_MS 1
#define PAUSE_MAX_MS 50

void disk_close(struct disk *d)
{
	device_close(&d->device);
	*d = DISK_CLOSED;
}

int disk_open(const char *path, struct disk *ret, struct buf *tried)
{
	struct disk d = DISK_CLOSED;
	int r = device_open(path, &d.device, tried);

	if (r == 0)
		*ret = d;
	return r;
}

bool disk_is_at(const struct disk *d, const char *path)
{
	return device_is_at(&d->device, path);
}

/* The beginning of a disk. */
struct block {
	char *data; /* device_memory() */
	size_t room, len;
};

/* Gives the block room for @bytes; what was in it is gone. */
static int set_room(struct block *b, size_t bytes)
{
	bytes = (bytes + SMALL_BYTES - 1) / SMALL_BYTES * SMALL_BYTES;
	free(b->data);
	*b = (struct block){ .data = device_memory(bytes), .room = bytes };
	return b->data ? 0 : VHOSTMD_ERR_MEMORY;
}

/* Fills the block, but for what is beyond the disk's end. */
static int read_block(struct disk *d, struct block *b)
{
	device_forget(&d->device);
	for (b->len = 0; b->len < b->room;) {
		size_t n = b->room - b->len < DISK_BLOCK_BYTES ? b->room - b->len
							       : DISK_BLOCK_BYTES;
		ssize_t r = device_read(&d->device, b->data + b->len, n, (int64_t)b->len);

		if (r < 0)
			return (int)r;
		if (r == 0)
			break;
		b->len += (size_t)r;
		/* nothing can follow but the end */
		if (d->device.direct && b->len % 512)
			break;
	}
	return 0;
}

static uint32_t word_at(const char *at)
{
	const unsigned char *b = (const unsigned char *)at;

	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* Reads the block and takes the header that is at its start. */
static int read_header(struct disk *d, struct block *b, struct image_header *ret)
{
	int r = read_block(d, b);

	if (r < 0)
		return r;
	if (b->len < IMAGE_HEADER_BYTES || word_at(b->data) != IMAGE_SIGNATURE)
		return VHOSTMD_ERR_NOT_A_DISK;
	*ret = (struct image_header){ IMAGE_SIGNATURE, word_at(b->data + 4),
		word_at(b->data + 8), word_at(b->data + 12) };
	return 0;
}

static int read_header_alone(struct disk *d, struct image_header *ret)
{
	struct block b = { 0 };
	int r = set_room(&b, SMALL_BYTES);

	if (r == 0)
		r = read_header(d, &b, ret);
	free(b.data);
	return r;
}

/* Takes from the header how much is to be read.  Return: false if that cannot be. */
static bool expect(struct disk *d, const struct image_header *h)
{
	int64_t needed = (int64_t)h->length + IMAGE_HEADER_BYTES;

	if (h->length > LIMIT_DISK_BYTES_MAX)
		return false;
	if (needed > d->bytes)
		d->bytes = device_size(&d->device);
	if (needed > d->bytes)
		return false;
	d->expected = (size_t)needed;
	return true;
}

int disk_probe(struct disk *d)
{
	struct image_header h;
	int r = read_header_alone(d, &h);

	if (r == 0)
		(void)expect(d, &h); /* what is wrong is told when it is read */
	return r;
}

#define EACH_PAIR(c) (UINT64_MAX / 0xffff * (c))
#define EACH_FOUR(c) (UINT64_MAX / 0xffffffff * (c))

enum { CHUNK_WORDS = 128 }; /* whose sums fit in 16 bits each */

static uint32_t sum_of_words(const char *at, size_t n)
{
	uint64_t sums = 0, word;

	for (size_t i = 0; i < n; i++) {
		memcpy(&word, at + i * sizeof(word), sizeof(word));
		sums += (word & EACH_PAIR(0xff)) + (word >> 8 & EACH_PAIR(0xff));
	}
	sums = (sums & EACH_FOUR(0xffff)) + (sums >> 16 & EACH_FOUR(0xffff));
	return (uint32_t)sums + (uint32_t)(sums >> 32);
}

static uint32_t count_negative(const char *at, size_t n)
{
	uint32_t negative = 0;

	for (size_t i = 0; i < n; i++)
		negative += (unsigned char)at[i] >> 7;
	return negative;
}

/* Hosts differ in the sum of bytes above 0x7f: some add them as signed. */
static bool sum_is(const char *content, size_t len, uint32_t sum)
{
	const size_t n_words = len / sizeof(uint64_t);
	uint32_t as_unsigned = 0;

	for (size_t i = 0; i < n_words; i += CHUNK_WORDS)
		as_unsigned += sum_of_words(content + i * sizeof(uint64_t),
			n_words - i < CHUNK_WORDS ? n_words - i : CHUNK_WORDS);
	for (size_t i = n_words * sizeof(uint64_t); i < len; i++)
		as_unsigned += (unsigned char)content[i];
	return sum == as_unsigned ||
		sum == as_unsigned - 256 * count_negative(content, len);
}

static bool same_header(const struct image_header *a, const struct image_header *b)
{
	return a->busy == b->busy && a->checksum == b->checksum && a->length == b->length;
}

/* Header and content, which is the block's then, from IMAGE_HEADER_BYTES on. */
static int read_content(struct disk *d, struct block *b, struct image_header *ret)
{
	int r = 0;

	/* once more where it is longer than it was; a second time it is being changed */
	for (int tries = 0; tries < 2 && r == 0; tries++) {
		r = set_room(b, d->expected ? d->expected : SMALL_BYTES);
		if (r == 0)
			r = read_header(d, b, ret);
		if (r < 0)
			return r;
		if (ret->busy)
			return VHOSTMD_ERR_UNSTABLE;
		if (!expect(d, ret))
			return VHOSTMD_ERR_CORRUPT;
		if (d->expected <= b->len)
			return 0;
		if (d->expected <= b->room)
			return VHOSTMD_ERR_CORRUPT;
	}
	return VHOSTMD_ERR_UNSTABLE;
}

/* Moves the content out of the block. */
static void take_content(struct block *b, size_t len, struct buf *out)
{
	memmove(b->data, b->data + IMAGE_HEADER_BYTES, len);
	b->data[len] = '\0';
	buf_done(out);
	*out = (struct buf){ .data = TAKE_PTR(b->data), .len = len, .cap = b->room };
	buf_trim(out);
}

bool disk_is_marked_own(const struct buf *content)
{
	size_t end = content->len;
	char c = 0;

	do
		c = end ? content->data[--end] : 0;
	while (c == ' ' || c == '\t' || c == '\n');
	return c == '\r';
}

/*
 * Whether it is @known still, as far as one small read tells: enough for who asks again and again.
 * Who has just seen another content will see the next one soon, and reads all of it at once.
 */
static bool is_still(struct disk *d, const struct buf *known)
{
	struct image_header h;
	struct block b = { 0 };

	if (!known || !known->data || d->same != known->data || known->len != d->length ||
		clock_mono_ns() - d->compared_ns >= COMPARED_NS ||
		!disk_is_marked_own(known))
		return false;
	int r = set_room(&b, SMALL_BYTES);

	if (r == 0)
		r = read_header(d, &b, &h);
	size_t n = r < 0 ? 0 : b.len - IMAGE_HEADER_BYTES;
	bool still = r == 0 && !h.busy && h.checksum == d->checksum &&
		h.length == d->length &&
		!memcmp(b.data + IMAGE_HEADER_BYTES, known->data,
			n < known->len ? n : known->len);

	free(b.data);
	return still;
}

static void note_same(
	struct disk *d, const struct buf *known, const struct image_header *h)
{
	d->same = known->data;
	d->checksum = h->checksum;
	d->length = h->length;
	d->compared_ns = clock_mono_ns();
}

/* Header, content, header again.  Return: as disk_read(); VHOSTMD_ERR_UNSTABLE to try again. */
static int read_once(
	struct disk *d, const struct buf *known, struct block *b, struct buf *out)
{
	struct image_header before = { 0 }, after = { 0 };
	int r = read_content(d, b, &before);

	if (r < 0)
		return r;
	const char *content = b->data + IMAGE_HEADER_BYTES;

	if (known && known->len == before.length &&
		!memcmp(content, buf_str(known), known->len)) {
		note_same(d, known, &before);
		return 1;
	}
	bool whole = sum_is(content, before.length, before.checksum);

	r = read_header_alone(d, &after);
	if (r < 0)
		return r;
	if (!same_header(&before, &after))
		return VHOSTMD_ERR_UNSTABLE;
	if (!whole)
		return VHOSTMD_ERR_CORRUPT;
	take_content(b, before.length, out);
	return 0;
}

int disk_read(
	struct disk *d, const struct buf *known, int64_t deadline_ns, struct buf *out)
{
	struct block b = { 0 };
	int r, pause_ms = PAUSE_MIN_MS;

	if (is_still(d, known))
		return 1;
	d->same = NULL;
	for (;;) {
		r = read_once(d, known, &b, out);
		if (r >= 0)
			break;
		/* busy, or torn by an update: worth another try */
		if (r != VHOSTMD_ERR_UNSTABLE && r != VHOSTMD_ERR_CORRUPT)
			break;
		if (clock_mono_ns() >= deadline_ns)
			break;
		system_pause_ms(pause_ms);
		pause_ms = pause_ms * 2 < PAUSE_MAX_MS ? pause_ms * 2 : PAUSE_MAX_MS;
	}
	free(b.data);
	return r;
}

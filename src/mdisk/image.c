/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mdisk/image.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "core/blob.h"
#include "core/render_xml.h"
#include "util/cleanup.h"
#include "util/limits.h"
#include "util/strbuf.h"

uint32_t image_checksum(const void *content, size_t len)
{
	const unsigned char *p = content;
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += p[i];
	return sum;
}

static void put_be32(char *at, uint32_t v)
{
	v = htobe32(v);
	memcpy(at, &v, sizeof(v));
}

static uint32_t get_be32(const char *at)
{
	uint32_t v;

	memcpy(&v, at, sizeof(v));
	return be32toh(v);
}

static void put_header(char *at, const struct image_header *h)
{
	put_be32(at, h->signature);
	put_be32(at + 4, h->busy);
	put_be32(at + 8, h->checksum);
	put_be32(at + 12, h->length);
}

static_assert(LIMIT_DISK_BYTES_MIN >=
		IMAGE_HEADER_BYTES + IMAGE_PADDING_MAX + 1 + RENDER_FIT_MIN,
	"the smallest disk has room for a document");

static void add_times(struct strbuf *out, char c, size_t n)
{
	memset(strbuf_reserve(out, n), c, n);
	out->len += n;
}

/*
 * White space that raises the sum by @by modulo IMAGE_SUMS.  Spaces come first; n tabs and
 * newlines, one newline at least, make each sum from 9n + 1 to 10n, and so for n from 9 on
 * each from REST_MIN on.
 */
static void pad(struct strbuf *content, uint32_t by)
{
	enum { REST_MIN = 9 * '\t' + 1 };
	uint32_t sum = (by + IMAGE_SUMS - REST_MIN) % IMAGE_SUMS;
	uint32_t rest = REST_MIN + sum % ' ';
	uint32_t n = (rest + '\n' - 1) / '\n';
	uint32_t n_newlines = rest - '\t' * n;

	add_times(content, ' ', sum / ' ');
	add_times(content, '\t', n - n_newlines);
	add_times(content, '\n', n_newlines);
}

static bool take_mark(struct strbuf *content)
{
	if (!content->len || content->data[content->len - 1] != IMAGE_OWN_MARK)
		return false;
	content->data[--content->len] = '\0';
	return true;
}

struct blob *image_new(struct strbuf *content, uint64_t generation, int64_t time_ns,
	int64_t made_ns, uint64_t disk_bytes, size_t *ret_left_out)
{
	bool is_own = take_mark(content);

	*ret_left_out = render_xml_fit(content,
		(size_t)disk_bytes - IMAGE_HEADER_BYTES - IMAGE_PADDING_MAX - is_own);
	if (is_own)
		strbuf_addc(content, IMAGE_OWN_MARK);
	uint32_t wanted = (uint32_t)(made_ns / IMAGE_TICK_NS % IMAGE_SUMS);
	uint32_t present = image_checksum(content->data, content->len) % IMAGE_SUMS;

	pad(content, wanted + IMAGE_SUMS - present);
	struct image_header h = { .signature = IMAGE_SIGNATURE,
		.checksum = image_checksum(content->data, content->len),
		.length = (uint32_t)content->len };
	_cleanup_strbuf_ struct strbuf all = STRBUF_INIT;

	put_header(strbuf_reserve(&all, IMAGE_HEADER_BYTES), &h);
	all.len = IMAGE_HEADER_BYTES;
	strbuf_add(&all, content->data, content->len);
	return blob_new(all.data, all.len, generation, time_ns);
}

struct blob *image_busy(void)
{
	struct image_header h = { .signature = IMAGE_SIGNATURE, .busy = 1 };
	char header[IMAGE_HEADER_BYTES];

	put_header(header, &h);
	return blob_new(header, sizeof(header), 0, 0);
}

struct blob *image_make_busy(const struct blob *image)
{
	struct blob *copy =
		blob_new(image->data, image->size, image->generation, image->time_ns);

	put_be32(copy->data + 4, 1);
	return copy;
}

int image_parse_header(const void *data, size_t len, struct image_header *ret)
{
	const char *p = data;

	if (len < IMAGE_HEADER_BYTES || get_be32(p) != IMAGE_SIGNATURE)
		return -EINVAL;
	*ret = (struct image_header){ IMAGE_SIGNATURE, get_be32(p + 4), get_be32(p + 8),
		get_be32(p + 12) };
	return 0;
}

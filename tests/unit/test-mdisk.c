/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The disk format, the latch, and the guest's reader on what they make. */
#include "test.h"
#include "tmp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/blob.h"
#include "mdisk/image.h"
#include "reader.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/strbuf.h"

static struct blob *make_image(
	const char *content, const struct blob *before, uint64_t size)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct blob *image = NULL;

	strbuf_adds(&text, content);
	return image_new(&text, 1, 1, before, size, &image) == 0 ? image : NULL;
}

static void header_is_as_documented(void **state)
{
	(void)state;
	static const unsigned char expected[] = { 'm', 'v', 'b', 'd', 0, 0, 0, 0, 0, 0, 0,
		'a' + 'b', 0, 0, 0, 2, 'a', 'b' };
	struct blob *image = make_image("ab", NULL, DISK_BLOCK_BYTES);
	struct image_header h;

	assert_int_equal(image->size, sizeof(expected));
	assert_memory_equal(image->data, expected, sizeof(expected));
	assert_int_equal(image_parse_header(image->data, image->size, &h), 0);
	assert_int_equal(h.length, 2);
	assert_int_equal(image_parse_header("mvbx000000000000", 16, &h), -EINVAL);
	assert_int_equal(image_parse_header(image->data, 15, &h), -EINVAL);
	blob_unref(image);
	image = image_busy();
	assert_int_equal(image_parse_header(image->data, image->size, &h), 0);
	assert_int_equal(h.busy, 1);
	blob_unref(image);
}

/* 12 and 21 have the same sum; a guest must notice all the same. */
static void equal_sums_are_told_apart(void **state)
{
	(void)state;
	struct blob *a = make_image("<v>12</v>", NULL, DISK_BLOCK_BYTES);
	struct blob *same = make_image("<v>12</v>", a, DISK_BLOCK_BYTES);
	struct blob *b = make_image("<v>21</v>", a, DISK_BLOCK_BYTES);
	struct blob *c = make_image("<v>12</v>", b, DISK_BLOCK_BYTES);
	struct image_header ha, hs, hb, hc;

	image_parse_header(a->data, a->size, &ha);
	image_parse_header(same->data, same->size, &hs);
	image_parse_header(b->data, b->size, &hb);
	image_parse_header(c->data, c->size, &hc);
	assert_true(ha.checksum == hs.checksum && ha.length == hs.length);
	assert_true(ha.checksum != hb.checksum);
	assert_true(hb.checksum != hc.checksum);
	assert_memory_equal(b->data + IMAGE_HEADER_BYTES, "<v>21</v>\n", 10);
	blob_unref(a);
	blob_unref(same);
	blob_unref(b);
	blob_unref(c);
}

static void content_that_does_not_fit_is_refused(void **state)
{
	(void)state;
	struct blob *fits = make_image("12345678", NULL, 24);

	assert_non_null(fits);
	assert_null(make_image("123456789", NULL, 24));
	/* the newline that would tell equal sums apart does not fit either */
	struct blob *other = make_image("21345678", fits, 24);

	assert_null(other);
	blob_unref(fits);
}

/* A view of a host with one text metric. */
/* A file with a metrics disk in it; the guest's reader opens it as it would a device. */
static void write_disk(const char *path, const struct blob *image, size_t size)
{
	_cleanup_fclose_ FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_int_equal(fwrite(image->data, 1, image->size, f), image->size);
	for (size_t i = image->size; i < size; i++)
		fputc(0, f);
}

static int read_disk(const char *path, struct strbuf *out)
{
	_cleanup_strbuf_ struct strbuf tried = STRBUF_INIT;
	int r = reader_disk_at(path, out, &tried);

	assert_true((r < 0) == (tried.len > 0));
	return r;
}

static void the_guest_reads_what_the_host_writes(void **state)
{
	(void)state;
	char path[TMP_PATH_SIZE];
	_cleanup_close_ int fd = mkstemp(tmp_path(path, "vhostmd-disk.XXXXXX"));

	assert_true(fd >= 0);
	_cleanup_free_ char *big = xmalloc(200000);
	struct blob *image;

	/* within one block, and over several */
	for (size_t n = 10; n < 200000; n = n * 15 + 1) {
		_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

		memset(big, 'x', n);
		big[n] = '\0';
		image = make_image(big, NULL, 256 << 10);
		write_disk(path, image, 256 << 10);
		assert_int_equal(read_disk(path, &out), 0);
		assert_string_equal(strbuf_str(&out), big);
		blob_unref(image);
	}
	/* bytes above 0x7f, summed as signed or as unsigned */
	image = make_image("<v>\xc3\xa9</v>", NULL, 256 << 10);
	write_disk(path, image, DISK_BLOCK_BYTES);
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

	assert_int_equal(read_disk(path, &out), 0);
	uint32_t sum;

	memcpy(&sum, image->data + 8, 4);
	sum = htonl(ntohl(sum) - 512);
	memcpy(image->data + 8, &sum, 4);
	write_disk(path, image, DISK_BLOCK_BYTES);
	assert_int_equal(read_disk(path, &out), 0);
	blob_unref(image);
	unlink(path);
}

static void the_guest_trusts_no_header(void **state)
{
	(void)state;
	char path[TMP_PATH_SIZE];
	_cleanup_close_ int fd = mkstemp(tmp_path(path, "vhostmd-disk.XXXXXX"));

	assert_true(fd >= 0);
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct blob *image = make_image("<metrics/>", NULL, DISK_BLOCK_BYTES);

	write_disk(path, image, 0); /* shorter than it says after the next line */
	image->data[13] = 0x7f;
	write_disk(path, image, DISK_BLOCK_BYTES / 2);
	int64_t start = clock_mono_ns();

	assert_int_equal(read_disk(path, &out), -EBADMSG); /* length beyond the disk */
	assert_true(clock_mono_ns() - start < 30 * NS_PER_S);
	image->data[0] = 'x';
	write_disk(path, image, DISK_BLOCK_BYTES);
	assert_int_equal(read_disk(path, &out), -ENODATA);
	assert_int_equal(read_disk("/nonexistent", &out), -ENOENT);
	assert_int_equal(read_disk("/dev/null", &out), -ENODATA);
	assert_int_equal(out.len, 0);
	blob_unref(image);
	unlink(path);
}

static void a_busy_disk_is_given_up_in_time(void **state)
{
	(void)state;
	char path[TMP_PATH_SIZE];
	_cleanup_close_ int fd = mkstemp(tmp_path(path, "vhostmd-disk.XXXXXX"));

	assert_true(fd >= 0);
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct blob *image = image_busy();
	int64_t start = clock_mono_ns();

	write_disk(path, image, DISK_BLOCK_BYTES);
	assert_int_equal(read_disk(path, &out), -EBUSY);
	assert_true(clock_mono_ns() - start < 30 * NS_PER_S);
	blob_unref(image);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(header_is_as_documented),
		cmocka_unit_test(equal_sums_are_told_apart),
		cmocka_unit_test(content_that_does_not_fit_is_refused),
		cmocka_unit_test(the_guest_reads_what_the_host_writes),
		cmocka_unit_test(the_guest_trusts_no_header),
		cmocka_unit_test(a_busy_disk_is_given_up_in_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

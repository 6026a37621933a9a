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
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/strbuf.h"
#include "vhostmd/metrics.h"

/* The image that a tick makes of @content. */
static struct blob *make_image_at(const char *content, int64_t tick, uint64_t size)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	size_t left_out;

	strbuf_adds(&text, content);
	return image_new(&text, 1, 1, tick * IMAGE_TICK_NS, size, &left_out);
}

static struct blob *make_image(const char *content, uint64_t size)
{
	return make_image_at(content, 1, size);
}

static uint32_t sum_at(const char *content, int64_t tick)
{
	struct blob *image = make_image_at(content, tick, DISK_BLOCK_BYTES);
	struct image_header h;

	assert_int_equal(image_parse_header(image->data, image->size, &h), 0);
	blob_unref(image);
	return h.checksum;
}

static void header_is_as_documented(void **state)
{
	(void)state;
	struct blob *image = make_image_at("ab", 'a' + 'b' + 82, DISK_BLOCK_BYTES);
	static const unsigned char expected[] = { 'm', 'v', 'b', 'd', 0, 0, 0, 0, 0, 0, 1,
		21, 0, 0, 0, 11, 'a', 'b', '\t', '\t', '\t', '\t', '\t', '\t', '\t', '\t',
		'\n' };
	struct image_header h;

	assert_int_equal(image->size, sizeof(expected));
	assert_memory_equal(image->data, expected, sizeof(expected));
	assert_int_equal(image_parse_header(image->data, image->size, &h), 0);
	assert_int_equal(h.length, 11);
	assert_int_equal(image_parse_header("mvbx000000000000", 16, &h), -EINVAL);
	assert_int_equal(image_parse_header(image->data, 15, &h), -EINVAL);
	blob_unref(image);
	image = image_busy();
	assert_int_equal(image_parse_header(image->data, image->size, &h), 0);
	assert_int_equal(h.busy, 1);
	blob_unref(image);
}

/* 12 and 21 have the same sum; a guest must notice, however seldom it looks. */
static void equal_sums_are_told_apart(void **state)
{
	(void)state;
	/* ticks from one look to the next: 200 ms to an hour */
	static const int64_t periods[] = { 1, 2, 5, 25, 50, 60, 61, 300, 1500, 3000, 4092,
		4500, 9000, 18000 };

	for (size_t i = 0; i < ARRAY_LEN(periods); i++) {
		int64_t tick = 123456789;
		uint32_t last = sum_at("<v>12</v>", tick);

		for (unsigned n = 0; n < 50; n++) {
			tick += periods[i];
			uint32_t sum = sum_at(n % 2 ? "<v>12</v>" : "<v>21</v>", tick);

			assert_int_not_equal(sum, last);
			last = sum;
		}
	}
}

/* Each sum can be had, and by white space alone. */
static void padding_is_white_space_that_ends_a_line(void **state)
{
	(void)state;
	for (int64_t tick = 0; tick < IMAGE_SUMS; tick++) {
		struct blob *image =
			make_image_at("<metrics/>\n", tick, DISK_BLOCK_BYTES);
		const char *padding = image->data + IMAGE_HEADER_BYTES + 11;
		size_t n = image->size - IMAGE_HEADER_BYTES - 11;

		assert_in_range(n, 1, IMAGE_PADDING_MAX);
		assert_int_equal(strspn(padding, " \t\n"), n);
		assert_int_equal(padding[n - 1], '\n');
		assert_int_equal(
			image_checksum(image->data + IMAGE_HEADER_BYTES, n + 11) %
				IMAGE_SUMS,
			tick);
		blob_unref(image);
	}
}

static size_t count(const char *text, const char *what)
{
	size_t n = 0;

	for (; (text = strstr(text, what)); text++)
		n++;
	return n;
}

/* Of any size, a disk holds a whole document, which says how many metrics it lacks. */
static void metrics_that_do_not_fit_are_left_out_last_first(void **state)
{
	(void)state;
	enum { N = 60 };
	_cleanup_strbuf_ struct strbuf all = STRBUF_INIT;

	strbuf_adds(&all, "<metrics>\n");
	for (unsigned i = 0; i < N; i++)
		strbuf_addf(&all,
			"  <metric type='string' context='host'>\n    <name>m%u.</name>\n"
			"    <value>&lt;/metric&gt;</value>\n  </metric>\n",
			i);
	strbuf_adds(&all, "</metrics>\n");
	for (uint64_t size = LIMIT_DISK_BYTES_MIN; size < all.len + 200; size++) {
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
		size_t left_out = N;

		strbuf_add(&text, all.data, all.len);
		_cleanup_blob_ struct blob *image = image_new(
			&text, 1, 1, (int64_t)size * IMAGE_TICK_NS, size, &left_out);
		const char *doc = image->data + IMAGE_HEADER_BYTES;
		_cleanup_free_ char *says = xasprintf(
			"<name>MetricsLeftOut</name>\n    <value>%zu</value>", left_out);
		_cleanup_free_ char *last = xasprintf("<name>m%zu.", N - left_out - 1);

		assert_true(image->size <= size);
		assert_int_equal(count(doc, "<metrics>\n  <metric "), 1);
		assert_int_equal(count(doc, "\n  </metric>\n</metrics>\n"), 1);
		assert_int_equal(count(doc, says), left_out > 0);
		assert_int_equal(count(doc, "<name>m"), N - left_out);
		assert_non_null(strstr(doc, last));
		if (left_out) /* nothing more would have fitted */
			assert_true(image->size + 330 > size);
	}
}

/* The guest finds it behind the document, whatever had no room. */
static void the_mark_of_an_own_disk_stays(void **state)
{
	(void)state;
	for (size_t n = 1; n <= 40; n += 39) {
		_cleanup_strbuf_ struct strbuf all = STRBUF_INIT;
		size_t left_out = 0;

		strbuf_adds(&all, "<metrics>\n");
		for (size_t i = 0; i < n; i++)
			strbuf_adds(&all,
				"  <metric type='string' context='host'>\n    <name>m"
				"</name>\n    <value>x</value>\n  </metric>\n");
		strbuf_adds(&all, "</metrics>\n");
		strbuf_addc(&all, IMAGE_OWN_MARK);
		struct blob *image =
			image_new(&all, 1, 1, 0, LIMIT_DISK_BYTES_MIN, &left_out);
		const char *end =
			strstr(image->data + IMAGE_HEADER_BYTES, "</metrics>\n");

		assert_true(image->size <= LIMIT_DISK_BYTES_MIN);
		assert_true((left_out > 0) == (n > 1));
		assert_non_null(end);
		assert_int_equal(end[strlen("</metrics>\n")], IMAGE_OWN_MARK);
		blob_unref(image);
	}
}

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
	_cleanup_free_ char *text = NULL;
	struct vhostmd_source *source = NULL;
	size_t len = 0;

	assert_int_equal(vhostmd_open(path, &source), 0);
	assert_int_equal(vhostmd_set_timeout(source, 1000), 0);
	int r = vhostmd_read_text(source, &text, &len);

	assert_true((r < 0) == (*vhostmd_tried(source) != '\0'));
	vhostmd_close(source);
	if (r == 0)
		strbuf_add(out, text, len);
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
		image = make_image(big, 256 << 10);
		write_disk(path, image, 256 << 10);
		assert_int_equal(read_disk(path, &out), 0);
		assert_memory_equal(strbuf_str(&out), big, n);
		assert_int_equal(strspn(strbuf_str(&out) + n, " \t\n"), out.len - n);
		blob_unref(image);
	}
	/* bytes above 0x7f, summed as signed or as unsigned */
	image = make_image("<v>\xc3\xa9</v>", 256 << 10);
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
	struct blob *image = make_image("<metrics/>", DISK_BLOCK_BYTES);

	write_disk(path, image, 0); /* shorter than it says after the next line */
	image->data[13] = 0x7f;
	write_disk(path, image, DISK_BLOCK_BYTES / 2);
	int64_t start = clock_mono_ns();

	assert_int_equal(
		read_disk(path, &out), VHOSTMD_ERR_CORRUPT); /* length beyond the disk */
	assert_true(clock_mono_ns() - start < 30 * NS_PER_S);
	image->data[0] = 'x';
	write_disk(path, image, DISK_BLOCK_BYTES);
	assert_int_equal(read_disk(path, &out), VHOSTMD_ERR_NOT_A_DISK);
	assert_int_equal(read_disk("/nonexistent", &out), VHOSTMD_ERR_NO_SOURCE);
	assert_int_equal(read_disk("/proc/self/exe", &out), VHOSTMD_ERR_NOT_A_DISK);
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
	assert_int_equal(read_disk(path, &out), VHOSTMD_ERR_UNSTABLE);
	assert_true(clock_mono_ns() - start < 30 * NS_PER_S);
	blob_unref(image);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(header_is_as_documented),
		cmocka_unit_test(equal_sums_are_told_apart),
		cmocka_unit_test(padding_is_white_space_that_ends_a_line),
		cmocka_unit_test(metrics_that_do_not_fit_are_left_out_last_first),
		cmocka_unit_test(the_mark_of_an_own_disk_stays),
		cmocka_unit_test(the_guest_reads_what_the_host_writes),
		cmocka_unit_test(the_guest_trusts_no_header),
		cmocka_unit_test(a_busy_disk_is_given_up_in_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

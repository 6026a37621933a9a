/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /proc/diskstats, of all kernels and of none. */
#include "fixture.h"

#include <errno.h>

#include "collect/kernel/disk_stats.h"
#include "util/clock.h"
#include "util/limits.h"
#include "util/strbuf.h"

#define FIGURE(key) (VM_HOSTDISK_##key - VM_HOSTDISK_RD_REQS)
#define SDA DISK_DEVICE(8, 0)

static bool knows(const struct disk_counters *c, unsigned figure)
{
	return c->known >> figure & 1;
}

static const struct disk_counters *of(const struct disk_stats *ds, uint64_t device)
{
	const struct disk_counters *c = disk_stats_find(ds, device);

	assert_non_null(c);
	return c;
}

/* Each kernel tells more than those before it. */
static void lines_of_all_kernels_are_read(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		unsigned figures;
	} kernels[] = {
		{ "   8       0 sda 10 11 12 13 14 15 16 17 3 19 20\n", 11 },
		{ "   8       0 sda 10 11 12 13 14 15 16 17 3 19 20 21 22 23 24\n", 15 },
		{ "   8       0 sda 10 11 12 13 14 15 16 17 3 19 20 21 22 23 24 25 26\n",
			17 },
		{ "   8       0 sda 10 11 12 13 14 15 16 17 3 19 20 21 22 23 24 25 26 x "
		  "99\n",
			17 },
	};

	for (size_t i = 0; i < ARRAY_LEN(kernels); i++) {
		struct disk_stats *ds = disk_stats_new(-1);

		assert_null(disk_stats_find(ds, SDA));
		assert_true(disk_stats_parse(ds, kernels[i].text));
		assert_false(disk_stats_parse(ds, kernels[i].text));
		const struct disk_counters *c = of(ds, SDA);
		const uint32_t all = (UINT32_C(1) << kernels[i].figures) - 1;

		assert_string_equal(c->node, "sda");
		assert_int_equal(c->known, all);
		assert_int_equal(disk_stats_told(ds), all);
		assert_int_equal(c->figures[FIGURE(RD_REQS)], 10);
		assert_int_equal(c->figures[FIGURE(RD_MERGED)], 11);
		assert_int_equal(c->figures[FIGURE(RD_BYTES)], 12 * 512);
		assert_int_equal(c->figures[FIGURE(RD_TIMES)], 13 * NS_PER_MS);
		assert_int_equal(c->figures[FIGURE(WR_REQS)], 14);
		assert_int_equal(c->figures[FIGURE(WR_BYTES)], 16 * 512);
		assert_int_equal(c->figures[FIGURE(WR_TIMES)], 17 * NS_PER_MS);
		assert_int_equal(c->figures[FIGURE(INFLIGHT)], 3);
		assert_int_equal(c->figures[FIGURE(BUSY)], 19 * NS_PER_MS);
		assert_int_equal(c->figures[FIGURE(QUEUE_TIMES)], 20 * NS_PER_MS);
		if (kernels[i].figures > 11) {
			assert_int_equal(c->figures[FIGURE(DISCARD_REQS)], 21);
			assert_int_equal(c->figures[FIGURE(DISCARD_BYTES)], 23 * 512);
		}
		if (kernels[i].figures > 15) {
			assert_int_equal(c->figures[FIGURE(FL_REQS)], 25);
			assert_int_equal(c->figures[FIGURE(FL_TIMES)], 26 * NS_PER_MS);
		}
		disk_stats_free(ds);
	}
}

#define GOOD "   8       0 sda 1 2 3 4 5 6 7 8 9 10 11\n"

/* 64 bytes of a name */
#define TOO_LONG                                                                         \
	"8 16 0123456789012345678901234567890123456789012345678901234567890123 "         \
	"1 2 3 4 5 6 7 8 9 10 11\n"

static void lines_that_are_none_are_left_out(void **state)
{
	(void)state;
	static const char *const lines[] = {
		"",
		"\n",
		" \n",
		"8\n",
		"8 16\n",
		"8 16 sdb\n",
		"   8      16 sdb 1 2 3 4\n",                 /* before Linux 2.6.25 */
		"   8      16 sdb 1 2 3 4 5 6 7 8 9 10\n",    /* torn */
		"   8      16 sdb 1 2 3 4 5 6 7 8 9 10 11",   /* it may go on */
		"   8      16 sdb 1 2 3 4 5 6 7 8 9 10 -1\n", /* no number */
		"   8      16 sdb 1 2 3 4 5 6 7 8 9 10 1x\n", /* likewise */
		"   8      16 sdb 1 2 3 4 5 6 7 8 9 0x 11\n", /* likewise */
		"   8      16 sdb 99999999999999999999 2 3 4 5 6 7 8 9 10 11\n",
		"   8 1048576 sdb 1 2 3 4 5 6 7 8 9 10 11\n", /* no minor number */
		"4096      16 sdb 1 2 3 4 5 6 7 8 9 10 11\n", /* no major one */
		"  -8      16 sdb 1 2 3 4 5 6 7 8 9 10 11\n",
		"   8      16 s\xff 1 2 3 4 5 6 7 8 9 10 11\n", /* no text */
		TOO_LONG,
	};

	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		struct disk_stats *ds = disk_stats_new(-1);
		_cleanup_free_ char *text = xasprintf("%s%s", GOOD, lines[i]);
		_cleanup_free_ char *first = xasprintf("%s" GOOD, lines[i]);
		size_t n = 0;

		disk_stats_parse(ds, text);
		(void)disk_stats_all(ds, &n);
		assert_int_equal(n, 1);
		assert_int_equal(of(ds, SDA)->figures[FIGURE(RD_REQS)], 1);
		if (strchr(lines[i], '\n') || !*lines[i]) {
			disk_stats_parse(ds, first);
			(void)disk_stats_all(ds, &n);
			assert_int_equal(n, 1);
		}
		disk_stats_free(ds);
	}
}

/* What does not fit is not known, and the rest of the line is. */
static void numbers_that_do_not_fit_are_unknown(void **state)
{
	(void)state;
	struct disk_stats *ds = disk_stats_new(-1);

	disk_stats_parse(ds,
		"8 0 sda 1 2 18446744073709551615 18446744073709551615 5 6 7 8 4294967295 "
		"10 11\n");
	const struct disk_counters *c = of(ds, SDA);

	assert_false(knows(c, FIGURE(RD_BYTES)));
	assert_false(knows(c, FIGURE(RD_TIMES)));
	assert_false(knows(c, FIGURE(INFLIGHT)));
	assert_true(knows(c, FIGURE(RD_REQS)) && knows(c, FIGURE(QUEUE_TIMES)));
	disk_stats_free(ds);
}

static void parse_times(
	struct disk_stats *ds, const char *node, unsigned reqs, uint64_t ms)
{
	_cleanup_free_ char *text = xasprintf("8 0 %s %u 2 3 %llu 5 6 7 8 9 %llu 11\n",
		node, reqs, (unsigned long long)ms, (unsigned long long)ms);

	disk_stats_parse(ds, text);
}

static uint64_t busy_ms(const struct disk_stats *ds)
{
	return of(ds, SDA)->figures[FIGURE(BUSY)] / NS_PER_MS;
}

/* The kernel prints 32 bits of them. */
static void times_go_on_behind_32_bits(void **state)
{
	(void)state;
	const uint64_t whole = UINT64_C(1) << 32;
	struct disk_stats *ds = disk_stats_new(-1);

	parse_times(ds, "sda", 100, whole - 10);
	assert_int_equal(busy_ms(ds), whole - 10);
	parse_times(ds, "sda", 101, 5);
	assert_int_equal(busy_ms(ds), whole + 5);
	parse_times(ds, "sda", 102, 7);
	assert_int_equal(busy_ms(ds), whole + 7);
	parse_times(ds, "sda", 103, whole - 1);
	parse_times(ds, "sda", 104, 0);
	assert_int_equal(busy_ms(ds), 2 * whole);
	assert_int_equal(of(ds, SDA)->figures[FIGURE(RD_TIMES)], 2 * whole * NS_PER_MS);
	/* a little less is a little less */
	parse_times(ds, "sda", 105, 1000);
	parse_times(ds, "sda", 105, 999);
	assert_int_equal(busy_ms(ds), 2 * whole + 999);
	/* others come before it: it is the same */
	disk_stats_parse(ds,
		"7 0 loop0 1 2 3 4 5 6 7 8 9 10 11\n8 0 sda 106 2 3 2000 5 6 7 8 9 2000 "
		"11\n");
	assert_int_equal(busy_ms(ds), 2 * whole + 2000);
	/* another device, by what it has done or by its name */
	parse_times(ds, "sda", 1, 3);
	assert_int_equal(busy_ms(ds), 3);
	parse_times(ds, "sda", 100, whole - 10);
	parse_times(ds, "sdb", 101, 4);
	assert_int_equal(busy_ms(ds), 4);
	disk_stats_free(ds);
}

/* One that has 64 bits is believed. */
static void times_of_64_bits_are_taken_as_they_are(void **state)
{
	(void)state;
	struct disk_stats *ds = disk_stats_new(-1);

	parse_times(ds, "sda", 1, UINT32_MAX - UINT64_C(1));
	parse_times(ds, "sda", 2, UINT32_MAX + UINT64_C(10));
	assert_int_equal(busy_ms(ds), UINT32_MAX + UINT64_C(10));
	parse_times(ds, "sda", 3, UINT32_MAX + UINT64_C(20));
	assert_int_equal(busy_ms(ds), UINT32_MAX + UINT64_C(20));
	disk_stats_free(ds);
}

static void devices_come_and_go(void **state)
{
	(void)state;
	struct disk_stats *ds = disk_stats_new(-1);

	assert_true(disk_stats_parse(ds, "254 0 vda 1 2 3 4 5 6 7 8 9 10 11\n" GOOD));
	assert_int_equal(of(ds, DISK_DEVICE(254, 0))->figures[0], 1);
	assert_true(disk_stats_parse(ds, GOOD "254 0 vda 9 2 3 4 5 6 7 8 9 10 11\n"));
	assert_int_equal(of(ds, DISK_DEVICE(254, 0))->figures[0], 9);
	assert_true(disk_stats_parse(ds, GOOD));
	assert_null(disk_stats_find(ds, DISK_DEVICE(254, 0)));
	/* told of twice, as may be if others go while it is read */
	assert_true(disk_stats_parse(ds, GOOD "8 0 sda 2 2 3 4 5 6 7 8 9 10 11\n"));
	assert_int_equal(of(ds, SDA)->figures[0], 1);
	assert_true(disk_stats_parse(ds, ""));
	assert_null(disk_stats_find(ds, SDA));
	assert_int_equal(disk_stats_told(ds), 0);
	disk_stats_free(ds);
}

static void no_more_devices_than_a_host_can_have(void **state)
{
	(void)state;
	struct disk_stats *ds = disk_stats_new(-1);
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	size_t n = 0;

	for (unsigned i = 0; i < LIMIT_BLOCK_DEVICES + 5; i++)
		strbuf_addf(&text, "8 %u sd%u 1 2 3 4 5 6 7 8 9 10 11\n", i, i);
	disk_stats_parse(ds, strbuf_str(&text));
	(void)disk_stats_all(ds, &n);
	assert_int_equal(n, LIMIT_BLOCK_DEVICES);
	assert_non_null(disk_stats_find(ds, DISK_DEVICE(8, LIMIT_BLOCK_DEVICES - 1)));
	assert_null(disk_stats_find(ds, DISK_DEVICE(8, LIMIT_BLOCK_DEVICES)));
	disk_stats_free(ds);
}

static void the_file_is_read_and_may_be_missing(void **state)
{
	(void)state;
	struct fixture f;

	fixture_init(&f);
	struct disk_stats *ds = disk_stats_new(f.fd);

	assert_int_equal(disk_stats_read(ds), -ENOENT);
	assert_null(disk_stats_find(ds, SDA));
	fixture_add(&f, "proc/diskstats", GOOD);
	assert_int_equal(disk_stats_read(ds), 0);
	assert_non_null(disk_stats_find(ds, SDA));
	fixture_add(&f, "proc/diskstats", "8 0 sda 2 2 3 4 5 6 7 8 9 10 11\n");
	assert_int_equal(disk_stats_read(ds), 0);
	assert_int_equal(of(ds, SDA)->figures[0], 2);
	disk_stats_free(ds);
	fixture_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_of_all_kernels_are_read),
		cmocka_unit_test(lines_that_are_none_are_left_out),
		cmocka_unit_test(numbers_that_do_not_fit_are_unknown),
		cmocka_unit_test(times_go_on_behind_32_bits),
		cmocka_unit_test(times_of_64_bits_are_taken_as_they_are),
		cmocka_unit_test(devices_come_and_go),
		cmocka_unit_test(no_more_devices_than_a_host_can_have),
		cmocka_unit_test(the_file_is_read_and_may_be_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Text from outside: numbers, UTF-8, uuids, units, file names. */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/fname.h"
#include "core/unit.h"
#include "core/value.h"
#include "util/cleanup.h"
#include "util/glob.h"
#include "util/hash.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"
#include "util/uuid.h"

static void numbers_are_strict(void **state)
{
	(void)state;
	uint64_t u = 7;
	int64_t i = 7;
	double d = 7;

	assert_int_equal(parse_u64("18446744073709551615", &u), 0);
	assert_true(u == UINT64_MAX);
	u = 7;
	assert_int_equal(parse_u64("18446744073709551616", &u), -ERANGE);
	assert_int_equal(parse_u64("", &u), -EINVAL);
	assert_int_equal(parse_u64("-1", &u), -EINVAL);
	assert_int_equal(parse_u64("1 ", &u), -EINVAL);
	assert_int_equal(parse_u64("0x10", &u), -EINVAL);
	assert_true(u == 7);
	assert_int_equal(parse_i64("-9223372036854775808", &i), 0);
	assert_true(i == INT64_MIN);
	assert_int_equal(parse_i64("-9223372036854775809", &i), -ERANGE);
	assert_int_equal(parse_i64("9223372036854775808", &i), -ERANGE);
	assert_int_equal(parse_real("846.6", &d), 0);
	assert_true(d > 846.59 && d < 846.61);
	assert_int_equal(parse_real("1e999", &d), -ERANGE);
	assert_int_equal(parse_real("-", &d), -EINVAL);
	assert_int_equal(parse_real("1.2.", &d), -EINVAL);
	assert_int_equal(parse_real("inf", &d), -EINVAL);
	assert_int_equal(parse_real("nan", &d), -EINVAL);
	assert_int_equal(parse_real("0x1p3", &d), -EINVAL);
	assert_int_equal(parse_real("1.5.5", &d), -EINVAL);
}

static void reals_are_right_to_the_last_bit(void **state)
{
	(void)state;
	double d = 0;

	static const char *const same[] = { "0", "-0", "0.1", "-12.000000", "1.", ".5",
		"999999999999999", "999999999999999.", "9999999999999999",
		"0.00000000000001", "0.000000000000001", "123456789.123456",
		"1234567890.123456", "4503599627370497.5", "1e-3", "+1", "00.10" };

	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		double expected = strtod(same[i], NULL);

		assert_int_equal(parse_real(same[i], &d), 0);
		assert_memory_equal(&d, &expected, sizeof(d));
	}
	for (unsigned i = 0; i < 20000; i++) {
		char text[32];

		snprintf(text, sizeof(text), "%u.%0*u", i * 2654435761u % 1000000007u,
			1 + (int)(i % 8), i % 10);
		double expected = strtod(text, NULL);

		assert_int_equal(parse_real(text, &d), 0);
		assert_memory_equal(&d, &expected, sizeof(d));
	}
}

static void utf8_follows_table_3_7(void **state)
{
	(void)state;
	static const char *const good[] = { "", "a", "\xc3\xa9", "\xe2\x82\xac",
		"\xf0\x9f\x98\x80", "\xed\x9f\xbf" };
	static const char *const bad[] = { "\x80", "\xc0\xaf", "\xc3", "\xe0\x80\xaf",
		"\xed\xa0\x80", "\xf0\x80\x80\xaf", "\xf4\x90\x80\x80", "\xff",
		"a\xe2\x82" };
	uint32_t c = 0;

	for (size_t k = 0; k < ARRAY_LEN(good); k++)
		assert_true(utf8_valid(good[k], strlen(good[k])));
	for (size_t k = 0; k < ARRAY_LEN(bad); k++)
		assert_false(utf8_valid(bad[k], strlen(bad[k])));
	assert_int_equal(utf8_decode("\xf0\x9f\x98\x80", &c), 4);
	assert_int_equal(c, 0x1f600);
}

static void uuids_round_trip(void **state)
{
	(void)state;
	struct uuid u;
	char text[UUID_TEXT_LEN + 1];

	assert_int_equal(uuid_parse("6BE3FDB8-bef5-6fec-b1b7-e61bbceab708", &u), 0);
	uuid_format(&u, text);
	assert_string_equal(text, "6be3fdb8-bef5-6fec-b1b7-e61bbceab708");
	assert_int_equal(uuid_parse("6be3fdb8bef56fecb1b7e61bbceab708", &u), -EINVAL);
	assert_int_equal(uuid_parse("6be3fdb8-bef5-6fec-b1b7-e61bbceab70", &u), -EINVAL);
	assert_int_equal(
		uuid_parse("6be3fdb8-bef5-6fec-b1b7-e61bbceab7080", &u), -EINVAL);
	assert_int_equal(uuid_parse("", &u), -EINVAL);
}

/* The vectors published with SipHash: key 00 01 .. 0f, message 00 01 .. n-1. */
static void siphash_matches_its_vectors(void **state)
{
	(void)state;
	uint8_t message[16];

	for (uint8_t k = 0; k < sizeof(message); k++)
		message[k] = k;
	uint64_t k0 = UINT64_C(0x0706050403020100), k1 = UINT64_C(0x0f0e0d0c0b0a0908);

	assert_true(siphash24_keyed(message, 0, k0, k1) == UINT64_C(0x726fdb47dd0e0e31));
	assert_true(siphash24_keyed(message, 8, k0, k1) == UINT64_C(0x93f5f5799a932462));
	assert_true(siphash24_keyed(message, 15, k0, k1) == UINT64_C(0xa129ca6149be45e5));
}

static void assert_fname(const char *name, const char *expected)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

	fname_escape(name, &out);
	assert_string_equal(strbuf_str(&out), expected);
}

static void file_names_carry_any_vm_name(void **state)
{
	(void)state;
	_cleanup_strbuf_ struct strbuf a = STRBUF_INIT, b = STRBUF_INIT;
	char longest[400];

	assert_fname("web01", "web01");
	assert_fname("a/b", "a%2Fb");
	assert_fname("100%", "100%25");
	assert_fname(".", "%2E");
	assert_fname("..", "%2E%2E");
	assert_fname("...", "...");
	assert_fname("tab\there", "tab%09here");
	assert_fname("$(touch /tmp/x);'\"<&", "$(touch %2Ftmp%2Fx);'\"<&");
	assert_fname("", "%");
	memset(longest, 'x', sizeof(longest));
	longest[399] = '\0';
	fname_escape(longest, &a);
	longest[398] = 'y';
	fname_escape(longest, &b);
	assert_int_equal(a.len, 255);
	assert_string_not_equal(strbuf_str(&a), strbuf_str(&b));
}

static struct value parsed(enum metric_type type, const char *text, const char *unit)
{
	char buf[64];
	struct value v = { .type = METRIC_TYPE_COUNT };

	strncpy(buf, text, sizeof(buf) - 1);
	buf[sizeof(buf) - 1] = '\0';
	(void)value_parse(type, buf, unit, &v);
	return v;
}

static void values_parse_as_their_type(void **state)
{
	(void)state;

	assert_int_equal(parsed(METRIC_INT32, " -5\n", NULL).i, -5);
	assert_int_equal(
		parsed(METRIC_INT32, "2147483648", NULL).type, METRIC_TYPE_COUNT);
	assert_int_equal(parsed(METRIC_UINT32, "4294967295", NULL).u, UINT32_MAX);
	assert_int_equal(
		parsed(METRIC_UINT32, "4294967296", NULL).type, METRIC_TYPE_COUNT);
	assert_int_equal(parsed(METRIC_UINT64, "12.000000", NULL).u, 12);
	assert_int_equal(parsed(METRIC_UINT64, "12.5", NULL).type, METRIC_TYPE_COUNT);
	assert_int_equal(parsed(METRIC_UINT64, "1919 MiB", "MiB").u, 1919);
	assert_int_equal(
		parsed(METRIC_UINT64, "1919 MiB", "KiB").type, METRIC_TYPE_COUNT);
	assert_true(parsed(METRIC_REAL64, "69.4s", NULL).real > 69.3);
	assert_true(parsed(METRIC_REAL64, "69.4s", "s").real > 69.3);
	assert_int_equal(parsed(METRIC_REAL64, "69.4x", NULL).type, METRIC_TYPE_COUNT);
	assert_int_equal(parsed(METRIC_REAL32, "1e39", NULL).type, METRIC_TYPE_COUNT);
	assert_int_equal(parsed(METRIC_UINT64, "", NULL).type, METRIC_TYPE_COUNT);
	assert_int_equal(parsed(METRIC_STRING, "\xff", NULL).type, METRIC_TYPE_COUNT);
}

static void units_convert_exactly(void **state)
{
	(void)state;
	struct value v = value_u64(1536), big = value_u64(UINT64_MAX);
	struct value negative = value_i64(-1500);

	assert_int_equal(unit_convert(&v, unit_find("KiB"), unit_find("MiB"), &v), 0);
	assert_int_equal(v.u, 1);
	assert_int_equal(
		unit_convert(&big, unit_find("KiB"), unit_find("B"), &v), -ERANGE);
	assert_int_equal(unit_convert(&big, unit_find("s"), unit_find("B"), &v), -EINVAL);
	assert_int_equal(
		unit_convert(&negative, unit_find("ms"), unit_find("s"), &negative), 0);
	assert_int_equal(negative.i, -1);
	v = value_real(1500);
	assert_int_equal(unit_convert(&v, unit_find("ms"), unit_find("s"), &v), 0);
	assert_true(v.real > 1.499 && v.real < 1.501);
	assert_null(unit_find("parsec"));
}

static void patterns_fit_names(void **state)
{
	(void)state;
	static const struct {
		const char *pattern, *text;
		bool fits;
	} cases[] = { { "a", "a", true }, { "a", "b", false }, { "a", "ab", false },
		{ "*", "", true }, { "*", "abc", true }, { "a*", "a", true },
		{ "a*c", "abbbc", true }, { "a*c", "abbb", false },
		{ "*b*", "abc", true }, { "a*b*c", "axbxbxc", true },
		{ "a*b*c", "axcxc", false }, { "?", "", false }, { "?", "x", true },
		{ "a?c",
			"a\xc3\xa4"
			"c",
			true },
		{ "??", "\xc3\xa4", false }, { "*\xa4", "\xc3\xa4", false },
		{ "*.rd.*", "block.0.rd.bytes", true }, { "", "", true },
		{ "", "a", false }, { "**", "a", true }, { "*a?", "aab", true } };

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		if (glob_match(cases[i].pattern, cases[i].text) != cases[i].fits)
			fail_msg("%s and %s", cases[i].pattern, cases[i].text);
	assert_false(glob_valid(""));
	assert_false(glob_valid("[a-z]"));
	assert_false(glob_valid("a\\*"));
	assert_true(glob_valid("a*?-{}"));
}

/* Who may name a VM cannot keep us busy. */
static void a_name_costs_no_time(void **state)
{
	(void)state;
	_cleanup_free_ char *name = xmalloc(100001);

	memset(name, 'a', 100000);
	name[100000] = '\0';
	for (int i = 0; i < 20; i++)
		assert_false(glob_match("*a*a*a*a*a*a*a*a*a*a*a*a*a*b", name));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_strict),
		cmocka_unit_test(reals_are_right_to_the_last_bit),
		cmocka_unit_test(utf8_follows_table_3_7),
		cmocka_unit_test(uuids_round_trip),
		cmocka_unit_test(siphash_matches_its_vectors),
		cmocka_unit_test(file_names_carry_any_vm_name),
		cmocka_unit_test(values_parse_as_their_type),
		cmocka_unit_test(units_convert_exactly),
		cmocka_unit_test(patterns_fit_names),
		cmocka_unit_test(a_name_costs_no_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

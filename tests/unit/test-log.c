/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The log: what a line is about, and what is left out of a flood. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <setjmp.h>

#include <cmocka.h>

#include "util/clock.h"
#include "util/log.h"
#include "util/uuid.h"

static int64_t now_ns = NS_PER_S;

int __wrap_clock_gettime(clockid_t id, struct timespec *ret);
int __wrap_clock_gettime(clockid_t id, struct timespec *ret)
{
	(void)id;
	*ret = ns_to_timespec(now_ns);
	return 0;
}

static unsigned n_lines;
static char last[256], one_before[256];
static enum log_level last_level;
static struct log_about last_about;

static bool journal(enum log_level level, const struct log_about *about, const char *line)
{
	n_lines++;
	memcpy(one_before, last, sizeof(last));
	snprintf(last, sizeof(last), "%s", line);
	last_level = level;
	last_about = *about;
	return true;
}

static int start(void **state)
{
	(void)state;
	log_init(false, false);
	log_set_journal(journal);
	n_lines = 0;
	now_ns += 10000 * NS_PER_S; /* all limits are over */
	return 0;
}

static void a_line_is_about_something(void **state)
{
	(void)state;
	const struct {
		struct uuid uuid;
		const char *name;
	} vm = { { { 1, 2 } }, "web\n01" };

	log_write(LOG_LEVEL_INFO, LOG_VM(vm), "VM '%s' runs", vm.name);
	assert_string_equal(last, "VM 'web\\x0a01' runs");
	assert_int_equal(last_level, LOG_LEVEL_INFO);
	assert_string_equal(last_about.vm, "web\n01");
	assert_ptr_equal(last_about.uuid, &vm.uuid);
	assert_null(last_about.metric);
	log_warning("nothing in particular");
	assert_int_equal(last_level, LOG_LEVEL_WARNING);
	assert_null(last_about.vm);
	assert_null(last_about.uuid);
	log_debug("only with --verbose");
	assert_int_equal(n_lines, 2);
}

static void each_line_has_a_level_from_which_on_it_is_written(void **state)
{
	(void)state;
	assert_int_equal(log_level(), LOG_LEVEL_INFO);
	for (int level = 0; level < LOG_LEVEL_COUNT; level++) {
		n_lines = 0;
		log_set_level((enum log_level)level);
		assert_int_equal(log_level(), level);
		for (int line = 0; line < LOG_LEVEL_COUNT; line++) {
			log_write((enum log_level)line, NULL, "a line");
			log_lines((enum log_level)line, "one of\nseveral\n");
		}
		assert_int_equal(n_lines, 3 * (level + 1));
	}
	/* one that is not written is not one of too many */
	log_set_level(LOG_LEVEL_WARNING);
	uint64_t before = log_left_out();

	for (unsigned i = 0; i < 2 * LOG_BURST; i++)
		log_info("not written");
	assert_int_equal(log_left_out(), before);
	log_init(true, false);
	assert_int_equal(log_level(), LOG_LEVEL_DEBUG);
}

static void a_level_is_found_by_its_name_alone(void **state)
{
	(void)state;
	enum log_level found = LOG_LEVEL_COUNT;

	for (int level = 0; level < LOG_LEVEL_COUNT; level++) {
		const char *name = log_level_name((enum log_level)level);

		assert_true(log_level_find(name, strlen(name), &found));
		assert_int_equal(found, level);
		found = LOG_LEVEL_COUNT;
		assert_false(log_level_find(name, strlen(name) - 1, &found));
		assert_false(log_level_find(name, strlen(name) + 1, &found));
		assert_int_equal(found, LOG_LEVEL_COUNT);
	}
	assert_false(log_level_find("", 0, &found));
	assert_false(log_level_find("Info", 4, &found));
}

static void flood(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		log_info("flood %u", i);
}

static void a_flood_is_cut_and_said(void **state)
{
	(void)state;
	uint64_t before = log_left_out();

	flood(LOG_BURST + 500);
	assert_int_equal(n_lines, LOG_BURST);
	assert_int_equal(log_left_out() - before, 500);
	/* other kinds go on, and say nothing while it lasts */
	log_warning("something else");
	assert_int_equal(n_lines, LOG_BURST + 1);
	assert_string_equal(last, "something else");

	/* one a second; the line before it says what was left out */
	now_ns += NS_PER_S;
	flood(1);
	assert_int_equal(n_lines, LOG_BURST + 3);
	assert_string_equal(last, "flood 0");
	flood(1);
	assert_int_equal(n_lines, LOG_BURST + 3);
	now_ns += NS_PER_S;
	log_error("another kind");
	assert_int_equal(n_lines, LOG_BURST + 5);
	assert_string_equal(last, "another kind");
	assert_int_equal(log_left_out() - before, 501);

	/* and all of it again after a while */
	now_ns += 2 * LOG_BURST * NS_PER_S;
	flood(LOG_BURST);
	assert_int_equal(n_lines, 2 * LOG_BURST + 5);
}

static void what_was_left_out_has_an_example(void **state)
{
	(void)state;
	flood(LOG_BURST + 2);
	now_ns += NS_PER_S;
	log_info("next");
	assert_string_equal(last, "next");
	assert_string_equal(one_before,
		"too many lines: 2 of a kind were left out, first: flood 1000");
}

/* Mistakes of a configuration are said once, however many they are. */
static void a_text_has_no_limit(void **state)
{
	(void)state;
	char text[3 * (LOG_BURST + 10) + 1] = "";

	for (size_t i = 0; i < LOG_BURST + 10; i++)
		memcpy(text + 3 * i, "ab\n", 4);
	log_lines(LOG_LEVEL_WARNING, text);
	assert_int_equal(n_lines, LOG_BURST + 10);
	assert_string_equal(last, "ab");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_line_is_about_something, start),
		cmocka_unit_test_setup(
			each_line_has_a_level_from_which_on_it_is_written, start),
		cmocka_unit_test_setup(a_level_is_found_by_its_name_alone, start),
		cmocka_unit_test_setup(a_flood_is_cut_and_said, start),
		cmocka_unit_test_setup(what_was_left_out_has_an_example, start),
		cmocka_unit_test_setup(a_text_has_no_limit, start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

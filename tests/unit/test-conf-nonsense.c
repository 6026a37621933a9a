/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A configuration of much more than anybody means. */
#include "test.h"

#include <string.h>
#include <time.h>

#include "conf/conf.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/strbuf.h"

/* A metric that stands so often is said to stand there once for each, not once for each two. */
static void what_stands_twice_is_said_once(void **state)
{
	(void)state;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct conf_report report = { .text = &text };
	struct conf *conf = NULL;
	static const char xml[] =
		"<vhostmd><globals><disk><name>d</name></disk>"
		"<update_period>5</update_period></globals><metrics>\n"
		"<metric context='host'><name>a</name><source>host.uptime</source></metric>\n"
		"<metric context='host'><name>a</name><source>host.uptime</source></metric>\n"
		"<metric context='host'><name>a</name><source>host.uptime</source></metric>\n"
		"</metrics></vhostmd>";

	assert_int_equal(conf_parse(xml, strlen(xml), "t.conf", &report, &conf), 0);
	assert_int_equal(report.warnings, 2);
	assert_string_equal(strbuf_str(&text),
		"t.conf:3: warning: metric 'a' stands also in line 2; files show that one\n"
		"t.conf:4: warning: metric 'a' stands also in line 2; files show that one\n");
	conf_unref(conf);
}

/* It is read while SIGTERM waits. */
static void a_file_of_nonsense_is_read_at_once(void **state)
{
	(void)state;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	_cleanup_strbuf_ struct strbuf xml = STRBUF_INIT;
	struct conf_report report = { .text = &text, .tolerant = true };
	struct conf *conf = NULL;
	const unsigned n = 200000;
	clock_t before = clock();

	strbuf_adds(&xml, "<vhostmd><globals>");
	for (unsigned i = 0; i < n; i++)
		strbuf_addf(&xml, "<a%x/>", i);
	strbuf_adds(&xml,
		"<disk><name>d</name></disk><update_period>5</update_period>"
		"<update_period>6</update_period></globals><metrics>"
		"<metric context='host'><name>a</name><source>host.uptime</source></metric>"
		"</metrics></vhostmd>");
	assert_int_equal(
		conf_parse(strbuf_str(&xml), xml.len, "t.conf", &report, &conf), 0);
	assert_int_equal(report.errors, n + 1);
	assert_int_equal(conf->period_ns, 5 * NS_PER_S);
	/* it was minutes */
	assert_true((clock() - before) / CLOCKS_PER_SEC < 15);
	conf_unref(conf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_stands_twice_is_said_once),
		cmocka_unit_test(a_file_of_nonsense_is_read_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

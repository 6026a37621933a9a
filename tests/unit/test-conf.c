/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The configuration: the existing grammar, the additions, and every mistake by line. */
#include "test.h"
#include "tmp.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <libxml/parser.h>
#include <libxml/xmlerror.h>

#include "conf/conf.h"
#include "conf/disk_access.h"
#include "core/spec.h"
#include "util/cleanup.h"
#include "util/mem.h"
#include "util/clock.h"
#include "util/strbuf.h"

/* Parses; on success the caller owns *@ret.  The report's text goes to @text. */
static int parse(const char *xml, struct strbuf *text, struct conf **ret)
{
	struct conf_report report = { .text = text };

	return conf_parse(xml, strlen(xml), "t.conf", &report, ret);
}

/* The same as the daemon does it.  Return: the number of mistakes. */
static unsigned run(const char *xml, struct strbuf *text, struct conf **ret)
{
	struct conf_report report = { .text = text, .tolerant = true };

	if (conf_parse(xml, strlen(xml), "t.conf", &report, ret) < 0)
		fail_msg("refused: %s\n%s", xml, strbuf_str(text));
	return report.errors;
}

static const char legacy[] =
	"<?xml version='1.0' encoding='UTF-8'?>\n"
	"<!DOCTYPE vhostmd SYSTEM \"/nowhere/vhostmd.dtd\">\n"
	"<vhostmd><globals>\n"
	"<disk><name>d</name><path>/dev/shm/vhostmd0</path><size unit='k'>256</size></disk>\n"
	"<virtio><max_channels>10</max_channels><expiration_time>15</expiration_time></virtio>\n"
	"<update_period>5</update_period><path>/bin:/usr/bin</path>\n"
	"<transport>VBD</transport><transport>virtio</transport></globals>\n"
	"<metrics>\n"
	"<metric type='string' context='host'><name>HostName</name>\n"
	"<action>hostname | tr -d '[:space:]'</action></metric>\n"
	"<metric type='uint64' context='host' unit='MiB' cnt='1'><name>Mem</name>"
	"<action>echo 1</action></metric>\n"
	"<metric type='group' context='host'><name>Rates</name><action>echo 1,2</action>\n"
	"<variable name='A' type='uint64'/><variable name='B' type='real64' unit='s'/></metric>\n"
	"<metric type='xml' context='vm'><name>x</name><action>x.sh NAME</action></metric>\n"
	"</metrics></vhostmd>\n";

static void existing_grammar_is_accepted(void **state)
{
	(void)state;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct conf *conf = NULL;

	assert_int_equal(parse(legacy, &text, &conf), 0);
	assert_string_equal(strbuf_str(&text), "");
	assert_int_equal(conf->period_ns, 5 * NS_PER_S);
	assert_int_equal(conf->disk_size_bytes, 256 << 10);
	assert_string_equal(conf->disk_path, "/dev/shm/vhostmd0");
	assert_int_equal(conf->transports, TRANSPORT_VBD | TRANSPORT_VIRTIO);
	assert_int_equal(conf->max_channels, 10);
	assert_int_equal(conf->expiration_ns, 15 * NS_PER_S);
	assert_string_equal(conf->action_path, "/bin:/usr/bin");
	assert_true(conf_has_shared_disk(conf));
	assert_int_equal(conf->specs->n, 4);
	assert_int_equal(conf->specs->specs[1].type, METRIC_UINT64);
	assert_string_equal(conf->specs->specs[1].unit, "MiB");
	assert_int_equal(conf->specs->specs[2].n_variables, 2);
	assert_int_equal(conf->specs->specs[3].kind, SPEC_XML);
	assert_int_equal(conf->specs->specs[3].context, CONTEXT_VM);
	conf_unref(conf);
}

static void sources_take_type_and_unit(void **state)
{
	(void)state;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct conf *conf = NULL;

	assert_int_equal(
		parse("<vhostmd><globals/><metrics>"
		      "<metric context='host'><name>A</name><source>host.mem.total</source></metric>"
		      "<metric type='uint64' context='host'><name>B</name>"
		      "<source unit='MiB'>host.mem.total</source></metric>"
		      "<metric context='vm' guest='no'><name>v*d</name>"
		      "<source>vcpu.*.delay</source></metric>"
		      "</metrics></vhostmd>",
			&text, &conf),
		0);
	assert_string_equal(strbuf_str(&text), "");
	assert_int_equal(conf->specs->specs[0].type, METRIC_UINT64);
	assert_null(conf->specs->specs[0].convert);
	assert_non_null(conf->specs->specs[1].convert);
	assert_false(conf->specs->specs[2].guest);
	assert_int_equal(conf->transports, TRANSPORT_VBD);
	assert_false(conf_has_shared_disk(conf));
	assert_int_equal(conf->expiration_ns, 15 * NS_PER_S);
	conf_unref(conf);
}

static void actions_say_which_names_they_take(void **state)
{
	(void)state;
	static const char start[] =
		"<vhostmd><globals/><metrics>"
		"<metric type='int32' context='vm'><name>a</name><action names='any'>x</action></metric>"
		"<metric type='int32' context='vm'><name>b</name><action names='safe'>x</action></metric>"
		"<metric type='int32' context='vm'><name>c</name><action>x</action></metric>";
	_cleanup_free_ char *good = xasprintf("%s</metrics></vhostmd>", start);
	_cleanup_free_ char *bad =
		xasprintf("%s<metric type='int32' context='vm'><name>d</name>"
			  "<action names='all'>x</action></metric></metrics></vhostmd>",
			start);
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct conf *conf = NULL;

	assert_int_equal(parse(good, &text, &conf), 0);
	assert_string_equal(strbuf_str(&text), "");
	assert_true(conf->specs->specs[0].any_name);
	assert_false(conf->specs->specs[1].any_name);
	assert_false(conf->specs->specs[2].any_name);
	assert_false(spec_equal(&conf->specs->specs[0], &conf->specs->specs[1]));
	conf_unref(conf);
	/* who says something else gets no names at all */
	assert_int_equal(parse(bad, &text, &conf), 0);
	assert_non_null(
		strstr(strbuf_str(&text), "names must be safe or any, not 'all'"));
	assert_int_equal(conf->specs->n, 3);
	conf_unref(conf);
}

static void sizes_are_rounded_with_a_warning(void **state)
{
	(void)state;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct conf *conf = NULL;

	assert_int_equal(parse("<vhostmd><globals><disk><size unit='K'>100</size></disk>"
			       "</globals><metrics/></vhostmd>",
				 &text, &conf),
		0);
	assert_int_equal(conf->disk_size_bytes, 128 << 10);
	assert_non_null(
		strstr(strbuf_str(&text), "t.conf:1: warning: <size> is rounded up"));
	conf_unref(conf);
}

static void channels_have_a_rate_within_its_range(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		unsigned n; /* 10: the default */
		bool wrong;
	} cases[] = { { "", 10, false }, { "<max_requests>1</max_requests>", 1, false },
		{ "<max_requests>1000</max_requests>", 1000, false },
		{ "<max_requests>0</max_requests>", 10, true },
		{ "<max_requests>1001</max_requests>", 10, true },
		{ "<max_requests>0.5</max_requests>", 10, true } };

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
		_cleanup_free_ char *xml = xasprintf(
			"<vhostmd><globals>\n<virtio>%s</virtio></globals><metrics>"
			"<metric context='host'><name>a</name><source>host.name</source>"
			"</metric></metrics></vhostmd>",
			cases[i].text);
		struct conf *conf = NULL;

		assert_int_equal(parse(xml, &text, &conf), 0);
		assert_int_equal(conf->max_requests, cases[i].n);
		assert_int_equal(strstr(strbuf_str(&text), "t.conf:2: error: ") != NULL,
			cases[i].wrong);
		conf_unref(conf);
	}
}

/* Each line holds one mistake, and each must be reported with that line's number. */
static const char mistakes[] =
	"<vhostmd><globals>\n"
	/* 2 */ "<disk><size unit='G'>1</size>\n"
	/* 3 */ "<path>relative</path>\n"
	/* 4 */ "<colour>red</colour></disk>\n"
	/* 5 */ "<update_period>0</update_period>\n"
	/* 6 */ "<update_period>5</update_period>\n"
	/* 7 */ "<transport>pigeon</transport>\n"
	/* 8 */ "<virtio><max_channels>many</max_channels>\n"
	/* 9 */ "<expiration_time>-1</expiration_time></virtio>\n"
	/* 10 */ "<weather/>\n"
	/* 11 */ "<path></path>\n"
	/* 12 */ "<filesystem><mode>0666</mode>\n"
	/* 13 */ "<group>no-such-group-here</group></filesystem>\n"
	"</globals><metrics>\n"
	/* 15 */
	"<metric type='integer' context='host'><name>a</name><action>a</action></metric>\n"
	/* 16 */
	"<metric type='int32' context='moon'><name>b</name><action>a</action></metric>\n"
	/* 17 */ "<metric type='int32'><name>c</name><action>a</action></metric>\n"
	/* 18 */ "<metric type='int32' context='host'><action>a</action></metric>\n"
	/* 19 */ "<metric type='int32' context='host'><name>e</name></metric>\n"
	/* 20 */
	"<metric context='host'><name>f</name><source>host.mem.totl</source></metric>\n"
	/* 21 */
	"<metric context='vm'><name>g</name><source>host.load.1</source></metric>\n"
	/* 22 */
	"<metric context='vm'><name>h</name><source>vcpu.*.delay</source></metric>\n"
	/* 23 */
	"<metric context='host'><name>i</name><source unit='s'>host.mem.total</source></metric>\n"
	/* 24 */
	"<metric type='string' context='host'><name>j</name><source>host.load.1</source></metric>\n"
	/* 25 */
	"<metric type='group' context='host'><name>k</name><action>a</action></metric>\n"
	/* 26 */
	"<metric type='int32' context='host' size='1'><name>l</name><action>a</action></metric>\n"
	/* 27 */
	"<metric type='int32' context='host'><name>m</name><action>a</action><source>host.load.1</source></metric>\n"
	/* 28 */
	"<metric type='int32' context='host'><name>n</name><action>&who;</action></metric>\n"
	/* 29 */ "<metric context='host'><name>o</name><action>a</action></metric>\n"
	/* 30 */
	"<metric context='host'><name>p</name><source unit='MiB'>host.name</source></metric>\n"
	/* 31 */ "<gauge/>\n"
	/* 32 */ "stray\n"
	"</metrics></vhostmd>\n";

static void every_mistake_is_reported_by_line(void **state)
{
	(void)state;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	_cleanup_strbuf_ struct strbuf xml = STRBUF_INIT;
	struct conf *conf = NULL;

	/* an undeclared entity is only well-formed where a DTD might declare it */
	strbuf_addf(&xml, "<!DOCTYPE vhostmd SYSTEM 'x.dtd'>%s", mistakes);
	assert_int_equal(parse(strbuf_str(&xml), &text, &conf), 0);
	/* all but the one with an attribute too many */
	assert_int_equal(conf->specs->n, 1);
	assert_string_equal(conf->specs->specs[0].name, "l");
	conf_unref(conf);
	for (int line = 2; line <= 32; line++) {
		char prefix[32];

		if (line == 14 || line == 32)
			continue;
		snprintf(prefix, sizeof(prefix), "t.conf:%d: error: ", line);
		if (!strstr(strbuf_str(&text), prefix))
			fail_msg(
				"nothing about line %d in:\n%s", line, strbuf_str(&text));
	}
	assert_non_null(strstr(strbuf_str(&text), "text 'stray' stands outside"));
	assert_non_null(strstr(strbuf_str(&text), "did you mean 'host.mem.total'"));
}

/*
 * What the existing daemon skips or tolerates is said, with its line, and costs what it stands
 * in at most; who checks the file is told that it has mistakes.
 */
static void what_cannot_be_used_costs_nothing_else(void **state)
{
	(void)state;
	static const struct {
		const char *globals, *metric; /* in lines 2 and 3 */
		unsigned line;
		size_t n; /* metrics that are left, with the good one */
	} cases[] = {
		{ "<disk><size unit='KiB'>512</size></disk>", "", 2, 1 },
		{ "<site>berlin</site>", "", 2, 1 },
		{ "<path></path>", "", 2, 1 },
		{ "<disk><path>/a</path><path>/b</path></disk>", "", 2, 1 },
		{ "<update_period>soon</update_period>", "", 2, 1 },
		{ "<transport>pigeon</transport>", "", 2, 1 },
		{ "<disk colour='red'><size unit='G'>9</size></disk>", "", 2, 1 },
		{ "stray", "", 2, 1 },
		{ "", "<metric type='UINT64' context='HOST'><name>A</name><action>a</action></metric>",
			3, 2 },
		{ "", "<metric type='float' context='host'><name>A</name><action>a</action></metric>",
			3, 1 },
		{ "", "<metric type='int32' context='host'><name>A</name><action/></metric>",
			3, 1 },
		{ "", "<metric type='int32' context='host'><name/><action>a</action></metric>",
			3, 1 },
		{ "",
			"<metric type='int32' context='host'><name>A</name><name>B</name>"
			"<action>a</action></metric>",
			3, 2 },
		{ "",
			"<metric type='int32' context='host' colour='red'><name>A</name>"
			"<description>d</description><action>a</action></metric>",
			3, 2 },
		{ "",
			"<metric type='int32' context='host'><name>A</name><action>a</action>"
			"<variable/></metric>",
			3, 2 },
		{ "",
			"<metric type='group' context='host'><name>A</name><action>a</action>"
			"<variable name='a' type='int32'/><variable name='b'/></metric>",
			3, 1 },
		{ "",
			"<metric context='vm'><name>A</name><source>domain.metadata</source>"
			"</metric>",
			3, 1 },
		{ "",
			"<metric context='vm'><name>A</name><source namespace='u' "
			"element=''>domain.metadata</source></metric>",
			3, 1 },
		{ "",
			"<metric context='vm'><name>A</name><source namespace='u' "
			"element='a'>domain.name</source></metric>",
			3, 2 },
		{ "", "<gauge/>", 3, 1 },
		{ "",
			"</metrics><metrics><metric type='int32' context='host'><name>A</name>"
			"<action>a</action></metric>",
			3, 2 },
		{ "", "</metrics><globals/><metrics>", 3, 1 },
		{ "", "<x:y/>", 3, 1 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_strbuf_ struct strbuf xml = STRBUF_INIT;
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
		_cleanup_free_ char *prefix =
			xasprintf("t.conf:%u: warning: ", cases[i].line);
		struct conf_report strict = { .text = &text };
		struct conf *conf = NULL;

		strbuf_addf(&xml,
			"<vhostmd><globals>\n%s</globals><metrics>\n%s\n"
			"<metric type='uint64' context='host'><name>Good</name>"
			"<action>date +%%s</action></metric></metrics></vhostmd>",
			cases[i].globals, cases[i].metric);
		assert_true(run(strbuf_str(&xml), &text, &conf) > 0);
		if (!strstr(strbuf_str(&text), prefix))
			fail_msg("no '%s' in: %s", prefix, strbuf_str(&text));
		assert_null(strstr(strbuf_str(&text), "error: "));
		if (conf->specs->n != cases[i].n)
			fail_msg("%zu metrics of: %s", conf->specs->n, strbuf_str(&xml));
		assert_string_equal(conf->specs->specs[cases[i].n - 1].name, "Good");
		conf_unref(conf);
		strbuf_clear(&text);
		assert_int_equal(
			conf_parse(xml.data, xml.len, "t.conf", &strict, &conf), 0);
		conf_unref(conf);
		assert_true(strict.errors > 0);
		assert_non_null(strstr(strbuf_str(&text), ": error: "));
		assert_null(strstr(strbuf_str(&text), "note: "));
	}
}

/* The first of several counts, a unit's first letter, and words in any letters. */
static void what_can_be_understood_is_used(void **state)
{
	(void)state;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct conf *conf = NULL;

	assert_true(run("<vhostmd><globals><disk><size unit='KiB'>512</size>"
			"<path>/a</path><path>/b</path></disk><path></path>"
			"<update_period>soon</update_period></globals><metrics>"
			"<metric type='UINT64' context='Vm'><name>A</name><name>B</name>"
			"<action>a</action></metric></metrics></vhostmd>",
			    &text, &conf) > 0);
	assert_int_equal(conf->disk_size_bytes, 512 << 10);
	assert_string_equal(conf->disk_path, "/a");
	assert_non_null(strstr(conf->action_path, "/bin"));
	assert_int_equal(conf->period_ns, 5 * NS_PER_S);
	assert_int_equal(conf->specs->specs[0].type, METRIC_UINT64);
	assert_int_equal(conf->specs->specs[0].context, CONTEXT_VM);
	assert_string_equal(conf->specs->specs[0].name, "A");
	conf_unref(conf);
}

/* A mistake in what keeps somebody out lets nobody in. */
static void a_mistake_opens_nothing(void **state)
{
	(void)state;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct conf *conf = NULL;

	assert_true(
		run("<vhostmd><globals><filesystem><mode>0640</mode></filesystem>"
		    "</globals><metrics><metric context='host' guest='never'><name>A</name>"
		    "<source>host.load.1</source></metric><metric context='host'>"
		    "<name>B</name><source>host.load.1</source></metric>"
		    "</metrics></vhostmd>",
			&text, &conf) > 0);
	assert_int_equal(conf->file_mode, 0400);
	assert_int_equal(conf->specs->n, 1);
	conf_unref(conf);
}

/* Each setting with a value that is not the default, and with one that is none. */
static const struct {
	const char *parent, *name, *good, *bad;
} in_force[] = {
	{ "disk", "path", "/there", "here" },
	{ "disk", "size unit='k'", "256", "-1" },
	{ "disk", "mode", "0440", "rw" },
	{ "disk", "group", "daemon", "no such group" },
	{ "virtio", "max_channels", "7", "many" },
	{ "virtio", "expiration_time", "99", "never" },
	{ NULL, "update_period", "2", "0" },
	{ NULL, "slow_period", "8", "slow" },
	{ NULL, "balloon_period", "80", "" },
	{ NULL, "path", "/opt/bin", "" },
	{ NULL, "transport", "virtio", "viritio" },
	{ "actions", "user", "daemon", "" },
	{ "actions", "timeout", "33", "1e9" },
	{ "actions", "max_parallel", "9", "0" },
	{ "filesystem", "mode", "0040", "0999" },
	{ "filesystem", "group", "daemon", "no such group" },
};

/* With one of them bad; ARRAY_LEN(in_force): with none. */
static void one_is_bad(size_t bad, struct strbuf *xml)
{
	strbuf_clear(xml);
	strbuf_adds(xml, "<vhostmd><globals>");
	for (size_t i = 0; i < ARRAY_LEN(in_force); i++) {
		const char *name = in_force[i].name, *parent = in_force[i].parent;
		bool first = !i || in_force[i - 1].parent != parent;
		bool last =
			i + 1 == ARRAY_LEN(in_force) || in_force[i + 1].parent != parent;

		if (parent && first)
			strbuf_addf(xml, "<%s>", parent);
		strbuf_addf(xml, "<%s>%s</%.*s>", name,
			i == bad ? in_force[i].bad : in_force[i].good,
			(int)strcspn(name, " "), name);
		if (parent && last)
			strbuf_addf(xml, "</%s>", parent);
	}
	strbuf_adds(xml, "</globals><metrics/></vhostmd>");
}

static bool same_text(const char *a, const char *b)
{
	return a && b && !strcmp(a, b);
}

static bool same_settings(const struct conf *a, const struct conf *b)
{
	return a->transports == b->transports && a->period_ns == b->period_ns &&
		a->slow_period_ns == b->slow_period_ns &&
		a->balloon_period_ns == b->balloon_period_ns &&
		same_text(a->disk_path, b->disk_path) &&
		a->disk_size_bytes == b->disk_size_bytes && a->file_gid == b->file_gid &&
		a->disk_mode == b->disk_mode && a->has_disk_gid && b->has_disk_gid &&
		a->disk_gid == b->disk_gid && a->max_channels == b->max_channels &&
		a->expiration_ns == b->expiration_ns && a->file_mode == b->file_mode &&
		same_text(a->action_path, b->action_path) &&
		same_text(a->action_user, b->action_user) &&
		a->action_timeout_ns == b->action_timeout_ns &&
		a->action_max_parallel == b->action_max_parallel;
}

static void at_a_reload_a_bad_setting_keeps_the_value_in_force(void **state)
{
	(void)state;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT, xml = STRBUF_INIT;
	struct conf *before = NULL;

	one_is_bad(ARRAY_LEN(in_force), &xml);
	assert_int_equal(run(strbuf_str(&xml), &text, &before), 0);
	for (size_t i = 0; i < ARRAY_LEN(in_force); i++) {
		struct conf_report report = {
			.text = &text, .tolerant = true, .in_force = before
		};
		struct conf *conf = NULL;

		one_is_bad(i, &xml);
		strbuf_clear(&text);
		assert_int_equal(
			conf_parse(xml.data, xml.len, "t.conf", &report, &conf), 0);
		assert_int_equal(report.errors, 1);
		if (!same_settings(conf, before))
			fail_msg("another configuration for a bad %s: %s",
				in_force[i].name, strbuf_str(&text));
		assert_non_null(strstr(strbuf_str(&text), "that is in force stays\n"));
		conf_unref(conf);
	}
	conf_unref(before);
}

/* Virtual CPUs are told of only where they take room. */
static void what_has_room_is_described(void **state)
{
	(void)state;
	static const struct {
		const char *source, *room;
	} cases[] = {
		{ "cpu.time", "room on a private disk: for all metrics\n" },
		{ "block.*.rd.bytes", "room on a private disk: for all metrics\n" },
		{ "vcpu.*.delay", " virtual CPUs\n" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT, out = STRBUF_INIT;
		_cleanup_free_ char *xml =
			xasprintf("<vhostmd><globals/><metrics><metric context='vm'>"
				  "<name>%s</name><source>%s</source></metric>"
				  "</metrics></vhostmd>",
				cases[i].source, cases[i].source);
		struct conf *conf = NULL;

		assert_int_equal(run(xml, &text, &conf), 0);
		conf_describe(conf, &out);
		if (!strstr(strbuf_str(&out), cases[i].room))
			fail_msg("no '%s' in: %s", cases[i].room, strbuf_str(&out));
		assert_null(strstr(strbuf_str(&out), "any number"));
		conf_unref(conf);
	}
}

static void a_group_has_its_unit(void **state)
{
	(void)state;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct conf *conf = NULL;

	assert_int_equal(
		run("<vhostmd><globals/><metrics><metric type='group' context='host' unit='MiB'>"
		    "<name>G</name><action>echo 1,2</action><variable name='a' type='uint32'/>"
		    "<variable name='b' type='uint32' unit='s'/></metric></metrics></vhostmd>",
			&text, &conf),
		0);
	assert_string_equal(conf->specs->specs[0].variables[0].unit, "MiB");
	assert_string_equal(conf->specs->specs[0].variables[1].unit, "s");
	conf_unref(conf);
}

/* qemu.conf says @settings; NULL: there is no such file. */
static void find_access(const char *settings, struct disk_access *ret)
{
	char root[] = "/tmp/vhostmd-root.XXXXXX";

	assert_non_null(mkdtemp(root));
	_cleanup_close_ int fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);

	assert_int_equal(mkdirat(fd, "etc", 0700), 0);
	assert_int_equal(mkdirat(fd, "etc/libvirt", 0700), 0);
	if (settings) {
		_cleanup_close_ int file = openat(fd, "etc/libvirt/qemu.conf",
			O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

		assert_int_equal(write(file, settings, strlen(settings)),
			(ssize_t)strlen(settings));
	}
	disk_access_find(fd, ret);
	unlinkat(fd, "etc/libvirt/qemu.conf", 0);
	unlinkat(fd, "etc/libvirt", AT_REMOVEDIR);
	unlinkat(fd, "etc", AT_REMOVEDIR);
	rmdir(root);
}

/*
 * On Debian the user libvirt-qemu has kvm for his first group, which people are in, too, and is in
 * one of his own.  Where he is not, as on RHEL, this is of the user qemu.
 */
static void disks_are_not_for_those_who_may_use_kvm(void **state)
{
	(void)state;
	const struct passwd *user = getpwnam("libvirt-qemu");
	bool debian = user != NULL;

	if (!user)
		user = getpwnam("qemu");
	const struct group *own = user ? getgrnam(user->pw_name) : NULL;
	struct disk_access access;
	struct conf conf = { 0 };

	if (!own)
		skip();
	gid_t gid = own->gr_gid;

	find_access(debian ? "user = \"libvirt-qemu\"\n" : "user = \"qemu\"\n", &access);
	assert_true(access.known);
	assert_int_equal(disk_access_gid(&access, &conf), gid);
}

/* A disk is closed to others only if it is certain that QEMUs can open it. */
static void disks_are_for_qemu(void **state)
{
	(void)state;
	static const struct {
		const char *settings;
		bool known;
		gid_t gid;
	} cases[] = {
		{ "# user = \"nobody\"\ngroup = \"+107\"\n", true, 107 },
		{ "user=\"root\"\n", true, 0 },
		{ "\tuser = '+0'\nuser_x = \"x\"\n", true, 0 },
		{ "user = \"nosuchuser\"\n", false, 0 },
		{ "user = \"root\"\ngroup = \"no-such-group\"\n", false, 0 },
		{ "group = \"4294967296\"", false, 0 },
		{ "group = \"1\"\ngroup = \"2\"", true, 2 },
	};
	struct disk_access access;
	struct conf conf = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		find_access(cases[i].settings, &access);
		if (access.known != cases[i].known)
			fail_msg("%s: %s", cases[i].settings, access.why);
		assert_int_equal(disk_access_gid(&access, &conf), cases[i].gid);
		assert_int_equal(
			disk_access_mode(&access, &conf), cases[i].known ? 0440 : 0444);
	}
	/* a user that distributions make for it, or none: then anybody may read */
	find_access(NULL, &access);
	assert_int_equal(disk_access_mode(&access, &conf), access.known ? 0440 : 0444);
	assert_int_equal(access.known, !getpwnam("qemu") != !getpwnam("libvirt-qemu"));
	/* the configuration's own word */
	conf.has_disk_gid = true;
	conf.disk_gid = 7;
	access.known = false;
	assert_int_equal(disk_access_mode(&access, &conf), 0440);
	assert_int_equal(disk_access_gid(&access, &conf), 7);
	conf.disk_mode = 0444;
	assert_int_equal(disk_access_mode(&access, &conf), 0444);
}

static void malformed_documents_are_refused(void **state)
{
	(void)state;
	static const char *const bad[] = { "", "hello", "<vhostmd>", "<vhostmd/>",
		"<other/>", "<vhostmd><metrics/></vhostmd>",
		"<vhostmd><globals/></vhostmd>",
		"<vhostmd><globals/><metrics><metric/></metrics></vhostmd>",
		"<!DOCTYPE vhostmd [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>"
		"<vhostmd><globals><path>&e;</path></globals><metrics/></vhostmd>",
		"<!DOCTYPE vhostmd [<!ENTITY e 'x'>]>"
		"<vhostmd><globals/><metrics/></vhostmd>" };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
		struct conf *conf = NULL;

		if (parse(bad[i], &text, &conf) != -EINVAL)
			fail_msg("accepted: %s", bad[i]);
		assert_non_null(strstr(strbuf_str(&text), "t.conf:1: error: "));
		assert_null(strstr(strbuf_str(&text), "root:"));
	}
}

static unsigned n_loaded;

static xmlParserInputPtr count_loads(
	const char *url, const char *id, xmlParserCtxtPtr ctxt)
{
	(void)url;
	(void)id;
	(void)ctxt;
	n_loaded++;
	return NULL;
}

/* Each names something to be fetched, in all the places where XML can. */
static void nothing_is_ever_fetched(void **state)
{
	(void)state;
	static const char *const asking[] = { legacy,
		"<!DOCTYPE vhostmd PUBLIC '-//x' 'http://localhost/vhostmd.dtd'>"
		"<vhostmd><globals/><metrics/></vhostmd>",
		"<!DOCTYPE vhostmd [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>"
		"<vhostmd><globals><path>&e;</path></globals><metrics/></vhostmd>",
		"<!DOCTYPE vhostmd [<!ENTITY e SYSTEM '/etc/passwd'>]>"
		"<vhostmd a='&e;'><globals/><metrics/></vhostmd>",
		"<!DOCTYPE vhostmd [<!ENTITY % e SYSTEM 'file:///etc/passwd'> %e;]>"
		"<vhostmd><globals/><metrics/></vhostmd>",
		"<!DOCTYPE vhostmd SYSTEM 'file:///etc/passwd'>"
		"<vhostmd><globals><path>&undeclared;</path></globals><metrics/></vhostmd>",
		"<vhostmd xmlns:xi='http://www.w3.org/2001/XInclude'>"
		"<xi:include href='file:///etc/passwd'/><globals/><metrics/></vhostmd>" };
	xmlExternalEntityLoader before = xmlGetExternalEntityLoader();

	n_loaded = 0;
	xmlSetExternalEntityLoader(count_loads);
	for (size_t i = 0; i < ARRAY_LEN(asking); i++) {
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
		struct conf *conf = NULL;

		(void)parse(asking[i], &text, &conf);
		if (conf && conf->action_path)
			assert_null(strstr(conf->action_path, "root:"));
		assert_null(strstr(strbuf_str(&text), "root:"));
		if (n_loaded)
			fail_msg("something was fetched for: %s", asking[i]);
		conf_unref(conf);
	}
	assert_ptr_equal(xmlGetExternalEntityLoader(), count_loads);
	xmlSetExternalEntityLoader(before);
}

static void ignore_error(void *data, xmlErrorPtr error)
{
	(void)data;
	(void)error;
}

/* libvirt's drivers read files by libxml2 in the daemon's threads, and set it as they like. */
static void other_users_of_the_xml_parser_see_nothing_of_ours(void **state)
{
	(void)state;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	char path[TMP_PATH_SIZE];
	_cleanup_close_ int fd = mkstemp(tmp_path(path, "vhostmd-conf.XXXXXX"));
	struct conf *conf = NULL;
	int mark;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "<domain/>", 9), 9);
	xmlSetStructuredErrorFunc(&mark, ignore_error);
	assert_int_equal(parse(legacy, &text, &conf), 0);
	conf_unref(conf);
	assert_int_equal(parse("<vhostmd>", &text, &conf), -EINVAL);
	xmlDoc *doc = xmlReadFile(path, NULL, XML_PARSE_NONET);

	unlink(path);
	assert_non_null(doc);
	assert_string_equal((const char *)xmlDocGetRootElement(doc)->name, "domain");
	xmlFreeDoc(doc);
	assert_ptr_equal(xmlStructuredError, ignore_error);
	assert_ptr_equal(xmlStructuredErrorContext, &mark);
	xmlSetStructuredErrorFunc(NULL, NULL);
}

static void a_missing_file_is_an_error(void **state)
{
	(void)state;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct conf_report report = { .text = &text };
	struct conf *conf = NULL;

	assert_int_equal(conf_load("/nonexistent/x.conf", &report, &conf), -ENOENT);
	assert_int_equal(report.errors, 1);
	assert_string_equal(strbuf_str(&text),
		"/nonexistent/x.conf: error: cannot be read: No such file or directory\n");
}

static void nobody_is_waited_for(void **state)
{
	(void)state;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct conf_report report = { .text = &text };
	struct conf *conf = NULL;
	char path[] = "/tmp/vhostmd-fifo.XXXXXX";

	assert_non_null(mkdtemp(path));
	_cleanup_free_ char *fifo = xasprintf("%s/fifo", path);

	assert_int_equal(mkfifo(fifo, 0600), 0);
	alarm(20);
	assert_int_equal(conf_load(fifo, &report, &conf), -EMEDIUMTYPE);
	alarm(0);
	assert_int_equal(conf_load(path, &report, &conf), -EMEDIUMTYPE);
	assert_non_null(strstr(strbuf_str(&text), "it is no regular file"));
	unlink(fifo);
	rmdir(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(existing_grammar_is_accepted),
		cmocka_unit_test(sources_take_type_and_unit),
		cmocka_unit_test(actions_say_which_names_they_take),
		cmocka_unit_test(sizes_are_rounded_with_a_warning),
		cmocka_unit_test(channels_have_a_rate_within_its_range),
		cmocka_unit_test(every_mistake_is_reported_by_line),
		cmocka_unit_test(what_cannot_be_used_costs_nothing_else),
		cmocka_unit_test(what_can_be_understood_is_used),
		cmocka_unit_test(a_mistake_opens_nothing),
		cmocka_unit_test(at_a_reload_a_bad_setting_keeps_the_value_in_force),
		cmocka_unit_test(what_has_room_is_described),
		cmocka_unit_test(a_group_has_its_unit),
		cmocka_unit_test(disks_are_for_qemu),
		cmocka_unit_test(disks_are_not_for_those_who_may_use_kvm),
		cmocka_unit_test(malformed_documents_are_refused),
		cmocka_unit_test(nothing_is_ever_fetched),
		cmocka_unit_test(other_users_of_the_xml_parser_see_nothing_of_ours),
		cmocka_unit_test(a_missing_file_is_an_error),
		cmocka_unit_test(nobody_is_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a guest makes of what it reads: whose the metrics are, their values, changes, rates; with
 * a clock of the test's.
 */
#include "clock-offset.h"
#include "guest-root.h"

/* ---- which VM this is ---- */

static void check_identity(const char *firmware, const char *content, int expected)
{
	if (firmware)
		put_text("/sys/class/dmi/id/product_uuid", firmware);
	struct vhostmd_snapshot *s = snapshot_of(content);

	assert_int_equal(get(s, METRIC_CONTEXT_VM, "n"), expected);
	/* never another's, whatever the name */
	assert_true(get(s, METRIC_CONTEXT_VM, "others") < 0);
	for (size_t i = 0; i < vhostmd_snapshot_count(s); i++)
		assert_string_not_equal(
			vhostmd_metric_name(vhostmd_snapshot_at(s, i)), "others");
	if (expected < 0)
		assert_null(vhostmd_snapshot_uuid(s));
	else
		assert_string_equal(vhostmd_snapshot_uuid(s), OWN);
	vhostmd_snapshot_free(s);
}

static void the_own_vm_is_found_among_others(void **state)
{
	(void)state;
	check_identity(NULL, two_vms, VHOSTMD_ERR_IDENTITY);
	check_identity(OWN "\n", two_vms, 2);
	check_identity("6BE3FDB8-BEF5-6FEC-B1B7-E61BBCEAB708\n", two_vms, 2);
	check_identity(OWN_SWAPPED "\n", two_vms, 2);
	check_identity(
		"99999999-2222-3333-4444-555555555555\n", two_vms, VHOSTMD_ERR_IDENTITY);
	check_identity(
		"00000000-0000-0000-0000-000000000000\n", two_vms, VHOSTMD_ERR_IDENTITY);
	check_identity(
		"ffffffff-ffff-ffff-ffff-ffffffffffff\n", two_vms, VHOSTMD_ERR_IDENTITY);
	check_identity("nonsense\n", two_vms, VHOSTMD_ERR_IDENTITY);
}

static void another_vm_alone_is_not_this_one(void **state)
{
	(void)state;
	static const char other[] = DOC(METRIC("uint32", VM(OTHER), "others", "1"));
	static const char both_orders[] = DOC(METRIC("uint32", VM(OWN), "n", "1")
			METRIC("uint32", VM(OWN_SWAPPED), "n", "2"));

	check_identity(NULL, other, VHOSTMD_ERR_IDENTITY);
	check_identity(OWN "\n", other, VHOSTMD_ERR_IDENTITY);
	check_identity(OWN "\n", both_orders, VHOSTMD_ERR_IDENTITY);
}

/* Hardware uuids of clones: the firmware shows one that the host does not know. */
static void a_disk_that_is_for_this_vm_alone_says_so(void **state)
{
	(void)state;
	static const char own[] = DOC(METRIC("uint32", VM(OWN), "n", "7")) "\r  \t\n";

	check_identity(NULL, own, 7);
	check_identity(OTHER "\n", own, 7);
}

static void who_knows_his_uuid_may_say_so(void **state)
{
	(void)state;
	put_image("/dev/one", two_vms, 0);
	struct vhostmd_source *s = open_source(below("/dev/one"));
	struct vhostmd_snapshot *now = read_source(s);

	assert_int_equal(get(now, METRIC_CONTEXT_VM, "n"), VHOSTMD_ERR_IDENTITY);
	assert_int_equal(get(now, METRIC_CONTEXT_VM, "no such"), VHOSTMD_ERR_IDENTITY);
	vhostmd_snapshot_free(now);
	assert_int_equal(vhostmd_set_uuid(s, "x"), VHOSTMD_ERR_INVALID);
	assert_int_equal(vhostmd_set_uuid(s, OWN), 0);
	now = read_source(s);
	assert_int_equal(get(now, METRIC_CONTEXT_VM, "n"), 2);
	vhostmd_snapshot_free(now);
	assert_int_equal(vhostmd_set_uuid(s, NULL), 0);
	now = read_source(s);
	assert_int_equal(get(now, METRIC_CONTEXT_VM, "n"), VHOSTMD_ERR_IDENTITY);
	vhostmd_snapshot_free(now);
	vhostmd_close(s);
}

/* ---- values ---- */

static void check_value(const char *type, const char *value, int error, double expected)
{
	char content[1024];
	double real = 0;

	snprintf(content, sizeof(content),
		"<metrics><metric type='%s' context='host'><name>x</name><value>%s</value>"
		"</metric></metrics>",
		type, value);
	struct vhostmd_snapshot *s = snapshot_of(content);

	assert_int_equal(vhostmd_get_real(s, METRIC_CONTEXT_HOST, "x", &real), error);
	if (error == 0)
		assert_true(real == expected);
	assert_int_equal(vhostmd_snapshot_count(s), error == VHOSTMD_ERR_CORRUPT ? 0 : 1);
	vhostmd_snapshot_free(s);
}

/* A13 */
static void values_are_read_as_hosts_write_them(void **state)
{
	(void)state;
	check_value("uint64", "12.000000", 0, 12);
	check_value("uint32", "0.000000", 0, 0);
	check_value("uint64", "12.7", 0, 12);
	check_value("int32", "-3.000000", 0, -3);
	check_value("uint64", " 18446744073709551615\n", 0, 18446744073709551615.0);
	check_value("uint64", "18446744073709551616", VHOSTMD_ERR_CORRUPT, 0);
	check_value("uint32", "4294967296", VHOSTMD_ERR_CORRUPT, 0);
	check_value("int32", "2147483648", VHOSTMD_ERR_CORRUPT, 0);
	check_value("uint64", "-1", VHOSTMD_ERR_CORRUPT, 0);
	check_value("uint64", "12.0x", VHOSTMD_ERR_CORRUPT, 0);
	check_value("uint64", "", VHOSTMD_ERR_CORRUPT, 0);
	check_value("int32", "-2147483648", 0, -2147483648.0);
	check_value("int32", "-2147483649", VHOSTMD_ERR_CORRUPT, 0);
	check_value("int64", "-9223372036854775808", 0, -9223372036854775808.0);
	check_value("int64", "9223372036854775808", VHOSTMD_ERR_CORRUPT, 0);
	check_value("int64", "-9223372036854775809", VHOSTMD_ERR_CORRUPT, 0);
	static const char *const odd[] = { "12.", ".5", "-", "-.5", "--5", "1.5.5", "1 5",
		"1.x", "+5", "0x5" };

	for (size_t i = 0; i < ARRAY_LEN(odd); i++)
		check_value("int64", odd[i], VHOSTMD_ERR_CORRUPT, 0);
	/* 63 digits, and one more */
	check_value("uint64",
		"000000000000000000000000000000000000000000000000000000000000007", 0, 7);
	check_value("uint64",
		"0000000000000000000000000000000000000000000000000000000000000007",
		VHOSTMD_ERR_CORRUPT, 0);
	check_value("real64", "846.600000", 0, 846.6);
	check_value("real64", "nan", VHOSTMD_ERR_CORRUPT, 0);
	check_value("real32", "1e300", VHOSTMD_ERR_CORRUPT, 0);
	check_value("real64", "1e300", 0, 1e300);
	check_value("group", "1", VHOSTMD_ERR_CORRUPT, 0);
	check_value("string", "12", VHOSTMD_ERR_TYPE, 0);
}

static void numbers_fit_or_fail(void **state)
{
	(void)state;
	struct vhostmd_snapshot *s = snapshot_of(DOC(
		METRIC("int64", HOST, "negative", "-5") METRIC("uint64", HOST, "large",
			"18446744073709551615") METRIC("real64", HOST, "real", "-2.75")));
	uint64_t u = 77;
	int64_t i = 77;

	assert_int_equal(vhostmd_get_u64(s, METRIC_CONTEXT_HOST, "negative", &u),
		VHOSTMD_ERR_RANGE);
	assert_int_equal(
		vhostmd_get_i64(s, METRIC_CONTEXT_HOST, "large", &i), VHOSTMD_ERR_RANGE);
	assert_int_equal(
		vhostmd_get_u64(s, METRIC_CONTEXT_HOST, "real", &u), VHOSTMD_ERR_RANGE);
	assert_int_equal(u, 77);
	assert_int_equal(i, 77);
	assert_int_equal(vhostmd_get_i64(s, METRIC_CONTEXT_HOST, "real", &i), 0);
	assert_int_equal(i, -2);
	vhostmd_snapshot_free(s);
}

static const char *text_of(const struct vhostmd_snapshot *s, const char *name)
{
	const char *text = NULL;

	assert_int_equal(vhostmd_get_text(s, METRIC_CONTEXT_HOST, name, &text), 0);
	return text;
}

/* What stands in documents of hosts old and new, and in those of commands. */
static void documents_are_read_whatever_their_form(void **state)
{
	(void)state;
	struct vhostmd_snapshot *s = snapshot_of(
		"<?xml version=\"1.0\" encoding='utf-8'?>\n<!-- x -->"
		"<metrics a='1'>\n<!-- host metrics not available -->\n"
		"<metric context=\"HOST\" unit='K&#x69;B' type='string'><value>\n a&#10;b "
		"&lt;&quot;\xc3\xa9&#233;&apos;\n</value><name> one </name></metric>"
		"<other><metric/></other><metric type='string' context='host'><name>two</name>"
		"<value><![CDATA[<&]]>c<!-- no --></value><extra>x<y/></extra></metric>"
		"<metric type='string' context='host'><name>two</name><value>later</value>"
		"</metric><metric type='string' context='host'><name>empty</name><value/>"
		"</metric></metrics>\n  \t\n");
	const struct vhostmd_metric *m = vhostmd_snapshot_at(s, 0);

	assert_int_equal(vhostmd_snapshot_count(s), 4);
	assert_string_equal(text_of(s, "one"), "a\nb <\"\xc3\xa9\xc3\xa9'");
	assert_string_equal(vhostmd_metric_unit(m), "KiB");
	assert_string_equal(text_of(s, "two"), "<&c");
	assert_string_equal(text_of(s, "empty"), "");
	assert_null(vhostmd_snapshot_at(s, 4));
	vhostmd_snapshot_free(s);
}

/* Start tags are read once each, as long as they are kept. */
static void tags_that_come_again_mean_the_same(void **state)
{
	(void)state;
	enum { UNITS = 40, ROUNDS = 3 };
	char content[UNITS * ROUNDS * 160 + 1024], unit[16];
	size_t n = 0;

	put_text("/sys/class/dmi/id/product_uuid", OWN "\n");
	/* the first one is no metric of the document's, nor is one inside another */
	n += (size_t)snprintf(content, sizeof(content),
		"<metrics><other>" METRIC("uint32", HOST, "n", "1") "</other>" METRIC(
			"uint32", HOST, "n", "2") METRIC("uint32", VM(OTHER), "others",
			"3") METRIC("uint32", VM(OWN), "n", "4")
			METRIC("uint32", VM(OTHER), "others", "5"));
	for (int i = 0; i < UNITS * ROUNDS; i++)
		n += (size_t)snprintf(content + n, sizeof(content) - n,
			"<metric type='uint32' context='%s' uuid='%s' unit='u>%d'><name>%d</name>"
			"<value>%d</value></metric>",
			i % 2 ? "host" : "vm", i % 3 ? OWN : OTHER, i % UNITS, i, i);
	snprintf(content + n, sizeof(content) - n, "</metrics>");
	struct vhostmd_snapshot *s = snapshot_of(content);

	assert_int_equal(get(s, METRIC_CONTEXT_HOST, "n"), 2);
	assert_int_equal(get(s, METRIC_CONTEXT_VM, "n"), 4);
	assert_int_equal(get(s, METRIC_CONTEXT_VM, "others"), VHOSTMD_ERR_NO_METRIC);
	for (int i = 0; i < UNITS * ROUNDS; i++) {
		const struct vhostmd_metric *m = NULL;
		char name[16];

		snprintf(name, sizeof(name), "%d", i);
		snprintf(unit, sizeof(unit), "u>%d", i % UNITS);
		int r = vhostmd_find(
			s, i % 2 ? METRIC_CONTEXT_HOST : METRIC_CONTEXT_VM, name, &m);

		assert_int_equal(r, i % 2 || i % 3 ? 0 : VHOSTMD_ERR_NO_METRIC);
		if (r == 0) {
			assert_string_equal(vhostmd_metric_text(m), name);
			assert_string_equal(vhostmd_metric_unit(m), unit);
		}
	}
	vhostmd_snapshot_free(s);
}

/* The form that hosts write is read at once, unless something in it needs a closer look. */
static void the_usual_form_is_read_as_any_other(void **state)
{
	(void)state;
	struct vhostmd_snapshot *s = snapshot_of(DOC(
		METRIC("string", HOST, "plain", " a b ") METRIC("string", HOST, "empty",
			"") METRIC("string", HOST, "a&amp;b", "&lt;") METRIC("string",
			HOST, "cdata", "<![CDATA[<]]>x") METRIC("string", HOST, "comment",
			"a<!-- -->b") METRIC("string", HOST, "bracket", "[a]]")
			METRIC("string", HOST, "line", "a\r\nb\rc")
				METRIC("string", HOST, "more", "a</value><more/><value>b")
					METRIC("string", HOST, "last", "\xc3\xa9")));

	assert_int_equal(vhostmd_snapshot_count(s), 9);
	assert_string_equal(text_of(s, "plain"), "a b");
	assert_string_equal(text_of(s, "empty"), "");
	assert_string_equal(text_of(s, "a&b"), "<");
	assert_string_equal(text_of(s, "cdata"), "<x");
	assert_string_equal(text_of(s, "comment"), "ab");
	assert_string_equal(text_of(s, "bracket"), "[a]]");
	assert_string_equal(text_of(s, "line"), "a\nb\nc");
	assert_string_equal(text_of(s, "more"), "a");
	assert_string_equal(text_of(s, "last"), "\xc3\xa9");
	vhostmd_snapshot_free(s);
}

/* Memory grows in the middle of any of them. */
static void texts_stay_where_they_are_however_many_there_are(void **state)
{
	(void)state;
	static char content[65536];
	char name[16], value[16];

	for (unsigned n = 1; n <= 260; n += n < 40 ? 1 : 11) {
		size_t at = (size_t)snprintf(content, sizeof(content), "<metrics>");

		for (unsigned i = 0; i < n; i++)
			at += (size_t)snprintf(content + at, sizeof(content) - at,
				"<metric type='string' context='host'>"
				"<name> m%u</name> <value>v%u </value></metric>",
				i, i * n);
		snprintf(content + at, sizeof(content) - at, "</metrics>");
		struct vhostmd_snapshot *s = snapshot_of(content);

		assert_int_equal(vhostmd_snapshot_count(s), n);
		for (unsigned i = 0; i < n; i++) {
			snprintf(name, sizeof(name), "m%u", i);
			snprintf(value, sizeof(value), "v%u", i * n);
			assert_string_equal(text_of(s, name), value);
		}
		vhostmd_snapshot_free(s);
	}
}

static void what_is_no_document_is_an_error(void **state)
{
	(void)state;
	static const char *const bad[] = { "", "<metrics>", "<metrics></metric>", "<m/>",
		"<metrics/><metrics/>", "<!DOCTYPE metrics><metrics/>",
		"<metrics>&x;</metrics>", "<metrics>&#0;</metrics>",
		"<metrics>&#xD800;</metrics>", "<metrics a='1' a='2'/>",
		"<metrics a='<'/>", "<metrics>\x01</metrics>", "<metrics>\xff</metrics>",
		"<metrics><!-- -- --></metrics>", "<metrics>]]></metrics>", "x<metrics/>",
		"<metrics/>x", "<metrics><a></metrics></a>", "<metrics a=1/>",
		"<metrics><metric context='vm'><name>",
		DOC(METRIC("string", HOST, "x", "]]>")),
		DOC(METRIC("string", HOST, "x", "a & b")),
		DOC(METRIC("string", HOST, "&x;", "1")),
		"<?xml version='1.0' encoding='latin1'?><metrics/>" };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct vhostmd_snapshot *now = NULL;
		char *text = NULL;
		size_t len = 0;

		put_image("/dev/one", bad[i], 0);
		struct vhostmd_source *s = open_source(below("/dev/one"));

		if (vhostmd_read(s, &now) != VHOSTMD_ERR_CORRUPT || now)
			fail_msg("taken: %s", bad[i]);
		assert_true(*vhostmd_tried(s));
		/* but it can be had as it is */
		assert_int_equal(vhostmd_read_text(s, &text, &len), 0);
		assert_string_equal(text, bad[i]);
		free(text);
		vhostmd_close(s);
	}
}

static void what_is_missing_is_named(void **state)
{
	(void)state;
	put_text("/sys/class/dmi/id/product_uuid", OWN "\n");
	struct vhostmd_snapshot *s = snapshot_of(DOC(METRIC("string", VM(OWN),
		"sample.unavailable", "balloon.rss usage.cpu") METRIC("string", VM(OWN),
		"domain.unlimited", "memtune.hard_limit") METRIC("real64", VM(OWN),
		"sample.slow.age", "3.5") METRIC("uint64", VM(OWN), "block.0.rd.bytes",
		"5") METRIC("uint64", VM(OWN), "vcpu.0.time", "5")));
	const struct vhostmd_metric *slow = NULL, *fast = NULL;

	assert_int_equal(get(s, METRIC_CONTEXT_VM, "usage.cpu"), VHOSTMD_ERR_UNAVAILABLE);
	assert_int_equal(get(s, METRIC_CONTEXT_VM, "usage"), VHOSTMD_ERR_NO_METRIC);
	assert_int_equal(get(s, METRIC_CONTEXT_VM, ""), VHOSTMD_ERR_NO_METRIC);
	assert_int_equal(get(s, METRIC_CONTEXT_HOST, "usage.cpu"), VHOSTMD_ERR_NO_METRIC);
	assert_int_equal(
		get(s, METRIC_CONTEXT_VM, "memtune.hard_limit"), VHOSTMD_ERR_UNLIMITED);
	assert_int_equal(
		vhostmd_find(s, METRIC_CONTEXT_VM, "block.0.rd.bytes", &slow), 0);
	assert_int_equal(vhostmd_find(s, METRIC_CONTEXT_VM, "vcpu.0.time", &fast), 0);
	assert_true(
		vhostmd_metric_age(s, slow) == 3.5 && vhostmd_metric_age(s, fast) == 0);
	vhostmd_snapshot_free(s);
}

/* ---- changes ---- */

static void every_change_is_noticed(void **state)
{
	(void)state;
	struct vhostmd_snapshot *before, *now;

	put_image("/dev/one", DOC(METRIC("uint32", HOST, "x", "12")), 0);
	struct vhostmd_source *s = open_source(below("/dev/one"));

	before = read_source(s);
	assert_int_equal(vhostmd_snapshot_freshness(before), VHOSTMD_UNKNOWN);
	now = read_source(s);
	assert_int_equal(vhostmd_deltas_valid(before, now), VHOSTMD_ERR_SAME_SAMPLE);
	vhostmd_snapshot_free(now);
	/* the same length, the same sum */
	put_image("/dev/one", DOC(METRIC("uint32", HOST, "x", "21")), 0);
	now = read_source(s);
	assert_int_equal(get(now, METRIC_CONTEXT_HOST, "x"), 21);
	assert_int_equal(get(before, METRIC_CONTEXT_HOST, "x"), 12);
	assert_int_equal(vhostmd_snapshot_freshness(now), VHOSTMD_FRESH);
	vhostmd_snapshot_free(now);
	vhostmd_snapshot_free(before);
	/* shorter, with the same beginning; longer */
	put_image("/dev/one", "<metrics/>  ", 0);
	vhostmd_snapshot_free(read_source(s));
	put_image("/dev/one", "<metrics/>", 0);
	now = read_source(s);
	assert_string_equal(vhostmd_snapshot_xml(now, NULL), "<metrics/>");
	vhostmd_snapshot_free(now);
	put_image("/dev/one", "<metrics/> \n", 0);
	now = read_source(s);
	assert_string_equal(vhostmd_snapshot_xml(now, NULL), "<metrics/> \n");
	vhostmd_snapshot_free(now);
	vhostmd_close(s);
}

/* Over several of the blocks that are read at once. */
static void long_documents_are_compared_to_the_end(void **state)
{
	(void)state;
	enum { BYTES = 100000 };
	_cleanup_free_ char *content = malloc(BYTES + 64);

	memset(content, ' ', BYTES);
	memcpy(content, "<metrics>", 9);
	strcpy(content + BYTES, "</metrics>");
	put_image("/dev/one", content, 0);
	struct vhostmd_source *s = open_source(below("/dev/one"));

	vhostmd_snapshot_free(read_source(s));
	for (size_t at = 10; at < BYTES; at += 9973) {
		content[at] = '\n';
		put_image("/dev/one", content, 0);
		for (int i = 0; i < 2; i++) {
			struct vhostmd_snapshot *now = read_source(s);

			assert_string_equal(vhostmd_snapshot_xml(now, NULL), content);
			vhostmd_snapshot_free(now);
		}
	}
	vhostmd_close(s);
}

/* No host does that: what changes behind what is read with the header, and not in it. */
static void who_asks_often_goes_by_the_header(void **state)
{
	(void)state;
	enum { BYTES = 20000 };
	static const char mark[] = "</metrics>\r  \n";
	_cleanup_free_ char *content = malloc(BYTES + sizeof(mark));

	for (int marked = 0; marked < 2; marked++) {
		memset(content, ' ', BYTES);
		memcpy(content, "<metrics>", 9);
		memcpy(content + BYTES, mark, sizeof(mark));
		if (!marked)
			content[BYTES + 10] = ' ';
		content[10000] = '\t';
		put_image("/dev/one", content, 0);
		struct vhostmd_source *s = open_source(below("/dev/one"));
		struct vhostmd_snapshot *now;

		/* the first one reads, the second compares all of it */
		vhostmd_snapshot_free(read_source(s));
		vhostmd_snapshot_free(read_source(s));
		content[10000] = ' ';
		content[10001] = '\t';
		put_image("/dev/one", content, 0);
		now = read_source(s);
		assert_true((vhostmd_snapshot_xml(now, NULL)[10001] == '\t') == !marked);
		vhostmd_snapshot_free(now);
		/* all of it again after a second */
		clock_offset_s++;
		now = read_source(s);
		assert_string_equal(vhostmd_snapshot_xml(now, NULL), content);
		vhostmd_snapshot_free(now);
		vhostmd_snapshot_free(read_source(s));
		/* what the header tells is noticed at once, and what is behind it */
		content[20] = '\t';
		put_image("/dev/one", content, 0);
		now = read_source(s);
		assert_string_equal(vhostmd_snapshot_xml(now, NULL), content);
		vhostmd_snapshot_free(now);
		vhostmd_snapshot_free(read_source(s));
		content[20] = ' ';
		content[21] = '\t';
		put_image("/dev/one", content, 0);
		now = read_source(s);
		assert_string_equal(vhostmd_snapshot_xml(now, NULL), content);
		vhostmd_snapshot_free(now);
		vhostmd_close(s);
	}
}

static void a_source_that_stands_still_is_called_stopped(void **state)
{
	(void)state;
	char content[64];
	struct vhostmd_snapshot *now;

	put_image("/dev/one", "<metrics/>", 0);
	struct vhostmd_source *s = open_source(below("/dev/one"));

	vhostmd_snapshot_free(read_source(s));
	/* a host that says something every 10 s */
	for (int i = 0; i < 3; i++) {
		clock_offset_s += 10;
		snprintf(content, sizeof(content), "<metrics>%d</metrics>", i);
		put_image("/dev/one", content, 0);
		now = read_source(s);
		assert_int_equal(vhostmd_snapshot_freshness(now), VHOSTMD_FRESH);
		vhostmd_snapshot_free(now);
	}
	clock_offset_s += 20;
	now = read_source(s);
	assert_int_equal(vhostmd_snapshot_freshness(now), VHOSTMD_FRESH);
	assert_true(vhostmd_snapshot_age(now) >= 20 && vhostmd_snapshot_age(now) < 30);
	vhostmd_snapshot_free(now);
	clock_offset_s += 20;
	now = read_source(s);
	assert_int_equal(vhostmd_snapshot_freshness(now), VHOSTMD_STOPPED);
	vhostmd_snapshot_free(now);
	put_image("/dev/one", "<metrics>again</metrics>", 0);
	now = read_source(s);
	assert_int_equal(vhostmd_snapshot_freshness(now), VHOSTMD_FRESH);
	assert_true(vhostmd_snapshot_age(now) < 5);
	vhostmd_snapshot_free(now);
	vhostmd_close(s);
}

static void a_disk_that_stays_busy_is_given_up(void **state)
{
	(void)state;
	struct vhostmd_snapshot *now = NULL;

	put_image("/dev/one", "<metrics/>", 1);
	struct vhostmd_source *s = open_source(below("/dev/one"));

	assert_int_equal(vhostmd_set_timeout(s, 0), VHOSTMD_ERR_INVALID);
	assert_int_equal(vhostmd_set_timeout(s, 100), 0);
	assert_int_equal(vhostmd_read(s, &now), VHOSTMD_ERR_UNSTABLE);
	assert_null(now);
	put_image("/dev/one", "<metrics/>", 0);
	vhostmd_snapshot_free(read_source(s));
	vhostmd_close(s);
}

/* ---- two snapshots ---- */

static struct vhostmd_snapshot *sample(struct vhostmd_source *s, const char *session,
	const char *generation, const char *time, const char *uptime)
{
	char content[2048];

	snprintf(content, sizeof(content),
		"<metrics>" METRIC("real64", HOST, "host.uptime", "%s") METRIC("uint64",
			VM(OWN), "domain.session", "%s") METRIC("uint64", VM(OWN),
			"sample.generation", "%s") METRIC("real64", VM(OWN), "time", "%s")
			METRIC("uint64", VM(OWN), "large", "1844674407370955%s")
				METRIC("string", VM(OWN), "text", "x") "</metrics>",
		uptime, session, generation, time, generation);
	put_image("/dev/one", content, 0);
	return read_source(s);
}

static void rates_are_of_valid_deltas_alone(void **state)
{
	(void)state;
	double rate = 77;

	put_text("/sys/class/dmi/id/product_uuid", OWN "\n");
	put_image("/dev/one", "<metrics/>", 0);
	struct vhostmd_source *s = open_source(below("/dev/one"));
	struct vhostmd_snapshot *a = sample(s, "5", "1001", "10.5", "100.0");
	struct vhostmd_snapshot *b = sample(s, "5", "1003", "12.5", "104.0");
	struct vhostmd_snapshot *same = sample(s, "5", "1003", "13.5", "105.0");
	struct vhostmd_snapshot *fell = sample(s, "5", "1004", "1.5", "106.0");
	struct vhostmd_snapshot *moved = sample(s, "6", "1005", "14.5", "108.0");
	uint64_t session = 0;

	assert_int_equal(vhostmd_deltas_valid(a, b), 0);
	assert_true(vhostmd_elapsed(a, b) == 4.0); /* by the host's clock */
	assert_int_equal(vhostmd_rate(a, b, METRIC_CONTEXT_VM, "time", &rate), 0);
	assert_true(rate == 0.5);
	assert_int_equal(vhostmd_rate(a, b, METRIC_CONTEXT_VM, "large", &rate), 0);
	assert_true(rate == 0.5); /* to the last digit */
	rate = 77;
	assert_int_equal(vhostmd_rate(b, a, METRIC_CONTEXT_VM, "time", &rate),
		VHOSTMD_ERR_INVALID);
	assert_int_equal(vhostmd_rate(b, same, METRIC_CONTEXT_VM, "time", &rate),
		VHOSTMD_ERR_SAME_SAMPLE);
	assert_int_equal(vhostmd_rate(b, fell, METRIC_CONTEXT_VM, "time", &rate),
		VHOSTMD_ERR_RESET);
	assert_int_equal(vhostmd_rate(b, moved, METRIC_CONTEXT_VM, "time", &rate),
		VHOSTMD_ERR_MOVED);
	assert_int_equal(
		vhostmd_rate(a, b, METRIC_CONTEXT_VM, "text", &rate), VHOSTMD_ERR_TYPE);
	assert_int_equal(vhostmd_rate(a, b, METRIC_CONTEXT_VM, "none", &rate),
		VHOSTMD_ERR_NO_METRIC);
	assert_true(rate == 77);
	assert_int_equal(vhostmd_snapshot_session(a, &session), 0);
	assert_int_equal(session, 5);
	struct vhostmd_snapshot *const all[] = { a, b, same, fell, moved };

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		vhostmd_snapshot_free(all[i]);
	vhostmd_close(s);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_own_vm_is_found_among_others),
		T(another_vm_alone_is_not_this_one),
		T(a_disk_that_is_for_this_vm_alone_says_so),
		T(who_knows_his_uuid_may_say_so),
		T(values_are_read_as_hosts_write_them),
		T(numbers_fit_or_fail),
		T(documents_are_read_whatever_their_form),
		T(tags_that_come_again_mean_the_same),
		T(the_usual_form_is_read_as_any_other),
		T(texts_stay_where_they_are_however_many_there_are),
		T(what_is_no_document_is_an_error),
		T(what_is_missing_is_named),
		T(every_change_is_noticed),
		T(long_documents_are_compared_to_the_end),
		T(who_asks_often_goes_by_the_header),
		T(a_source_that_stands_still_is_called_stopped),
		T(a_disk_that_stays_busy_is_given_up),
		T(rates_are_of_valid_deltas_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A document that is read like the one before it, of which no more than values are taken: all
 * that is found is what is found without that.
 */
#include "test.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "document.h"
#include "util/cleanup.h"

#define OWN "6be3fdb8-bef5-6fec-b1b7-e61bbceab708"
#define OTHER "11111111-2222-3333-4444-555555555555"
#define HOST "context='host'"
#define VM(uuid) "context='vm' id='1' uuid='" uuid "' unit='s'"
#define METRIC(type, attributes, name, value)                                            \
	"  <metric type='" type "' " attributes ">\n    <name>" name "</name>\n"         \
	"    <value>" value "</value>\n  </metric>\n"
#define DOC(metrics) "<metrics>\n" metrics "</metrics>\n"

/* @like: NULL, or the document before. */
static struct document *read_text(
	const char *text, size_t len, bool is_own, const struct document *like)
{
	struct identity own = { .n = 1 };
	struct buf xml = BUF_INIT;
	struct document *d = NULL;

	assert_int_equal(uuid_parse(OWN, &own.uuids[0]), 0);
	buf_add(&xml, text, len);
	assert_int_equal(document_new(&xml, &own, is_own, like, &d), 0);
	return d;
}

static void assert_same_metric(
	const struct vhostmd_metric *a, const struct vhostmd_metric *b)
{
	assert_string_equal(a->name, b->name);
	assert_string_equal(a->unit, b->unit);
	assert_string_equal(a->text, b->text);
	assert_int_equal(a->type, b->type);
	assert_int_equal(a->context, b->context);
	assert_int_equal(a->is_bad, b->is_bad);
	if (!a->is_bad && a->type != M_STRING)
		assert_memory_equal(&a->value, &b->value, sizeof(a->value));
}

static void assert_same(const struct document *a, const struct document *b)
{
	assert_int_equal(a->is_malformed, b->is_malformed);
	assert_int_equal(a->is_anonymous, b->is_anonymous);
	assert_int_equal(a->n_good, b->n_good);
	assert_int_equal(a->n_bad, b->n_bad);
	assert_string_equal(a->id, b->id);
	assert_int_equal(!a->uuid, !b->uuid);
	if (a->uuid)
		assert_string_equal(a->uuid, b->uuid);
	assert_int_equal(a->xml.len, b->xml.len);
	assert_memory_equal(a->xml.data, b->xml.data, a->xml.len);
	for (size_t i = 0; i < a->n_good + a->n_bad; i++) {
		const struct vhostmd_metric *m = &a->metrics[i];
		const struct vhostmd_metric *found =
			document_find(a, (metric_context)m->context, m->name);

		assert_same_metric(m, &b->metrics[i]);
		assert_same_metric(
			found, document_find(b, (metric_context)m->context, m->name));
	}
}

/* Return: whether nothing but values was read of @now; a third one like it is read, too. */
static bool read_like(
	const char *before, bool before_is_own, const char *now, bool is_own)
{
	_cleanup_document_ struct document *a =
		read_text(before, strlen(before), before_is_own, NULL);
	_cleanup_document_ struct document *b = read_text(now, strlen(now), is_own, a);
	_cleanup_document_ struct document *c = read_text(now, strlen(now), is_own, NULL);
	bool is_like = b->form == a->form;

	document_unref(TAKE_PTR(a)); /* what both have is still there */
	assert_same(b, c);
	a = read_text(before, strlen(before), before_is_own, b);
	document_unref(TAKE_PTR(b));
	b = read_text(before, strlen(before), before_is_own, NULL);
	assert_same(a, b);
	return is_like;
}

static void check(const char *before, const char *now, bool expected)
{
	if (read_like(before, false, now, false) != expected)
		fail_msg("%s: %s", now,
			expected ? "read as a whole" : "taken for the like");
}

static void of_a_document_like_the_last_values_are_read(void **state)
{
	(void)state;
#define TWO(host, vm)                                                                    \
	DOC(METRIC("uint32", HOST, "n", host) METRIC("string", VM(OWN), "s", vm))
	check(TWO("1", "a"), TWO("1", "a"), true);
	check(TWO("1", "a"), TWO("4294967295", ""), true);
	check(TWO("1", "a"), TWO(" 7.000000\n", " more\ttext [of]] it \n"), true);
	check(TWO("1", "a"), TWO("2", "\x7f"), true);
	check(TWO("1", "a"), TWO("1", "a") " \t\r\n ", false); /* the mark of one VM */
	check(TWO("1", "a") "\r", TWO("1", "b") "  \r\n\t", true);
	check(TWO("1", "a") "  ", TWO("1", "b") "\n\n\t", true);
	check("<?xml version='1.0'?><!-- x -->" TWO("1", "a"),
		"<?xml version='1.0'?><!-- x -->" TWO("2", "b"), true);
	check("<metrics/>", "<metrics/> ", true);
}

static void what_is_more_than_a_value_is_read_as_a_whole(void **state)
{
	(void)state;
	static const char before[] = TWO("1", "a");
	static const char *const others[] = {
		/* values that do not mean what they say, or mean nothing */
		TWO("1", "a&amp;b"),
		TWO("1", "a&b"),
		TWO("1", "<![CDATA[a]]>"),
		TWO("1", "]]>"),
		TWO("1", "a>b"),
		TWO("1", "a\r\nb"),
		TWO("1", "\xc3\xa9"),
		TWO("1", "\xff"),
		TWO("1", "\x01"),
		TWO("1", "<a/>b"),
		TWO("1", "a<!-- -->"),
		TWO("", "a"),
		TWO("x", "a"),
		TWO("4294967296", "a"),
		TWO("-1", "a"),
		TWO("1\x0b", "a"),
		/* another name, type, context, uuid, id, unit, order, number */
		DOC(METRIC("uint32", HOST, "m", "1") METRIC("string", VM(OWN), "s", "a")),
		DOC(METRIC("int32", HOST, "n", "1") METRIC("string", VM(OWN), "s", "a")),
		DOC(METRIC("uint32", VM(OWN), "n", "1")
				METRIC("string", VM(OWN), "s", "a")),
		DOC(METRIC("uint32", HOST, "n", "1")
				METRIC("string", VM(OTHER), "s", "a")),
		DOC(METRIC("string", VM(OWN), "s", "a") METRIC("uint32", HOST, "n", "1")),
		DOC(METRIC("uint32", HOST, "n", "1")),
		DOC(METRIC("uint32", HOST, "n", "1") METRIC("string", VM(OWN), "s", "a")
				METRIC("uint32", HOST, "x", "1")),
		TWO("1</value><value>2", "a"),
		TWO("1", "a") "x",
		TWO("1", "a") "<!-- -->",
		"x" TWO("1", "a"),
		"",
		"<metrics/>",
		"<metrics>",
	};

	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		check(before, others[i], false);
	/* the end is missing */
	for (size_t n = 0; n + 1 < strlen(before); n++) {
		_cleanup_document_ struct document *a =
			read_text(before, strlen(before), false, NULL);
		_cleanup_document_ struct document *b = read_text(before, n, false, a);

		assert_int_equal(b->is_malformed, n < strlen(before) - 1);
	}
}

static void what_is_in_no_usual_form_stays_as_it_is(void **state)
{
	(void)state;
#define ODD(value, odd) DOC(METRIC("uint32", HOST, "n", value) odd)
#define BAD(value) METRIC("uint32", HOST, "bad", value)
	check(ODD("1", METRIC("string", VM(OWN), "s", "&lt;<!-- -->")),
		ODD("12", METRIC("string", VM(OWN), "s", "&lt;<!-- -->")), true);
	check(ODD("1", METRIC("string", VM(OWN), "s", "&lt;")),
		ODD("1", METRIC("string", VM(OWN), "s", "&gt;")), false);
	check(ODD("1", METRIC("string", VM(OWN), "s", "&lt;")),
		ODD("1", METRIC("string", VM(OWN), "s", "plain")), false);
	check(ODD("1", BAD("x")), ODD("12", BAD("x")), true);
	check(ODD("1", BAD("x")), ODD("1", BAD("y")), false);
	check(ODD("1", BAD("x")), ODD("1", BAD("7")), false);
	check(ODD("1", BAD("7")), ODD("1", BAD("x")), false);
	check(ODD("1", METRIC("float", HOST, "n", "1")),
		ODD("2", METRIC("float", HOST, "n", "1")), true);
	check(ODD("1",
		      "<metric type='uint32' context='host'><name>x</name><value>2</value>"
		      "</metric>"),
		ODD("2",
			"<metric type='uint32' context='host'><name>x</name><value>2</value>"
			"</metric>"),
		true);
	check("<metrics><other/></metrics>", "<metrics><other/></metrics>", true);
}

static void not_every_document_is_one_to_read_others_like(void **state)
{
	(void)state;
	static const char *const befores[] = { "", "x", "<metrics>",
		/* out of order, since the host's come first */
		DOC(METRIC("uint32", VM(OWN), "n", "1")
				METRIC("uint32", HOST, "n", "2")) };

	for (size_t i = 0; i < ARRAY_LEN(befores); i++)
		check(befores[i], befores[i], false);
	/* another's metrics are not this one's because the last was for this VM alone */
	static const char text[] = DOC(METRIC("uint32", VM(OTHER), "n", "1"));

	assert_true(read_like(text, true, text, true));
	assert_false(read_like(text, true, text, false));
	assert_false(read_like(text, false, text, true));
	assert_true(read_like(text, false, text, false));
	/* what another VM has is no value of this one's */
	check(DOC(METRIC("uint32", HOST, "n", "1") METRIC("uint32", VM(OTHER), "n", "1")),
		DOC(METRIC("uint32", HOST, "n", "2")
				METRIC("uint32", VM(OTHER), "n", "1")),
		true);
	check(DOC(METRIC("uint32", HOST, "n", "1") METRIC("uint32", VM(OTHER), "n", "1")),
		DOC(METRIC("uint32", HOST, "n", "1")
				METRIC("uint32", VM(OTHER), "n", "2")),
		false);
}

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

/* Exchanges, puts in or leaves out a byte, of a value or of anything.  Return: the new length. */
static size_t change(char *text, size_t len, uint32_t *seed)
{
	static const char bytes[] = "<>&/'\"]! \n\r\t0.-x\xc3\xa9\x01";
	const char *value = next_random(seed) % 2 ? strstr(text, "<value>") : NULL;
	size_t at = value ? (size_t)(value - text) + 7 + next_random(seed) % 4
			  : next_random(seed) % len;
	char c = bytes[next_random(seed) % (sizeof(bytes) - 1)];

	switch (next_random(seed) % 3) {
	case 0:
		memmove(text + at + 1, text + at, len + 1 - at);
		text[at] = c;
		return len + 1;
	case 1:
		memmove(text + at, text + at + 1, len - at);
		return len - 1;
	default:
		text[at] = c;
		return len;
	}
}

static void whatever_changes_all_is_found(void **state)
{
	(void)state;
	static const char before[] = DOC(
		METRIC("string", HOST, "a", "one") METRIC("uint64", HOST, "b", "23")
			METRIC("uint32", HOST, "bad", "x") METRIC("string", HOST, "odd",
				"&lt;") METRIC("real64", VM(OWN), "c", "4.5")) "\r  \t\n";
	unsigned n_like = 0, n_other = 0;
	uint32_t seed = 1;

	for (int i = 0; i < ROUNDS(100000); i++) {
		char text[2 * sizeof(before)];
		size_t len = strlen(before);

		memcpy(text, before, sizeof(before));
		for (uint32_t n = 1 + next_random(&seed) % 3; n; n--)
			len = change(text, len, &seed);
		_cleanup_document_ struct document *a =
			read_text(before, strlen(before), false, NULL);
		_cleanup_document_ struct document *b = read_text(text, len, false, a);
		_cleanup_document_ struct document *c = read_text(text, len, false, NULL);

		assert_same(b, c);
		if (b->form == a->form)
			n_like++;
		else
			n_other++;
	}
	assert_true(n_like > ROUNDS(5000) && n_other > ROUNDS(5000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(of_a_document_like_the_last_values_are_read),
		cmocka_unit_test(what_is_more_than_a_value_is_read_as_a_whole),
		cmocka_unit_test(what_is_in_no_usual_form_stays_as_it_is),
		cmocka_unit_test(not_every_document_is_one_to_read_others_like),
		cmocka_unit_test(whatever_changes_all_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

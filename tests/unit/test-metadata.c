/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is kept of a domain's <metadata>. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "collect/libvirt/domain_xml.h"
#include "model/description.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/strbuf.h"

#define NOVA "{http://openstack.org/xmlns/libvirt/nova/1.1}"

static struct description *describe(const char *metadata)
{
	_cleanup_free_ char *xml =
		xasprintf("<domain><metadata>%s</metadata></domain>", metadata);
	struct description *d = description_new();

	assert_int_equal(domain_xml_parse(xml, "x", d), 0);
	return d;
}

static void elements_and_attributes_are_found(void **state)
{
	(void)state;
	_cleanup_description_ struct description *d = describe(
		"<nova:instance xmlns:nova='http://openstack.org/xmlns/libvirt/nova/1.1'>"
		"<nova:package version='26.1'/>\n"
		"<nova:name>web &amp; more</nova:name>"
		"<nova:flavor name='m1.small'><nova:memory>2048</nova:memory></nova:flavor>"
		"<nova:owner><nova:project uuid='4f'>\n  two\n  lines </nova:project></nova:owner>"
		"<nova:port uuid='first'/><nova:port uuid='second'/>"
		"</nova:instance>"
		"<a xmlns='urn:a'><b xmlns='urn:other'>not of it</b></a><none>x</none>");

	assert_string_equal(description_metadata(d, NOVA "instance/name"), "web & more");
	assert_string_equal(
		description_metadata(d, NOVA "instance/flavor/@name"), "m1.small");
	assert_string_equal(
		description_metadata(d, NOVA "instance/flavor/memory"), "2048");
	assert_string_equal(
		description_metadata(d, NOVA "instance/owner/project"), "two lines");
	assert_string_equal(
		description_metadata(d, NOVA "instance/owner/project/@uuid"), "4f");
	assert_string_equal(description_metadata(d, NOVA "instance/port/@uuid"), "first");
	assert_string_equal(description_metadata(d, NOVA "instance/package"), "");
	/* what holds elements has no text of its own */
	assert_null(description_metadata(d, NOVA "instance/flavor"));
	assert_null(description_metadata(d, "{urn:a}a"));
	assert_null(description_metadata(d, "{urn:a}a/b"));
	assert_null(description_metadata(d, "{urn:other}b"));
	assert_null(description_metadata(d, "none"));
}

static void there_need_not_be_any(void **state)
{
	(void)state;
	_cleanup_description_ struct description *empty = describe(""),
						 *none = description_new();

	assert_int_equal(empty->n_metadata, 0);
	assert_int_equal(domain_xml_parse("<domain/>", "x", none), 0);
	assert_null(description_metadata(none, "{urn:a}a"));
}

static size_t bytes_of(const struct description *d)
{
	size_t n = 0;

	for (size_t i = 0; i < d->n_metadata; i++)
		n += strlen(d->metadata[i].key) + strlen(d->metadata[i].value);
	return n;
}

/* Whoever manages VMs may write there what he likes. */
static void there_is_a_limit_to_it(void **state)
{
	(void)state;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	strbuf_adds(&text, "<a xmlns='u'>");
	for (unsigned i = 0; i < 2 * LIMIT_METADATA_ENTRIES; i++)
		strbuf_addf(&text, "<b%u>x</b%u>", i, i);
	strbuf_adds(&text, "</a>");
	_cleanup_description_ struct description *many = describe(strbuf_str(&text));

	assert_int_equal(many->n_metadata, LIMIT_METADATA_ENTRIES);
	assert_non_null(description_metadata(many, "{u}a/b0"));
	strbuf_clear(&text);
	for (unsigned i = 0; i < 2 * LIMIT_METADATA_DEPTH; i++)
		strbuf_adds(&text, "<a xmlns='u' b='c'>");
	for (unsigned i = 0; i < 2 * LIMIT_METADATA_DEPTH; i++)
		strbuf_adds(&text, "</a>");
	_cleanup_description_ struct description *deep = describe(strbuf_str(&text));

	assert_int_equal(deep->n_metadata, LIMIT_METADATA_DEPTH);
	assert_string_equal(description_metadata(deep, "{u}a/a/@b"), "c");
	strbuf_clear(&text);
	strbuf_adds(&text, "<a xmlns='u'><large>");
	for (unsigned i = 0; i < LIMIT_METADATA_BYTES; i++)
		strbuf_addc(&text, 'x');
	strbuf_adds(&text, "</large><small>y</small></a>");
	_cleanup_description_ struct description *large = describe(strbuf_str(&text));

	assert_null(description_metadata(large, "{u}a/large"));
	assert_string_equal(description_metadata(large, "{u}a/small"), "y");
	assert_true(bytes_of(large) <= LIMIT_METADATA_BYTES);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(elements_and_attributes_are_found),
		cmocka_unit_test(there_need_not_be_any),
		cmocka_unit_test(there_is_a_limit_to_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

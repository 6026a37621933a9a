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

#define MAX_KEYS 16
#define NOVA "{http://openstack.org/xmlns/libvirt/nova/1.1}"

/* @keys: separated by blanks. */
static struct description *describe(const char *metadata, const char *keys)
{
	_cleanup_free_ char *xml =
		xasprintf("<domain><metadata>%s</metadata></domain>", metadata);
	_cleanup_free_ char *rest = xstrdup(keys);
	struct spec_set *specs = spec_set_new(MAX_KEYS);
	struct description *d = description_new();
	char *save = NULL;
	size_t n = 0;

	for (char *key = strtok_r(rest, " ", &save); key;
		key = strtok_r(NULL, " ", &save))
		specs->specs[n++].element = xstrdup(key);
	assert_int_equal(domain_xml_parse(xml, "x", specs, d), 0);
	spec_set_unref(specs);
	return d;
}

/* NULL: it does not say. */
static const char *value_of(const struct description *d, const char *key)
{
	struct description_metadata *found = description_metadata(d, key);

	assert_non_null(found);
	return found->value;
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
		"<a xmlns='urn:a'><b xmlns='urn:other'>not of it</b></a><none>x</none>",
		NOVA "instance/name " NOVA "instance/flavor/@name " NOVA
		     "instance/flavor/memory " NOVA "instance/owner/project " NOVA
		     "instance/owner/project/@uuid " NOVA "instance/port/@uuid " NOVA
		     "instance/package " NOVA "instance/flavor "
		     "{urn:a}a {urn:a}a/b {urn:other}b none " NOVA "instance/name");

	assert_string_equal(value_of(d, NOVA "instance/name"), "web & more");
	assert_string_equal(value_of(d, NOVA "instance/flavor/@name"), "m1.small");
	assert_string_equal(value_of(d, NOVA "instance/flavor/memory"), "2048");
	assert_string_equal(value_of(d, NOVA "instance/owner/project"), "two lines");
	assert_string_equal(value_of(d, NOVA "instance/owner/project/@uuid"), "4f");
	assert_string_equal(value_of(d, NOVA "instance/port/@uuid"), "first");
	assert_string_equal(value_of(d, NOVA "instance/package"), "");
	/* what holds elements has no text of its own */
	assert_null(value_of(d, NOVA "instance/flavor"));
	assert_null(value_of(d, "{urn:a}a"));
	assert_null(value_of(d, "{urn:a}a/b"));
	assert_null(value_of(d, "{urn:other}b"));
	assert_null(value_of(d, "none"));
	/* asked for twice, kept once */
	assert_int_equal(d->n_metadata, 12);
}

/* Nor is anything kept for which nobody asks. */
static void there_need_not_be_any(void **state)
{
	(void)state;
	_cleanup_description_ struct description *empty = describe("", "{u}a"),
						 *none = description_new(),
						 *unasked = describe(
							 "<a xmlns='u'><b>x</b></a>", "");

	assert_null(value_of(empty, "{u}a"));
	assert_int_equal(domain_xml_parse("<domain/>", "x", NULL, none), 0);
	assert_null(description_metadata(none, "{u}a"));
	assert_int_equal(unasked->n_metadata, 0);
}

/* Whoever manages VMs may write there what he likes. */
static void there_is_a_limit_to_it(void **state)
{
	(void)state;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT, key = STRBUF_INIT;

	strbuf_adds(&key, "{u}a/@b {u}a");
	for (unsigned i = 1; i < LIMIT_METADATA_DEPTH; i++)
		strbuf_adds(&key, "/a");
	strbuf_adds(&key, "/@b ");
	size_t deepest = key.len;

	strbuf_adds(&key, "{u}a");
	for (unsigned i = 0; i < LIMIT_METADATA_DEPTH; i++)
		strbuf_adds(&key, "/a");
	strbuf_adds(&key, "/@b");
	for (unsigned i = 0; i < 2 * LIMIT_METADATA_DEPTH; i++)
		strbuf_adds(&text, "<a xmlns='u' b='c'>");
	for (unsigned i = 0; i < 2 * LIMIT_METADATA_DEPTH; i++)
		strbuf_adds(&text, "</a>");
	_cleanup_description_ struct description *deep =
		describe(strbuf_str(&text), strbuf_str(&key));

	assert_int_equal(deep->n_metadata, 3);
	assert_string_equal(deep->metadata[0].value, "c");
	assert_string_equal(deep->metadata[1].value, "c");
	assert_null(value_of(deep, strbuf_str(&key) + deepest));
	strbuf_clear(&text);
	strbuf_adds(&text, "<a xmlns='u'><large>");
	for (unsigned i = 0; i <= LIMIT_METADATA_BYTES; i++)
		strbuf_addc(&text, 'x');
	strbuf_adds(&text, "</large><small>y</small></a>");
	_cleanup_description_ struct description *large =
		describe(strbuf_str(&text), "{u}a/large {u}a/small");

	assert_null(value_of(large, "{u}a/large"));
	assert_string_equal(value_of(large, "{u}a/small"), "y");
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

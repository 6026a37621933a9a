/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which of the host's metrics a VM sees: from the configuration to its disk. */
#include "test.h"
#include "tmp.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "conf/conf.h"
#include "conf/host_key.h"
#include "core/blob.h"
#include "core/grants.h"
#include "core/metric_list.h"
#include "core/render_xml.h"
#include "core/snapshot.h"
#include "mdisk/disks.h"
#include "mdisk/image.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/strbuf.h"

/* Each rendering is put into a cache, and nothing else is. */
static unsigned n_renderings;

struct blob *__real_blob_cache_set(struct blob *_Atomic *cache, struct blob *made);
struct blob *__wrap_blob_cache_set(struct blob *_Atomic *cache, struct blob *made);

struct blob *__wrap_blob_cache_set(struct blob *_Atomic *cache, struct blob *made)
{
	n_renderings++;
	return __real_blob_cache_set(cache, made);
}

/* ---- a host with VMs a, b and so on ---- */

enum { HOST_NAME_SLOT, CPUS_SLOT, UNAME_SLOT, OWN_SLOT };

static const char metrics[] =
	"<metrics>\n"
	"<metric context='host'><name>HostName</name><source>host.name</source></metric>"
	"<metric context='host'><name>NumCPUs</name><source>host.cpu.count</source></metric>"
	"<metric type='string' context='host'><name>Uname</name><action>uname -a</action></metric>"
	"<metric type='uint32' context='vm'><name>Own</name><action>echo 1</action></metric>"
	"</metrics></vhostmd>";

static const uint8_t key[GRANTS_KEY_BYTES] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
	13, 14, 15 };

/* With the <grants>, or whatever stands in their place.  Return: how many mistakes. */
static unsigned read_conf(const char *grants, struct strbuf *text, struct conf **ret)
{
	_cleanup_free_ char *xml =
		xasprintf("<vhostmd><globals/>\n%s%s", grants, metrics);
	struct conf_report report = { .text = text, .tolerant = true };

	if (conf_parse(xml, strlen(xml), "t.conf", &report, ret) < 0)
		fail_msg("refused: %s\n%s", xml, strbuf_str(text));
	return report.errors;
}

static struct conf *conf_of(const char *grants)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct conf *conf = NULL;

	if (read_conf(grants, &text, &conf))
		fail_msg("%s", strbuf_str(&text));
	if (conf->grants) {
		conf->grants->has_key = true;
		memcpy(conf->grants->key, key, sizeof(key));
	}
	return conf;
}

static struct vm_ident vm_of(unsigned n)
{
	static char names[26][2];

	names[n][0] = (char)('a' + n);
	return (struct vm_ident){
		.uuid = { { (uint8_t)n } }, .id = (int)n + 1, .name = names[n]
	};
}

static struct metric_list *host_list(struct spec_set *specs)
{
	struct metric_list_builder *b = metric_list_builder_new(specs, 1);
	struct utsname uts;

	assert_int_equal(uname(&uts), 0);
	_cleanup_free_ char *text = xasprintf("Linux %s 6.1", uts.nodename);
	struct value name = value_string("node7.example.com"), cpus = value_u64(42),
		     uname_a = value_string(text);

	metric_list_builder_add_source(b, HOST_NAME_SLOT, NULL, &name);
	metric_list_builder_add_source(b, CPUS_SLOT, NULL, &cpus);
	metric_list_builder_add(b, UNAME_SLOT, NULL, &uname_a);
	return metric_list_builder_finish(b);
}

static struct snapshot *vm_snapshot(struct spec_set *specs, unsigned n)
{
	struct metric_list_builder *b = metric_list_builder_new(specs, 1);
	struct value v = value_u64(1000 + n);
	struct vm_ident vm = vm_of(n);

	v.type = METRIC_UINT32;
	metric_list_builder_add(b, OWN_SLOT, NULL, &v);
	struct metric_list *list = metric_list_builder_finish(b);
	struct snapshot *s = snapshot_new(&vm, 1, &list, 1, 1);

	metric_list_unref(list);
	return s;
}

/* Publishes, as the board does. */
static void publish(
	struct tree *tree, const struct conf *conf, uint64_t generation, unsigned n_vms)
{
	struct metric_list *list = host_list(conf->specs);
	struct snapshot *host = snapshot_new(NULL, generation, &list, 1, 1), *vms[26];

	for (unsigned i = 0; i < n_vms; i++)
		vms[i] = vm_snapshot(conf->specs, i);
	snapshot_grant(host, conf->grants);
	tree_publish(tree, generation, host, vms, n_vms);
	metric_list_unref(list);
}

/* What the n-th VM is shown; the caller's to free. */
static char *document(struct tree *tree, unsigned n)
{
	_cleanup_view_ struct view *view = tree_view(tree);
	struct vm_ident vm = vm_of(n);
	struct strbuf out = STRBUF_INIT;

	render_xml_private(view->host, view_find_uuid(view, &vm.uuid), false, &out);
	return strbuf_steal(&out);
}

static bool shows(struct tree *tree, unsigned n, const char *text)
{
	_cleanup_free_ char *document_n = document(tree, n);

	return strstr(document_n, text);
}

static bool conf_shows(const struct conf *conf, unsigned n, const char *text)
{
	struct tree *tree = tree_new();

	publish(tree, conf, 1, 26);
	bool is = shows(tree, n, text);

	tree_free(tree);
	return is;
}

/* ---- who has what ---- */

static const char *set_of(const struct conf *conf, unsigned n)
{
	struct vm_ident vm = vm_of(n);

	return conf->grants->sets[grants_set_of(conf->grants, &vm)].name;
}

static void the_first_rule_that_fits_counts(void **state)
{
	(void)state;
	struct conf *conf = conf_of(
		"<grants><vm uuid='02000000-0000-0000-0000-000000000000' set='s'/>"
		"<vm name='b' set='all'/><vm name='?' set='none'/>"
		"<vm name='a' set='all'/><default set='all'/>"
		"<set name='s'><metric>NumCPUs</metric></set></grants>");
	struct vm_ident other = { .name = "other" };

	assert_string_equal(set_of(conf, 0), "none");
	assert_string_equal(set_of(conf, 1), "all");
	assert_string_equal(set_of(conf, 2), "s");
	assert_int_equal(grants_set_of(conf->grants, &other), GRANTS_ALL);
	/* a VM that is not known may be any of them */
	assert_int_equal(grants_set_of(conf->grants, NULL), GRANTS_NONE);
	conf_unref(conf);

	conf = conf_of("<grants><default set='s'/><set name='s'/></grants>");
	assert_int_equal(grants_set_of(conf->grants, NULL), GRANTS_NONE + 1);
	conf_unref(conf);
	conf = conf_of("<grants/>");
	assert_string_equal(set_of(conf, 0), "all");
	conf_unref(conf);
}

static void without_grants_every_vm_sees_all(void **state)
{
	(void)state;
	struct conf *conf = conf_of("");
	struct conf *empty = conf_of("<grants/>");
	struct tree *tree = tree_new(), *same = tree_new();

	assert_null(conf->grants);
	publish(tree, conf, 1, 1);
	publish(same, empty, 1, 1);
	_cleanup_view_ struct view *view = tree_view(tree);
	_cleanup_free_ char *seen = document(tree, 0), *seen_too = document(same, 0);

	assert_string_equal(seen, render_xml_view(view)->data);
	assert_string_equal(seen, seen_too);
	assert_non_null(strstr(seen, "node7.example.com"));
	assert_ptr_equal(render_xml_view(view), render_xml_shared(view));
	assert_null(view->host->audiences);
	tree_free(tree);
	tree_free(same);
	conf_unref(conf);
	conf_unref(empty);
}

static void a_vm_sees_its_set_and_itself(void **state)
{
	(void)state;
	struct conf *conf =
		conf_of("<grants><set name='cpus'><metric>Num*</metric></set>"
			"<vm name='a' set='none'/><vm name='b' set='cpus'/></grants>");
	struct tree *tree = tree_new();

	publish(tree, conf, 1, 3);
	assert_false(shows(tree, 0, "context='host'"));
	assert_true(shows(tree, 0, "<value>1000</value>"));
	assert_true(shows(tree, 1, "NumCPUs"));
	assert_true(shows(tree, 1, "<value>42</value>"));
	assert_false(shows(tree, 1, "HostName"));
	assert_true(shows(tree, 1, "<value>1001</value>"));
	assert_true(shows(tree, 2, "node7.example.com"));
	/* who does not run here may be a */
	assert_false(shows(tree, 25, "context='host'"));
	/* the host's own files have all */
	_cleanup_view_ struct view *view = tree_view(tree);

	assert_non_null(strstr(render_xml_view(view)->data, "node7.example.com"));
	tree_free(tree);
	conf_unref(conf);
}

static void what_vms_of_a_set_see_is_rendered_once(void **state)
{
	(void)state;
	struct conf *conf = conf_of(
		"<grants><set name='few'><metric>NumCPUs</metric></set>"
		"<set name='own' host_name='per-vm'><metric>*</metric></set>"
		"<vm name='a' set='none'/><vm name='b' set='few'/><vm name='c' set='own'/>"
		"<vm name='d' set='own'/><default set='few'/></grants>");
	struct tree *tree = tree_new();

	publish(tree, conf, 1, 26);
	n_renderings = 0;
	for (int round = 0; round < 3; round++)
		for (unsigned n = 0; n < 26; n++)
			free(document(tree, n));
	/* none, few, own, and each VM's own part */
	assert_int_equal(n_renderings, 3 + 26);
	publish(tree, conf, 2, 26);
	free(document(tree, 4));
	free(document(tree, 5));
	assert_int_equal(n_renderings, 3 + 26 + 1 + 2);
	tree_free(tree);
	conf_unref(conf);
}

/* ---- the host's name ---- */

/* The value of a metric that the n-th VM sees; the caller's to free. */
static char *value_of(struct tree *tree, unsigned n, const char *metric)
{
	_cleanup_free_ char *text = document(tree, n);
	_cleanup_free_ char *start = xasprintf("<name>%s</name>\n    <value>", metric);
	const char *at = strstr(text, start);

	if (!at)
		fail_msg("VM %u sees no %s: %s", n, metric, text);
	at += strlen(start);
	return xstrndup(at, strcspn(at, "<"));
}

static void the_hosts_name_becomes_a_hash(void **state)
{
	(void)state;
	struct conf *conf = conf_of(
		"<grants><set name='host' host_name='per-host'><metric>*</metric></set>"
		"<set name='vm' host_name='per-vm'><metric>*</metric></set>"
		"<vm name='a' set='host'/><vm name='b' set='host'/>"
		"<vm name='c' set='vm'/><vm name='d' set='vm'/></grants>");
	struct tree *tree = tree_new();

	publish(tree, conf, 1, 5);
	_cleanup_free_ char *a = value_of(tree, 0, "HostName"),
			    *b = value_of(tree, 1, "HostName"),
			    *c = value_of(tree, 2, "HostName"),
			    *d = value_of(tree, 3, "HostName"),
			    *e = value_of(tree, 4, "HostName");

	/* never to change: guests compare what they have seen */
	assert_string_equal(a, "cb2495ecd519f6d4");
	assert_string_equal(b, a);
	assert_string_equal(c, "00ea5284c96abe42");
	assert_string_not_equal(d, c);
	assert_string_equal(e, "node7.example.com");
	/* what a command says is looked at */
	_cleanup_free_ char *uname_a = value_of(tree, 0, "Uname"),
			    *uname_c = value_of(tree, 2, "Uname"),
			    *uname_e = value_of(tree, 4, "Uname");

	assert_int_equal(strlen(uname_a), GRANTS_HASH_LEN);
	assert_int_equal(strlen(uname_c), GRANTS_HASH_LEN);
	assert_string_not_equal(uname_a, uname_c);
	assert_int_equal(strncmp(uname_e, "Linux ", 6), 0);
	/* another key, another hash */
	conf->grants->key[15]++;
	publish(tree, conf, 2, 1);
	_cleanup_free_ char *other = value_of(tree, 0, "HostName");

	assert_string_not_equal(other, a);
	tree_free(tree);
	conf_unref(conf);
}

/* Where nobody knows whose eyes it is for, a name for one VM's alone is not there. */
static void an_own_hash_is_for_a_vm_that_is_known(void **state)
{
	(void)state;
	struct conf *conf = conf_of(
		"<grants><set name='vm' host_name='per-vm'><metric>*</metric></set>"
		"<default set='vm'/></grants>");
	struct tree *tree = tree_new();

	publish(tree, conf, 1, 2);
	_cleanup_view_ struct view *view = tree_view(tree);
	const char *shared = render_xml_shared(view)->data;

	assert_true(shows(tree, 0, "HostName"));
	assert_false(shows(tree, 25, "HostName"));
	assert_true(shows(tree, 25, "NumCPUs"));
	assert_null(strstr(shared, "HostName"));
	assert_null(strchr(shared, '\x01'));
	assert_non_null(strstr(shared, "NumCPUs"));
	assert_non_null(strstr(shared, "<value>1001</value>"));
	assert_ptr_equal(shared, render_xml_shared(view)->data);
	tree_free(tree);
	conf_unref(conf);
}

/* ---- mistakes ---- */

#define SET "<set name='s'><metric>NumCPUs</metric></set>"

static void a_mistake_grants_nothing(void **state)
{
	(void)state;
	/* VM a is to see nothing, whatever else it is; the line of the mistake is 3 */
	static const char *const cases[] = {
		"<grants>\n<vm name='a' set='sx'/></grants>",
		"<grants>\n<vm name='a'/></grants>",
		"<grants>\n<vm name='[a]' set='none'/></grants>",
		"<grants>\n<vm name='' set='none'/></grants>",
		"<grants>\n<vm name=' a' set='none'/></grants>",
		"<grants>\n<vm set='none'/></grants>",
		"<grants>\n<vm nmae='a' set='none'/></grants>",
		"<grants>\n<vm name='a' uuid='00000000-0000-0000-0000-000000000000' set='none'/></grants>",
		"<grants>\n<vm uuid='0' set='all'/></grants>",
		"<grants>\n<vm name='a' set='all'><name>b</name></vm></grants>",
		"<grants>\n<Vm name='a' set='none'/></grants>",
		"<grants>\n<default set='sx'/></grants>",
		"<grants>\n<default/></grants>",
		"<grants><default set='none'/>\n<default set='all'/></grants>",
		"<grants>\n<default set='all' but='a'/></grants>",
		"<grants>\nnobody<default set='all'/></grants>",
		"<grants>\n<set name='s'><metric>[N]*</metric></set><default set='s'/></grants>",
		"<grants>\n<set name='s'><metrics>*</metrics></set><default set='s'/></grants>",
		"<grants>\n<set name='s'><metric>*</metric><metric/></set><default set='s'/></grants>",
		"<grants>\n<set name='s' host_name='hidden'><metric>*</metric></set><default set='s'/></grants>",
		"<grants>\n<set name='s' hostname='per-vm'><metric>*</metric></set><default set='s'/></grants>",
		"<grants>\n<set name='all'><metric>NumCPUs</metric></set><default set='all'/></grants>",
		"<grants>" SET "\n" SET "<default set='s'/></grants>",
		"<grants><host_key>/nowhere/x</host_key>\n<host_key>/nowhere/y</host_key>"
		"<set name='s' host_name='per-vm'><metric>*</metric></set><default set='s'/></grants>",
		"<grants><set name='s' host_name='per-vm'><metric>*</metric></set><default set='s'/>"
		"\n<host_key>key</host_key></grants>",
		"\n<grant><default set='none'/></grant>",
		"\n<Grants><default set='none'/></Grants>",
		"\n<grants><default set='all'/></grants><grants><default set='none'/></grants>",
		"\n<grants><grants><default set='none'/></grants></grants>",
		"<globals>\n<grants><default set='none'/></grants></globals>",
		"<grants who='a'>\n</grants>",
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
		struct conf *conf = NULL;
		unsigned n = read_conf(cases[i], &text, &conf);

		if (!n || !strstr(strbuf_str(&text), "nothing") ||
			conf_shows(conf, 0, "context='host'"))
			fail_msg("%s: %u mistakes: %s", cases[i], n, strbuf_str(&text));
		if (!strstr(strbuf_str(&text), "t.conf:3: ") && i + 1 < ARRAY_LEN(cases))
			fail_msg("%s: no line: %s", cases[i], strbuf_str(&text));
		assert_true(conf_shows(conf, 0, "<name>Own</name>"));
		conf_unref(conf);
	}
}

/* A mistake costs whom it may concern, and nobody else. */
static void others_see_what_they_saw(void **state)
{
	(void)state;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct conf *conf = NULL;

	assert_int_equal(
		read_conf("<grants><vm name='a' set='all'/><vm name='b' set='sx'/>"
			  "<default set='all'/></grants>",
			&text, &conf),
		1);
	assert_true(conf_shows(conf, 0, "NumCPUs"));
	assert_false(conf_shows(conf, 1, "NumCPUs"));
	assert_true(conf_shows(conf, 2, "NumCPUs"));
	conf_unref(conf);
	strbuf_clear(&text);
	assert_int_equal(
		read_conf("<grants><vm name='a' set='all'/><vm name='b[' set='none'/>"
			  "<default set='all'/></grants>",
			&text, &conf),
		1);
	assert_true(conf_shows(conf, 0, "NumCPUs"));
	assert_false(conf_shows(conf, 2, "NumCPUs"));
	conf_unref(conf);
}

/* Where a DTD might declare it, an entity is none of the parser's mistakes. */
static void an_entity_grants_nothing(void **state)
{
	(void)state;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct conf_report report = { .text = &text, .tolerant = true };
	struct conf *conf = NULL;
	_cleanup_free_ char *xml =
		xasprintf("<!DOCTYPE vhostmd SYSTEM 'x.dtd'><vhostmd><globals/><grants>"
			  "<vm name='a&x;' set='none'/></grants>%s",
			metrics);

	assert_int_equal(conf_parse(xml, strlen(xml), "t.conf", &report, &conf), 0);
	assert_int_equal(report.errors, 1);
	assert_false(conf_shows(conf, 0, "context='host'"));
	conf_unref(conf);
}

static void more_than_enough_grants_nothing(void **state)
{
	(void)state;
	_cleanup_strbuf_ struct strbuf grants = STRBUF_INIT, text = STRBUF_INIT;
	struct conf *conf = NULL;

	strbuf_adds(&grants, "<grants><vm name='b' set='all'/>");
	for (unsigned i = 0; i < LIMIT_GRANT_RULES; i++)
		strbuf_adds(&grants, "<vm name='x' set='all'/>");
	strbuf_adds(&grants, "<vm name='a' set='none'/></grants>");
	assert_int_equal(read_conf(strbuf_str(&grants), &text, &conf), 1);
	assert_false(conf_shows(conf, 0, "NumCPUs"));
	assert_true(conf_shows(conf, 1, "NumCPUs"));
	conf_unref(conf);
	strbuf_clear(&grants);
	strbuf_clear(&text);
	strbuf_adds(&grants, "<grants>");
	for (unsigned i = 0; i <= LIMIT_GRANT_SETS; i++)
		strbuf_addf(&grants, "<set name='%u'><metric>*</metric></set>", i);
	strbuf_addf(&grants, "<default set='%u'/></grants>", LIMIT_GRANT_SETS);
	assert_true(read_conf(strbuf_str(&grants), &text, &conf) > 0);
	assert_int_equal(conf->grants->n_sets, LIMIT_GRANT_SETS);
	assert_false(conf_shows(conf, 0, "NumCPUs"));
	conf_unref(conf);
}

static void what_is_odd_is_said(void **state)
{
	(void)state;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT, out = STRBUF_INIT;
	struct conf *conf = NULL;

	assert_int_equal(
		read_conf(
			"<grants><set name='s' host_name='per-host'><metric>Host*</metric>"
			"<metric>Nun</metric></set><set name='t'/><default set='s'/>"
			"<vm name='x*' set='all'/>\n"
			"<vm uuid='6be3fdb8-bef5-6fec-b1b7-e61bbceab708' set='none'/></grants>",
			&text, &conf),
		0);
	assert_non_null(strstr(strbuf_str(&text),
		"t.conf:2: warning: no metric of the host is called 'Nun'"));
	assert_null(strstr(strbuf_str(&text), "shared disk"));
	conf_describe(conf, &out);
	host_key_describe(conf, &out);
	static const char *const lines[] = {
		"  set s, the host's name hashed per-host: HostName\n",
		"  set t: nothing\n",
		"  VMs of name x*: set all\n",
		"  the VM of uuid 6be3fdb8-bef5-6fec-b1b7-e61bbceab708: set none\n",
		"  other VMs: set s\n",
		"host key: /var/lib/vhostmd/host-key",
	};

	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		if (!strstr(strbuf_str(&out), lines[i]))
			fail_msg("no '%s' in %s", lines[i], strbuf_str(&out));
	conf_unref(conf);
}

static void a_shared_disk_is_warned_of(void **state)
{
	(void)state;
	static const struct {
		const char *grants;
		bool warns;
	} cases[] = { { "", false }, { "<grants/>", false },
		{ "<grants><default set='none'/></grants>", true },
		{ "<grants><vm name='a' set='none'/></grants>", true } };

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
		struct conf_report report = { .text = &text };
		struct conf *conf = NULL;
		_cleanup_free_ char *xml =
			xasprintf("<vhostmd><globals><disk><path>/dev/shm/x</path></disk>"
				  "</globals>\n%s%s",
				cases[i].grants, metrics);

		assert_int_equal(
			conf_parse(xml, strlen(xml), "t.conf", &report, &conf), 0);
		assert_int_equal(report.warnings, cases[i].warns);
		assert_int_equal(!!strstr(strbuf_str(&text), "t.conf:2: warning: every"),
			cases[i].warns);
		conf_unref(conf);
	}
}

/* ---- the key ---- */

static struct conf *conf_with_key(const char *path)
{
	_cleanup_free_ char *grants = xasprintf(
		"<grants>\n<host_key>%s</host_key><set name='s' host_name='per-host'>"
		"<metric>*</metric></set><default set='s'/></grants>",
		path);
	struct conf *conf = conf_of(grants);

	conf->grants->has_key = false;
	return conf;
}

static int take(struct conf *conf, const struct conf *before, const char *expected)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct conf_report report = { .text = &text };
	int r = host_key_take(conf, before, "t.conf", &report);

	assert_int_equal(report.errors, r < 0);
	if (!strstr(strbuf_str(&text), expected) || !*expected != !text.len)
		fail_msg("%s", strbuf_str(&text));
	return r;
}

static void a_key_is_made_once(void **state)
{
	(void)state;
	char dir[TMP_PATH_SIZE];
	struct stat st;

	assert_non_null(mkdtemp(tmp_path(dir, "vhostmd-key.XXXXXX")));
	_cleanup_free_ char *sub = xasprintf("%s/lib", dir);
	_cleanup_free_ char *path = xasprintf("%s/host-key", sub);
	struct conf *first = conf_with_key(path), *second = conf_with_key(path);
	static const uint8_t zeros[GRANTS_KEY_BYTES] = { 0 };

	assert_false(conf_shows(first, 0, "context='host'"));
	assert_int_equal(take(first, NULL, ""), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	assert_int_equal(st.st_size, GRANTS_KEY_BYTES);
	assert_int_equal(take(second, first, ""), 0);
	assert_memory_equal(first->grants->key, second->grants->key, GRANTS_KEY_BYTES);
	assert_memory_not_equal(first->grants->key, zeros, GRANTS_KEY_BYTES);
	assert_memory_not_equal(first->grants->key, key, GRANTS_KEY_BYTES);
	assert_true(conf_shows(first, 0, "HostName"));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(sub), 0); /* no draft is left */
	assert_int_equal(rmdir(dir), 0);
	conf_unref(first);
	conf_unref(second);
}

static void without_a_key_nothing_is_granted(void **state)
{
	(void)state;
	char path[TMP_PATH_SIZE];
	int fd = mkstemp(tmp_path(path, "vhostmd-key.XXXXXX"));
	struct conf *conf = conf_with_key(path);
	static const char *const contents[] = { "", "fifteen letters",
		"seventeen letters" };

	for (size_t i = 0; i < ARRAY_LEN(contents); i++) {
		assert_int_equal(ftruncate(fd, 0), 0);
		assert_int_equal(pwrite(fd, contents[i], strlen(contents[i]), 0),
			(ssize_t)strlen(contents[i]));
		assert_int_equal(
			take(conf, NULL,
				"it is not of 16 bytes; VMs whose set needs it see "
				"nothing of the host\n"),
			-ENOMSG);
		assert_false(conf_shows(conf, 0, "context='host'"));
	}
	assert_int_equal(take(conf, NULL, "t.conf:3: error: host key /"), -ENOMSG);
	assert_int_equal(pwrite(fd, "sixteen letters.", 17, 0), 17);
	assert_int_equal(ftruncate(fd, 16), 0);
	assert_int_equal(take(conf, NULL, ""), 0);
	assert_true(conf_shows(conf, 0, "HostName"));
	close(fd);
	unlink(path);
	conf_unref(conf);
	conf = conf_with_key("/");
	assert_int_equal(take(conf, NULL, "it is no regular file"), -EMEDIUMTYPE);
	conf_unref(conf);
	conf = conf_with_key("/proc/nowhere/key");
	assert_int_equal(take(conf, NULL, "No such file or directory"), -ENOENT);
	assert_false(conf_shows(conf, 0, "context='host'"));
	conf_unref(conf);
}

/* Who has dropped root's rights goes on with the key that he has, at each reload. */
static void a_key_that_may_not_be_read_any_more_is_used_on(void **state)
{
	(void)state;
	char path[TMP_PATH_SIZE];

	if (geteuid() != 0)
		skip();
	tmp_path(path, "vhostmd-key-of-root");
	unlink(path);
	struct conf *before = conf_with_key(path), *after = conf_with_key(path),
		    *again = conf_with_key(path), *moved = conf_with_key("/root/x/key");

	assert_int_equal(take(before, NULL, ""), 0);
	assert_int_equal(seteuid(65534), 0);
	int r = take(after, NULL, "Permission denied");
	int r_again = take(again, before, "");
	int r_moved = take(moved, before, "Permission denied");

	assert_int_equal(seteuid(0), 0);
	assert_int_equal(r, -EACCES);
	assert_false(after->grants->has_key);
	assert_int_equal(r_again, 0);
	assert_memory_equal(again->grants->key, before->grants->key, GRANTS_KEY_BYTES);
	assert_int_equal(r_moved, -EACCES);
	assert_false(moved->grants->has_key);
	unlink(path);
	conf_unref(before);
	conf_unref(after);
	conf_unref(again);
	conf_unref(moved);
}

/* ---- disks ---- */

static struct blob *read_disk(
	struct disks *disks, struct view *view, unsigned n, bool shared, int64_t now_ns)
{
	struct vm_ident vm = vm_of(n);
	const struct disks_place place = { .key = 100 + n,
		.view = view,
		.vm = shared ? NULL : view_find_uuid(view, &vm.uuid),
		.shared = shared };

	return disks_read(disks, &place, true, now_ns);
}

static bool disk_shows(struct disks *disks, struct tree *tree, unsigned n, bool shared,
	int64_t now_ns, const char *text)
{
	_cleanup_view_ struct view *view = tree_view(tree);
	struct blob *image = read_disk(disks, view, n, shared, now_ns);
	bool is = strstr(image->data + IMAGE_HEADER_BYTES, text);

	blob_unref(image);
	return is;
}

static void disks_show_what_is_granted(void **state)
{
	(void)state;
	struct disks *disks = disks_new(DISK_BLOCK_BYTES);
	struct tree *tree = tree_new();
	struct conf *conf = conf_of(
		"<grants><set name='s'><metric>NumCPUs</metric></set>"
		"<vm name='a' set='none'/><vm name='b' set='all'/><default set='s'/></grants>");
	int64_t now_ns = 100 * NS_PER_S;

	publish(tree, conf, 1, 2);
	assert_true(disk_shows(disks, tree, 0, false, now_ns, "<name>Own</name>"));
	assert_false(disk_shows(disks, tree, 0, false, now_ns, "context='host'"));
	assert_true(disk_shows(disks, tree, 1, false, now_ns, "HostName"));
	assert_false(disk_shows(disks, tree, 25, false, now_ns, "context='host'"));
	/* the shared one shows what those see of whom no rule speaks, and all VMs */
	assert_true(disk_shows(disks, tree, 7, true, now_ns, "NumCPUs"));
	assert_false(disk_shows(disks, tree, 7, true, now_ns, "HostName"));
	assert_true(disk_shows(disks, tree, 7, true, now_ns, "<value>1001</value>"));
	conf_unref(conf);
	disks_free(disks);
	tree_free(tree);
}

/* The samples are those that there were. */
static void other_grants_are_another_image(void **state)
{
	(void)state;
	struct disks *disks = disks_new(DISK_BLOCK_BYTES);
	struct tree *tree = tree_new();
	struct conf *before = conf_of(""),
		    *after = conf_of("<grants><default set='none'/></grants>");
	int64_t now_ns = 100 * NS_PER_S, times_ns[2], keep_ns;
	struct vm_ident vm = vm_of(0);

	for (unsigned i = 0; i < 2; i++, now_ns += NS_PER_S) {
		publish(tree, i ? after : before, i + 1, 1);
		_cleanup_view_ struct view *view = tree_view(tree);
		const struct disks_place place = {
			.key = 5, .view = view, .vm = view_find_uuid(view, &vm.uuid)
		};

		times_ns[i] = disks_time(disks, &place, 1, false, now_ns, &keep_ns);
		struct blob *image = disks_read_cached(disks, &place, 1, true, now_ns);

		assert_int_equal(
			!strstr(image->data + IMAGE_HEADER_BYTES, "HostName"), i);
		assert_int_equal(
			disk_shows(disks, tree, 0, false, now_ns, "HostName"), 1 - i);
		assert_int_equal(
			disk_shows(disks, tree, 9, true, now_ns, "HostName"), 1 - i);
		blob_unref(image);
	}
	assert_true(times_ns[1] > times_ns[0]);
	conf_unref(before);
	conf_unref(after);
	disks_free(disks);
	tree_free(tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_rule_that_fits_counts),
		cmocka_unit_test(without_grants_every_vm_sees_all),
		cmocka_unit_test(a_vm_sees_its_set_and_itself),
		cmocka_unit_test(what_vms_of_a_set_see_is_rendered_once),
		cmocka_unit_test(the_hosts_name_becomes_a_hash),
		cmocka_unit_test(an_own_hash_is_for_a_vm_that_is_known),
		cmocka_unit_test(a_mistake_grants_nothing),
		cmocka_unit_test(others_see_what_they_saw),
		cmocka_unit_test(an_entity_grants_nothing),
		cmocka_unit_test(more_than_enough_grants_nothing),
		cmocka_unit_test(what_is_odd_is_said),
		cmocka_unit_test(a_shared_disk_is_warned_of),
		cmocka_unit_test(a_key_is_made_once),
		cmocka_unit_test(without_a_key_nothing_is_granted),
		cmocka_unit_test(a_key_that_may_not_be_read_any_more_is_used_on),
		cmocka_unit_test(disks_show_what_is_granted),
		cmocka_unit_test(other_grants_are_another_image),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

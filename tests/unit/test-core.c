/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Snapshots, views, and the two renderings of them. */
#include "specs.h"
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "core/blob.h"
#include "core/catalogue.h"
#include "core/metric_list.h"
#include "core/render_prom.h"
#include "core/render_xml.h"
#include "core/snapshot.h"
#include "core/unit.h"
#include "util/mem.h"
#include "util/cleanup.h"
#include "util/limits.h"
#include "util/strbuf.h"

enum { HOST_CPU, HOST_TEXT, VM_DELAY, VM_SECRET, N_SPECS };

static struct spec_set *make_specs(void)
{
	struct spec_set *set = spec_set_new(N_SPECS);

	set->specs[HOST_CPU] = (struct metric_spec){ .name = xstrdup("TotalCPUTime"),
		.type = METRIC_REAL64,
		.unit = xstrdup("s"),
		.guest = true,
		.source = xstrdup("host.cpu.time"),
		.entry = catalogue_find("host.cpu.time"),
		.convert = unit_find("s") };
	set->specs[HOST_TEXT] = (struct metric_spec){ .name = xstrdup("HostName"),
		.kind = SPEC_ACTION,
		.type = METRIC_STRING,
		.guest = true,
		.action = xstrdup("hostname") };
	set->specs[VM_DELAY] = (struct metric_spec){ .name = xstrdup("vcpu.*.delay"),
		.context = CONTEXT_VM,
		.type = METRIC_UINT64,
		.guest = true,
		.source = xstrdup("vcpu.*.delay"),
		.entry = catalogue_find("vcpu.*.delay") };
	set->specs[VM_SECRET] = (struct metric_spec){ .name = xstrdup("block.*.path"),
		.context = CONTEXT_VM,
		.type = METRIC_STRING,
		.guest = false,
		.source = xstrdup("block.*.path"),
		.entry = catalogue_find("block.*.path") };
	return set;
}

static struct metric_list *host_list(struct spec_set *specs, const char *text)
{
	struct metric_list_builder *b = metric_list_builder_new(specs, 1000);
	struct value s = value_string(text), ns = value_u64(UINT64_C(846600000000));

	metric_list_builder_add(b, HOST_TEXT, NULL, &s);
	metric_list_builder_add_source(b, HOST_CPU, NULL, &ns);
	return metric_list_builder_finish(b);
}

static struct metric_list *vm_list(struct spec_set *specs)
{
	struct metric_list_builder *b = metric_list_builder_new(specs, 2000);
	struct value v0 = value_u64(5000000), path = value_string("/secret");

	metric_list_builder_add_source(b, VM_SECRET, "0", &path);
	metric_list_builder_add_source(b, VM_DELAY, "0", &v0);
	metric_list_builder_add_source(b, VM_DELAY, "1", NULL);
	return metric_list_builder_finish(b);
}

static struct snapshot *make_host(struct spec_set *specs, uint64_t gen, const char *text)
{
	struct metric_list *list = host_list(specs, text);
	struct snapshot *s = snapshot_new(NULL, gen, &list, 1, 1);

	metric_list_unref(list);
	return s;
}

static struct snapshot *make_vm(
	struct spec_set *specs, uint64_t gen, const char *name, const char *uuid)
{
	struct vm_ident vm = { .id = 2, .name = name };
	struct metric_list *list = vm_list(specs);

	assert_int_equal(uuid_parse(uuid, &vm.uuid), 0);
	struct snapshot *s = snapshot_new(&vm, gen, &list, 1, 1);

	metric_list_unref(list);
	return s;
}

#define UUID_A "6be3fdb8-bef5-6fec-b1b7-e61bbceab708"
#define UUID_B "00000000-0000-0000-0000-000000000001"

static struct tree *make_tree(struct spec_set *specs, const char *text)
{
	struct tree *tree = tree_new();
	struct snapshot *vms[] = { make_vm(specs, 1, "a \"vm\"", UUID_A),
		make_vm(specs, 1, "b", UUID_B) };

	tree_publish(tree, 1, make_host(specs, 1, text), vms, 2);
	return tree;
}

static void document_is_as_guests_expect(void **state)
{
	(void)state;
	struct spec_set *specs = make_specs();
	struct tree *tree = make_tree(specs, "  h<&>\xc3\xa9\n\n\x01 ");
	struct view *view = tree_view(tree);
	struct uuid uuid;
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

	assert_int_equal(uuid_parse(UUID_A, &uuid), 0);
	render_xml_private(view->host, view_find_uuid(view, &uuid), true, &out);
	assert_string_equal(strbuf_str(&out),
		"<metrics>\n"
		"  <metric type='real64' context='host' unit='s'>\n"
		"    <name>TotalCPUTime</name>\n"
		"    <value>846.600000</value>\n"
		"  </metric>\n"
		"  <metric type='string' context='host'>\n"
		"    <name>HostName</name>\n"
		"    <value>h&lt;&amp;&gt;&#233;&#10;&#10;&#65533;</value>\n"
		"  </metric>\n"
		"  <metric type='uint64' context='vm' id='2' uuid='" UUID_A "'>\n"
		"    <name>vcpu.0.delay</name>\n"
		"    <value>5000000</value>\n"
		"  </metric>\n"
		"</metrics>\n");
	assert_null(strstr(render_xml_view(view)->data, "/secret"));
	view_unref(view);
	tree_free(tree);
	spec_set_unref(specs);
}

static void missing_parts_are_named_on_channels(void **state)
{
	(void)state;
	struct tree *tree = tree_new();
	struct view *view = tree_view(tree);
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

	render_xml_private(view->host, NULL, true, &out);
	assert_string_equal(strbuf_str(&out),
		"<metrics>\n  <!-- host metrics not available -->\n"
		"  <!-- VM metrics not available -->\n</metrics>\n");
	view_unref(view);
	tree_free(tree);
}

static void lists_merge_in_slot_order(void **state)
{
	(void)state;
	struct spec_set *specs = make_specs();
	struct metric_list_builder *b0 = metric_list_builder_new(specs, 1);
	struct metric_list_builder *b1 = metric_list_builder_new(specs, 1);
	struct value ns = value_u64(1), text = value_string("x");

	metric_list_builder_add(b0, HOST_TEXT, NULL, &text);
	metric_list_builder_add_source(b1, HOST_CPU, NULL, &ns);
	struct metric_list *lists[] = { metric_list_builder_finish(b0), NULL,
		metric_list_builder_finish(b1) };
	struct snapshot *s = snapshot_new(NULL, 1, lists, 3, 1);

	assert_int_equal(s->n, 2);
	assert_string_equal(snapshot_metric(s, 0)->label->name, "TotalCPUTime");
	assert_string_equal(snapshot_metric(s, 1)->label->name, "HostName");
	assert_ptr_equal(snapshot_find(s, "HostName"), snapshot_metric(s, 1));
	assert_null(snapshot_find(s, "nothing"));
	snapshot_unref(s);
	metric_list_unref(lists[0]);
	metric_list_unref(lists[2]);
	spec_set_unref(specs);
}

static void snapshots_share_where_their_metrics_are(void **state)
{
	(void)state;
	struct spec_set *specs = make_specs();
	struct snapshot *a = make_vm(specs, 1, "a", UUID_A);
	struct snapshot *b = make_vm(specs, 1, "b", UUID_B);
	struct snapshot *host = make_host(specs, 1, "x");

	snapshot_share_places(b, NULL);
	assert_ptr_not_equal(a->places, b->places);
	snapshot_share_places(b, a);
	assert_ptr_equal(a->places, b->places);
	snapshot_share_places(b, b);
	/* the one of them may go */
	snapshot_unref(a);
	assert_int_equal(b->n, 3);
	assert_string_equal(snapshot_metric(b, 1)->label->index, "1");
	/* others have others */
	snapshot_share_places(host, b);
	assert_ptr_not_equal(host->places, b->places);
	assert_string_equal(snapshot_metric(host, 0)->label->name, "TotalCPUTime");
	snapshot_unref(host);
	snapshot_unref(b);
	spec_set_unref(specs);
}

static void catalogue_finds_numbered_sources(void **state)
{
	(void)state;
	assert_string_equal(catalogue_find("vcpu.12.delay")->name, "vcpu.*.delay");
	assert_string_equal(catalogue_find("vcpu.*.delay")->name, "vcpu.*.delay");
	assert_string_equal(catalogue_find("vm.halt_exits.sum")->name, "vm.*.sum");
	assert_string_equal(catalogue_find("vcpu.0.exits.cur")->name, "vcpu.*.*.cur");
	assert_null(catalogue_find("vm.sum"));
	assert_null(catalogue_find("vcpu..delay"));
	assert_null(catalogue_find("vcpu.x.delay"));
	assert_string_equal(catalogue_suggest("host.mem.totl"), "host.mem.total");
	assert_null(catalogue_suggest("something else entirely"));
	for (size_t i = 0; catalogue_at(i); i++) {
		const struct catalogue_entry *e = catalogue_at(i);

		if (catalogue_find(e->name) != e)
			fail_msg("%s stands there twice", e->name);
		assert_true(
			e->type == METRIC_STRING ? !e->unit : unit_find(e->unit) != NULL);
	}
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	catalogue_print(&text, true);
	assert_null(strstr(strbuf_str(&text), "(null)")); /* a title for each collector */
}

/* One publisher, several readers that render: nothing torn, nothing freed early. */
struct race {
	struct tree *tree;
	_Atomic bool stop;
};

static void *reader(void *arg)
{
	struct race *race = arg;
	uint64_t last = 0;

	while (!atomic_load(&race->stop)) {
		struct view *view = tree_view(race->tree);

		assert_true(view->generation >= last);
		last = view->generation;
		struct blob *xml = render_xml_view(view);

		assert_int_equal(xml->generation, view->generation);
		for (size_t i = 0; i < view->n_vms; i++)
			assert_true(view->vms[i]->generation == view->generation);
		(void)render_prom_view(view);
		view_unref(view);
	}
	return NULL;
}

/* What a collector knows under a key is shown by one entry: none is lost, none is there twice. */
static void each_key_has_one_entry(void **state)
{
	(void)state;
	static const struct {
		enum catalogue_collector collector;
		int n;
	} enums[] = { { COLLECTOR_HOST, HOST_KEY_COUNT },
		{ COLLECTOR_FLEET, FLEET_KEY_COUNT },
		{ COLLECTOR_DOMAIN, DOMAIN_KEY_COUNT },
		{ COLLECTOR_KERNEL, VM_KEY_COUNT }, /* and two more with an enum vm_key */
		{ COLLECTOR_SAMPLE, SAMPLE_KEY_COUNT },
		{ COLLECTOR_SNAPSHOT, SNAPSHOT_KEY_COUNT } };

	assert_int_equal(ARRAY_LEN(enums) + 2, COLLECTOR_COUNT);
	for (size_t i = 0; i < ARRAY_LEN(enums); i++) {
		for (int key = 0; key < enums[i].n; key++) {
			unsigned n = 0;

			for (size_t at = 0; catalogue_at(at); at++) {
				const struct catalogue_entry *e = catalogue_at(at);
				bool vm_key = e->collector == COLLECTOR_LIBVIRT ||
					e->collector == COLLECTOR_USAGE;

				n += e->key == key &&
					(e->collector == enums[i].collector ||
						(vm_key &&
							enums[i].collector ==
								COLLECTOR_KERNEL));
			}
			/* a snapshot's stand in the host's scope and in a VM's */
			if (n != 1 && enums[i].collector != COLLECTOR_SNAPSHOT)
				fail_msg("collector %d, key %d: %u entries",
					enums[i].collector, key, n);
			assert_true(n >= 1);
		}
	}
}

static void readers_race_with_a_publisher(void **state)
{
	(void)state;
	struct spec_set *specs = make_specs();
	struct race race = { .tree = tree_new() };
	pthread_t threads[3];

	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, reader, &race), 0);
	for (uint64_t gen = 1; gen <= 500; gen++) {
		struct snapshot *vms[] = { make_vm(specs, gen, "a", UUID_A),
			make_vm(specs, gen, "b", UUID_B) };

		tree_publish(race.tree, gen, make_host(specs, gen, "h"), vms, gen % 3);
		for (uint64_t i = gen % 3; i < 2; i++)
			snapshot_unref(vms[i]);
	}
	atomic_store(&race.stop, true);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		pthread_join(threads[i], NULL);
	tree_free(race.tree);
	spec_set_unref(specs);
}

static const struct metric_label *numbered(
	struct spec_set *set, uint32_t slot, unsigned number, uint64_t owner)
{
	char index[16];

	snprintf(index, sizeof(index), "%u", number);
	return spec_label(set, slot, index, owner);
}

/* Who invents names without end harms nobody but himself, all together not the host. */
static void labels_are_no_more_than_there_is_room_for(void **state)
{
	(void)state;
	struct spec_set *set =
		specs_named(METRIC_UINT64, (const char *const[]){ "a.*", "b.*", NULL });
	const struct metric_label *first = numbered(set, 0, 0, 1);
	unsigned number = 1;

	for (; number < LIMIT_VM_LABELS; number++)
		assert_non_null(numbered(set, 0, number, 1));
	assert_null(numbered(set, 0, number, 1));
	/* what there is stays, and is anybody's */
	assert_ptr_equal(numbered(set, 0, 0, 1), first);
	assert_ptr_equal(numbered(set, 0, 0, 2), first);
	assert_non_null(numbered(set, 0, number++, 2));
	for (; number < LIMIT_LABELS; number++)
		assert_non_null(numbered(set, 1, number, 3 + number / LIMIT_VM_LABELS));
	assert_null(numbered(set, 1, number, 2));
	assert_null(numbered(set, 1, number, 0));
	/* one that comes from nowhere but the configuration always has room */
	assert_non_null(spec_label(set, 1, NULL, 1));
	assert_ptr_equal(numbered(set, 0, 0, 0), first);
	spec_set_unref(set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(document_is_as_guests_expect),
		cmocka_unit_test(missing_parts_are_named_on_channels),
		cmocka_unit_test(lists_merge_in_slot_order),
		cmocka_unit_test(snapshots_share_where_their_metrics_are),
		cmocka_unit_test(catalogue_finds_numbered_sources),
		cmocka_unit_test(each_key_has_one_entry),
		cmocka_unit_test(labels_are_no_more_than_there_is_room_for),
		cmocka_unit_test(readers_race_with_a_publisher),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The text that Prometheus reads, and OpenMetrics. */
#include "samples.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "core/blame.h"
#include "core/blob.h"
#include "core/histogram.h"
#include "core/prom_name.h"
#include "core/render_prom.h"
#include "core/render_stolen.h"
#include "core/snapshot.h"
#include "util/cleanup.h"
#include "util/strbuf.h"

#define UUID_A "6be3fdb8-bef5-6fec-b1b7-e61bbceab708"
#define UUID_B "00000000-0000-0000-0000-000000000001"

/* A configuration, and samples of it: the host's, and those of one VM or two. */
struct text {
	struct spec_set *specs;
	struct metric_list_builder *of_host, *of_vm;
	const char *vm_name;
	bool second_hand;
	bool is_open;        /* OpenMetrics is what is looked at */
	struct blame *blame; /* who waited for whom */
};

static struct text begin(void)
{
	struct text t = { .specs = spec_set_new(64), .vm_name = "a \"vm\"\\\n" };

	t.specs->n = 0;
	return t;
}

static uint32_t add_action(
	struct text *t, const char *name, bool is_host, enum metric_type type)
{
	t->specs->specs[t->specs->n] = (struct metric_spec){ .name = xstrdup(name),
		.context = is_host ? CONTEXT_HOST : CONTEXT_VM,
		.kind = SPEC_ACTION,
		.type = type,
		.action = xstrdup("x") };
	return (uint32_t)t->specs->n++;
}

/* Adds a source under another name: that is none of its. */
static uint32_t add_wanted(
	struct text *t, const char *source, enum metric_type type, const char *unit)
{
	want(t->specs, "Some Name", source, type, unit);
	return (uint32_t)t->specs->n - 1;
}

static struct metric_list_builder *builder_of(struct text *t, uint32_t slot)
{
	struct metric_list_builder **b =
		t->specs->specs[slot].context == CONTEXT_HOST ? &t->of_host : &t->of_vm;

	if (!*b)
		*b = metric_list_builder_new(t->specs, 1000);
	return *b;
}

static void set_u64(struct text *t, uint32_t slot, const char *index, uint64_t u)
{
	struct value v = value_u64(u);

	metric_list_builder_add_source(builder_of(t, slot), slot, index, &v);
}

static void set_text(struct text *t, uint32_t slot, const char *index, const char *s)
{
	struct value v = value_string(s);

	metric_list_builder_add_source(builder_of(t, slot), slot, index, &v);
}

static void set_real(struct text *t, uint32_t slot, double real)
{
	struct value v = value_real(real);

	metric_list_builder_add(builder_of(t, slot), slot, NULL, &v);
}

static void name_device(struct text *t, uint32_t slot, const char *device)
{
	metric_list_builder_set_device(builder_of(t, slot), device);
}

static struct snapshot *snapshot_of(
	const char *name, const char *uuid, struct metric_list *list)
{
	struct vm_ident vm = { .id = 2, .name = name };

	if (uuid)
		assert_int_equal(uuid_parse(uuid, &vm.uuid), 0);
	return snapshot_new(uuid ? &vm : NULL, 1, &list, list ? 1 : 0, 1);
}

/* Moves *@at behind the next line that is no comment.  Return: it; NULL: there is none. */
static const char *next_sample(const char **at, size_t *ret_len)
{
	while (**at == '#')
		*at += strcspn(*at, "\n") + 1;
	const char *line = *at;

	*ret_len = strcspn(line, "\n");
	*at += *ret_len + 1;
	return *ret_len ? line : NULL;
}

/* Both forms say the same. */
static void assert_same_samples(const char *a, const char *b)
{
	const char *x = NULL, *y = NULL;
	size_t n = 0, k = 0;

	do {
		x = next_sample(&a, &n);
		y = next_sample(&b, &k);
		assert_int_equal(n, k);
		assert_true(!x || !memcmp(x, y, n));
	} while (x);
}

/* The text with two VMs of the same samples; frees all but that, which the caller does. */
static char *end(struct text *t)
{
	struct metric_list *of_host =
		t->of_host ? metric_list_builder_finish(t->of_host) : NULL;
	struct metric_list *of_vm =
		t->of_vm ? metric_list_builder_finish(t->of_vm) : NULL;
	struct tree *tree = tree_new();
	struct snapshot *vms[] = { snapshot_of(t->vm_name, UUID_A, of_vm),
		snapshot_of("b", UUID_B, of_vm) };
	struct view *view =
		tree_prepare(tree, 1, snapshot_of(NULL, NULL, of_host), vms, 2);

	view->second_hand = t->second_hand;
	view->blame = t->blame;
	tree_set(tree, view);
	view = tree_view(tree);
	struct blob *prom = render_prom_view(view), *open = render_openmetrics_view(view);
	const struct blob *wanted = t->is_open ? open : prom;
	char *text = xstrndup(wanted->data, wanted->size);

	assert_ptr_equal(prom, render_prom_view(view)); /* kept */
	assert_ptr_equal(open, render_openmetrics_view(view));
	assert_same_samples(prom->data, open->data);
	view_unref(view);
	tree_free(tree);
	metric_list_unref(of_host);
	metric_list_unref(of_vm);
	spec_set_unref(t->specs);
	return text;
}

static unsigned count(const char *text, const char *part)
{
	unsigned n = 0;

	for (const char *at = text; (at = strstr(at, part)); at += strlen(part))
		n++;
	return n;
}

static void assert_has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no %s in\n%s", part, text);
}

static void assert_lacks(const char *text, const char *part)
{
	if (strstr(text, part))
		fail_msg("%s in\n%s", part, text);
}

#define OF_A "{uuid=\"" UUID_A "\",name=\"a \\\"vm\\\"\\\\\\n\""

static void names_are_the_catalogues(void **state)
{
	(void)state;
	struct text t = begin();
	uint32_t cpu = add_wanted(&t, "host.cpu.time", METRIC_REAL64, "s");
	uint32_t delay = add_wanted(&t, "vcpu.*.delay", METRIC_UINT64, NULL);
	uint32_t limit = add_wanted(&t, "domain.memory", METRIC_UINT64, "MiB");
	uint32_t fixed = add_wanted(&t, "vcpu.7.state", METRIC_INT32, NULL);
	uint32_t stat = add_wanted(&t, "vcpu.*.*.sum", METRIC_UINT64, NULL);
	uint32_t steal = add_wanted(&t, "usage.steal", METRIC_REAL64, NULL);

	set_u64(&t, cpu, NULL, UINT64_C(846600000000));
	set_u64(&t, delay, "0", 5000001);
	set_u64(&t, delay, "1", UINT64_C(3000000000));
	metric_list_builder_add_source(t.of_vm, delay, "2", NULL);
	set_u64(&t, limit, NULL, 3 << 10);
	set_u64(&t, fixed, NULL, 1);
	set_u64(&t, stat, "3.halt_exits", 9);
	set_real(&t, steal, 12.5);
	_cleanup_free_ char *text = end(&t);

	assert_has(text,
		"# HELP vhostmd_host_cpu_time_seconds_total Time that all CPUs worked, in user "
		"and system mode.\n# TYPE vhostmd_host_cpu_time_seconds_total counter\n"
		"vhostmd_host_cpu_time_seconds_total 846.6\n");
	assert_has(text,
		"vhostmd_vm_vcpu_delay_seconds_total" OF_A ",vcpu=\"0\"} 0.005000001\n");
	assert_has(text, "vhostmd_vm_vcpu_delay_seconds_total" OF_A ",vcpu=\"1\"} 3\n");
	assert_lacks(text, "vcpu=\"2\""); /* unavailable */
	assert_has(text, "vhostmd_vm_memory_bytes" OF_A "} 3145728\n");
	assert_has(text, "vhostmd_vm_vcpu_state" OF_A ",vcpu=\"7\"} 1\n");
	assert_has(text, "# TYPE vhostmd_vm_vcpu_state gauge\n");
	assert_has(text,
		"vhostmd_vm_vcpu_hypervisor_total" OF_A
		",vcpu=\"3\",stat=\"halt_exits\"} 9\n");
	assert_has(text, "vhostmd_vm_usage_steal_ratio" OF_A "} 0.125\n");
	/* both VMs', behind one head */
	assert_int_equal(count(text, "# TYPE vhostmd_vm_memory_bytes "), 1);
	assert_int_equal(count(text, "\nvhostmd_vm_memory_bytes{"), 2);
	assert_lacks(text, "some_name");
}

/* A disk's number is its place among those that there are just now; its name is its own. */
static void devices_are_known_by_name(void **state)
{
	(void)state;
	struct text t = begin();
	uint32_t reads = add_wanted(&t, "block.*.rd.reqs", METRIC_UINT64, NULL);
	uint32_t path = add_wanted(&t, "block.*.path", METRIC_STRING, NULL);
	uint32_t name = add_wanted(&t, "block.*.name", METRIC_STRING, NULL);
	static const char *const devices[] = { "vdz", "vdb" },
				 *const numbers[] = { "0", "1" };

	for (size_t i = 0; i < 2; i++) {
		name_device(&t, reads, devices[i]);
		set_u64(&t, reads, numbers[i], 10 + i);
		set_text(&t, path, numbers[i], i ? "/b" : "/z\\");
		set_text(&t, name, numbers[i], devices[i]);
	}
	name_device(&t, reads, NULL);
	set_u64(&t, reads, "3", 13);
	name_device(&t, reads, "");
	set_u64(&t, reads, "4", 14);
	_cleanup_free_ char *text = end(&t);

	assert_has(text, "vhostmd_vm_block_rd_reqs_total" OF_A ",device=\"vdz\"} 10\n");
	assert_has(text, "vhostmd_vm_block_rd_reqs_total" OF_A ",device=\"vdb\"} 11\n");
	assert_has(text, "vhostmd_vm_block_rd_reqs_total" OF_A ",index=\"3\"} 13\n");
	assert_has(text, "vhostmd_vm_block_rd_reqs_total" OF_A ",index=\"4\"} 14\n");
	assert_lacks(text, "index=\"0\"");
	/* a line for each, in a family of their own */
	assert_has(text,
		"vhostmd_vm_block_info" OF_A ",device=\"vdb\",path=\"/b\"} 1\n"
		"vhostmd_vm_block_info" OF_A ",device=\"vdz\",path=\"/z\\\\\"} 1\n");
	assert_int_equal(count(text, "\nvhostmd_vm_block_info{"), 4);
}

static void what_hardly_changes_is_a_label(void **state)
{
	(void)state;
	struct text t = begin();
	uint32_t host = add_wanted(&t, "host.name", METRIC_STRING, NULL);
	uint32_t again = add_wanted(&t, "host.name", METRIC_STRING, NULL);
	uint32_t os = add_wanted(&t, "host.os.name", METRIC_STRING, NULL);
	uint32_t lacking = add_wanted(&t, "host.sample.unavailable", METRIC_STRING, NULL);
	uint32_t session = add_wanted(&t, "domain.session", METRIC_UINT64, NULL);
	uint32_t id = add_wanted(&t, "domain.id", METRIC_INT32, NULL);
	uint32_t name = add_wanted(&t, "domain.name", METRIC_STRING, NULL);
	uint32_t unlimited = add_wanted(&t, "domain.unlimited", METRIC_STRING, NULL);
	uint32_t monitor =
		add_wanted(&t, "cpu.cache.monitor.*.name", METRIC_STRING, NULL);
	uint32_t first = add_wanted(&t, "cpu.cache.monitor.0.name", METRIC_STRING, NULL);
	uint32_t printed = add_action(&t, "printed", false, METRIC_STRING);
	uint32_t project = add_wanted(&t, "domain.metadata", METRIC_STRING, NULL);
	uint32_t flavor = add_wanted(&t, "domain.metadata", METRIC_STRING, NULL);

	t.specs->specs[project].element = xstrdup("{urn:x}project");
	t.specs->specs[flavor].element = xstrdup("{urn:x}flavor");
	free(t.specs->specs[flavor].name);
	t.specs->specs[flavor].name = xstrdup("uuid");
	set_text(&t, host, NULL, "node\\1");
	set_text(&t, again, NULL, "node\\1");
	set_text(&t, os, NULL, "linux");
	set_text(&t, lacking, NULL, "secret.list");
	set_u64(&t, session, NULL, UINT64_C(18446744073709551557));
	set_u64(&t, id, NULL, 2);
	set_text(&t, name, NULL, "vm");
	set_text(&t, unlimited, NULL, "secret.list");
	set_text(&t, monitor, "0", "one");
	set_text(&t, monitor, "1", "two");
	set_text(&t, first, NULL, "one");
	set_text(&t, printed, NULL, "secret.list");
	set_text(&t, project, NULL, "blue");
	set_text(&t, flavor, NULL, "m1\"small");
	_cleanup_free_ char *text = end(&t);

	assert_has(text,
		"# TYPE vhostmd_host_info gauge\n"
		"vhostmd_host_info{name=\"node\\\\1\",os_name=\"linux\"} 1\n");
	assert_has(text,
		"vhostmd_vm_info" OF_A ",id=\"2\",session=\"18446744073709551557\","
		"metadata_some_name=\"blue\","
		"metadata_uuid=\"m1\\\"small\"} 1\n");
	assert_has(text,
		"vhostmd_vm_cpu_cache_monitor_info" OF_A
		",monitor=\"0\",monitor_name=\"one\"} 1\n");
	assert_has(text,
		"vhostmd_vm_cpu_cache_monitor_info" OF_A
		",monitor=\"1\",monitor_name=\"two\"} 1\n");
	assert_int_equal(count(text, "\nvhostmd_vm_cpu_cache_monitor_info{"), 4);
	assert_int_equal(count(text, "\nvhostmd_vm_info{"), 2);
	assert_int_equal(count(text, "\nvhostmd_host_info{"), 1);
	assert_lacks(text, "secret.list");
	assert_lacks(text, "vhostmd_vm_id");
}

static void actions_keep_the_configurations_names(void **state)
{
	(void)state;
	struct text t = begin();
	uint32_t one = add_action(&t, "My\\Figure\nX", true, METRIC_UINT64);
	uint32_t same = add_action(&t, "my figure x", true, METRIC_UINT64);
	uint32_t vm = add_action(&t, "up", false, METRIC_REAL64);
	uint32_t xml = add_action(&t, "xml", false, METRIC_UINT64);

	t.specs->specs[vm].unit = xstrdup("ms");
	t.specs->specs[xml].kind = SPEC_XML;
	struct value v = value_u64(5);

	metric_list_builder_add(builder_of(&t, one), one, NULL, &v);
	v = value_u64(6);
	metric_list_builder_add(builder_of(&t, same), same, NULL, &v);
	set_real(&t, vm, 1500);
	for (size_t i = 0; i < 2; i++)
		metric_list_builder_add_named(
			t.of_vm, xml, i ? "two" : "one", "KiB", METRIC_UINT64, &v);
	_cleanup_free_ char *text = end(&t);

	assert_has(text,
		"# HELP vhostmd_host_custom_my_figure_x My\\\\Figure\\nX, as the "
		"configuration calls it.\n"
		"# TYPE vhostmd_host_custom_my_figure_x gauge\n"
		"vhostmd_host_custom_my_figure_x 5\n#");
	assert_has(text, "vhostmd_vm_custom_up_seconds" OF_A "} 1.5\n");
	assert_has(text, "vhostmd_vm_custom_one_bytes" OF_A "} 6144\n");
	assert_has(text, "vhostmd_vm_custom_two_bytes" OF_A "} 6144\n");
	/* of each VM, by one head */
	assert_int_equal(count(text, "\nvhostmd_vm_custom_one_bytes{"), 2);
	assert_int_equal(count(text, "# TYPE vhostmd_vm_custom_one_bytes "), 1);
}

/* "No limit", and what a double does not hold, is no figure. */
static void gauges_too_large_are_left_out(void **state)
{
	(void)state;
	static const struct {
		uint64_t u;
		const char *source, *expected; /* NULL: no line */
	} cases[] = {
		{ UINT64_MAX, "cputune.shares", NULL },
		{ (UINT64_C(1) << 53) + 1, "cputune.shares", NULL },
		{ UINT64_C(1) << 53, "cputune.shares", "9007199254740992" },
		{ 0, "cputune.shares", "0" },
		{ UINT64_MAX, "memtune.hard_limit", NULL },
		/* libvirt's VIR_DOMAIN_MEMORY_PARAM_UNLIMITED, in KiB */
		{ UINT64_C(9007199254740991), "memtune.hard_limit", NULL },
		{ UINT64_MAX, "cputune.quota", NULL },
		{ UINT64_C(17592186044415), "cputune.quota", "17592186.044415" },
		{ UINT64_MAX, "vhostmd.fast.duration", NULL },
		/* in seconds it is one, and a counter goes on in any case */
		{ (UINT64_C(1) << 53) + 1, "cpu.time", "9007199.254740993" },
		{ (UINT64_C(1) << 53) + 1, "perf.cpu_cycles", "9007199254740992" },
		{ (UINT64_C(1) << 53) + 3, "perf.cpu_cycles", "9007199254740996" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct text t = begin();
		_cleanup_prom_name_ struct prom_name name =
			prom_name_source(catalogue_find(cases[i].source));

		set_u64(&t, add_wanted(&t, cases[i].source, METRIC_UINT64, NULL), NULL,
			cases[i].u);
		_cleanup_free_ char *text = end(&t);

		if (!cases[i].expected) {
			assert_lacks(text, name.family); /* no head, either */
			continue;
		}
		_cleanup_free_ char *line = xasprintf("} %s\n", cases[i].expected);
		const char *at = strstr(text, name.family);

		assert_non_null(at);
		assert_has(at, line);
	}
}

static void reals_are_written_as_they_are(void **state)
{
	(void)state;
	static const struct {
		double real;
		const char *expected; /* NULL: no line */
	} cases[] = { { 0.1, "0.1" }, { -2.5, "-2.5" }, { 1e15, "1000000000000000" },
		{ 846.6, "846.6" }, { 123456789.123456, "123456789.123456" },
		{ 1e17, NULL }, { -1e17, NULL }, { INFINITY, NULL }, { NAN, NULL } };

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct text t = begin();

		set_real(&t, add_action(&t, "x", true, METRIC_REAL64), cases[i].real);
		_cleanup_free_ char *text = end(&t);
		_cleanup_free_ char *line = xasprintf("vhostmd_host_custom_x %s\n",
			cases[i].expected ? cases[i].expected : "");

		if (cases[i].expected)
			assert_has(text, line);
		else
			assert_lacks(text, "custom");
	}
}

/* Of one source there is one sample, however often it is configured. */
static void what_is_configured_twice_is_there_once(void **state)
{
	(void)state;
	struct text t = begin();
	uint32_t count_a = add_wanted(&t, "host.cpu.count", METRIC_UINT32, NULL);
	uint32_t count_b = add_wanted(&t, "host.cpu.count", METRIC_REAL64, NULL);
	uint32_t all = add_wanted(&t, "vcpu.*.state", METRIC_INT32, NULL);
	uint32_t first = add_wanted(&t, "vcpu.0.state", METRIC_INT32, NULL);
	uint32_t reads = add_wanted(&t, "block.*.rd.reqs", METRIC_UINT64, NULL);
	static const char *const numbers[] = { "0", "1", "2" };

	set_u64(&t, count_a, NULL, 8);
	set_u64(&t, count_b, NULL, 8);
	for (size_t i = 0; i < 3; i++)
		set_u64(&t, all, numbers[i], 1);
	set_u64(&t, first, NULL, 1);
	for (size_t i = 0; i < 3; i++) {
		name_device(&t, reads, i < 2 ? "vda" : "vdb");
		set_u64(&t, reads, numbers[i], 4);
	}
	_cleanup_free_ char *text = end(&t);

	assert_int_equal(count(text, "\nvhostmd_host_cpus "), 1);
	assert_int_equal(count(text, "\nvhostmd_vm_vcpu_state{"), 2 * 3);
	assert_int_equal(count(text, "\nvhostmd_vm_block_rd_reqs_total{"), 2 * 2);
}

/* ---- histograms ---- */

static const char *const suffixes[] = { "_bucket", "_sum", "_count" };

static void buckets_rise_to_the_count(void **state)
{
	(void)state;
	static const char *const bounds[] = { "4.096e-06", "1.6384e-05", "6.5536e-05",
		"0.000262144", "0.000524288", "0.001048576", "0.002097152", "0.004194304",
		"0.008388608", "0.016777216", "0.033554432", "0.067108864", "0.268435456",
		"1.073741824", "+Inf" };

	for (int is_open = 0; is_open < 2; is_open++) {
		struct text t = begin();
		/* configured twice, it is there once */
		uint32_t slots[] = { add_wanted(&t, "delay.histogram", METRIC_HISTOGRAM,
					     NULL),
			add_wanted(&t, "delay.histogram", METRIC_HISTOGRAM, NULL) };
		uint32_t p99 = add_wanted(&t, "delay.p99", METRIC_UINT64, NULL);
		struct histogram h = { .sum = UINT64_C(12345678901234567) };
		struct value v = value_histogram(&h);
		uint64_t n = 0;

		t.is_open = is_open;
		for (size_t i = 0; i < ARRAY_LEN(bounds); i++)
			h.counts[i] = i == 3 ? 0 : UINT64_C(1) << 50;
		for (size_t i = 0; i < 2; i++)
			metric_list_builder_add_source(
				builder_of(&t, slots[i]), slots[i], NULL, &v);
		set_u64(&t, p99, NULL, 5);
		_cleanup_free_ char *text = end(&t);

		assert_has(text,
			is_open ? "# TYPE vhostmd_vm_delay_seconds histogram\n"
				  "# UNIT vhostmd_vm_delay_seconds seconds\n"
				  "vhostmd_vm_delay_seconds_bucket{"
				: "# TYPE vhostmd_vm_delay_seconds histogram\n"
				  "vhostmd_vm_delay_seconds_bucket{");
		for (size_t i = 0; i < ARRAY_LEN(bounds); i++) {
			_cleanup_free_ char *line =
				xasprintf("\nvhostmd_vm_delay_seconds_bucket" OF_A
					  ",le=\"%s\"} %" PRIu64 "\n",
					bounds[i], n += h.counts[i]);

			assert_has(text, line);
		}
		/* to the last digit, beyond what a double holds */
		assert_has(text,
			"\nvhostmd_vm_delay_seconds_sum" OF_A "} 12345678.901234567\n"
			"vhostmd_vm_delay_seconds_count" OF_A "} 15762598695796736\n");
		for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
			_cleanup_free_ char *start =
				xasprintf("\nvhostmd_vm_delay_seconds%s{", suffixes[i]);

			assert_int_equal(
				count(text, start), 2 * (i ? 1 : ARRAY_LEN(bounds)));
		}
		assert_has(text, "vhostmd_vm_delay_p99_seconds" OF_A "} 0.000000005\n");
	}
}

/* Nobody makes such a thing; it would be taken for an address. */
static void a_number_is_no_histogram(void **state)
{
	(void)state;
	struct text t = begin();
	uint32_t slots[] = { add_wanted(&t, "delay.histogram", METRIC_UINT64, NULL),
		add_wanted(&t, "delay.p99", METRIC_HISTOGRAM, NULL) };
	const struct histogram h = { 0 };
	struct value values[] = { value_u64(12345), value_histogram(&h) };

	for (size_t i = 0; i < 2; i++)
		metric_list_builder_add(
			builder_of(&t, slots[i]), slots[i], NULL, &values[i]);
	_cleanup_free_ char *text = end(&t);

	assert_lacks(text, "vhostmd_vm_delay");
}

static void a_histogram_that_cannot_be_had_is_left_out(void **state)
{
	(void)state;
	struct text t = begin();
	uint32_t slot = add_wanted(&t, "delay.histogram", METRIC_HISTOGRAM, NULL);

	metric_list_builder_add_source(builder_of(&t, slot), slot, NULL, NULL);
	_cleanup_free_ char *text = end(&t);

	assert_lacks(text, "vhostmd_vm_delay");
}

/* Who repeats what a host told cannot say how that is. */
static void vhostmd_tells_about_itself(void **state)
{
	(void)state;
	static const char self[] = "# TYPE vhostmd_up gauge\nvhostmd_up 1\n",
			  build[] = "\nvhostmd_build_info{version=\"" VHOSTMD_VERSION
				    "\"} 1\n";
	struct text t = begin();
	_cleanup_free_ char *text = end(&t);

	assert_has(text, self);
	assert_has(text, build);
	assert_has(text, "vhostmd_vm_info" OF_A ",id=\"2\"} 1\n");
	t = begin();
	t.second_hand = true;
	_cleanup_free_ char *repeated = end(&t);

	assert_lacks(repeated, "vhostmd_up");
	assert_lacks(repeated, "vhostmd_build_info");
	assert_has(repeated, "vhostmd_vm_info" OF_A ",id=\"2\"} 1\n");
}

/* ---- OpenMetrics ---- */

static void openmetrics_tells_types_and_units(void **state)
{
	(void)state;
	struct text t = begin();
	uint32_t cpu = add_wanted(&t, "host.cpu.time", METRIC_REAL64, "s");
	uint32_t page = add_wanted(&t, "host.page.in.rate", METRIC_REAL64, NULL);
	uint32_t load = add_wanted(&t, "host.load.1", METRIC_REAL64, NULL);
	uint32_t name = add_wanted(&t, "host.name", METRIC_STRING, NULL);
	uint32_t limit = add_wanted(&t, "domain.memory", METRIC_UINT64, "MiB");
	uint32_t own = add_action(&t, "My \"own\" \\ figure", true, METRIC_UINT64);

	t.is_open = true;
	set_u64(&t, cpu, NULL, UINT64_C(846600000000));
	set_real(&t, page, 1);
	set_real(&t, load, 2.5);
	set_text(&t, name, NULL, "host");
	set_u64(&t, limit, NULL, 3 << 10);
	set_u64(&t, own, NULL, 3);
	_cleanup_free_ char *text = end(&t);

	assert_has(text,
		"# TYPE vhostmd_host_cpu_time_seconds counter\n"
		"# UNIT vhostmd_host_cpu_time_seconds seconds\n"
		"vhostmd_host_cpu_time_seconds_total 846.6\n");
	assert_has(text,
		"# TYPE vhostmd_host_page_in_bytes_per_second gauge\n"
		"# UNIT vhostmd_host_page_in_bytes_per_second bytes_per_second\n"
		"vhostmd_host_page_in_bytes_per_second 1024\n");
	assert_has(text, "# TYPE vhostmd_host_load1 gauge\nvhostmd_host_load1 2.5\n");
	assert_has(
		text, "# TYPE vhostmd_host info\nvhostmd_host_info{name=\"host\"} 1\n");
	assert_has(text, "# TYPE vhostmd_vm info\nvhostmd_vm_info{");
	assert_has(text, "# UNIT vhostmd_vm_memory_bytes bytes\n");
	assert_has(text,
		"# HELP vhostmd_host_custom_my_own_figure My \\\"own\\\" \\\\ figure, as the "
		"configuration calls it.\n");
	assert_has(text,
		"# TYPE vhostmd_build info\nvhostmd_build_info{version=\"" VHOSTMD_VERSION
		"\"} 1\n");
	assert_string_equal(strstr(text, "\n# EOF\n"), "\n# EOF\n");
}

/* Of two VMs that run, and a third one that ran before. */
static struct blame *blame_of_three(void)
{
	static const char *const uuids[] = { UUID_B, UUID_A,
		"f0000000-0000-0000-0000-000000000001" };
	/* in no order, and one of them in two parts */
	static const struct blame_pair pairs[] = { { 2, 0, { 4000000000, 5 } },
		{ 1, 0, { 1000000000, 5 } }, { 0, 2, { 4000000000, 5 } },
		{ 1, 2, { 4000000000, 5 } }, { 0, 1, { 3000000000, 5 } },
		{ 1, 0, { 234500000, 5 } } };
	struct blame *b = blame_new(3, ARRAY_LEN(pairs), 8);

	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(uuid_parse(uuids[i], &b->vms[i].uuid), 0);
		b->vms[i].name = strcpy(b->names, "another");
	}
	memcpy(b->pairs, pairs, sizeof(pairs));
	return b;
}

/* Which VM waited for which, both by the names that they have now, and as long as both run. */
static void who_waited_for_whom_is_a_family(void **state)
{
	(void)state;
	struct text t = begin();

	t.blame = blame_of_three();
	_cleanup_free_ char *text = end(&t);

	assert_has(text,
		"# HELP vhostmd_vm_stolen_seconds_total How long virtual CPUs waited while the "
		"VM 'by' had their processor.\n"
		"# TYPE vhostmd_vm_stolen_seconds_total counter\n"
		"vhostmd_vm_stolen_seconds_total");
	assert_has(text,
		"\nvhostmd_vm_stolen_seconds_total" OF_A ",by=\"b\",by_uuid=\"" UUID_B
		"\"} 1.2345\n");
	assert_has(text,
		"\nvhostmd_vm_stolen_seconds_total{uuid=\"" UUID_B
		"\",name=\"b\",by=\"a \\\"vm\\\"\\\\\\n\",by_uuid=\"" UUID_A "\"} 3\n");
	assert_int_equal(count(text, "\nvhostmd_vm_stolen_seconds_total{"), 2);
	assert_lacks(text, "another");
	/* less than is worth a line, and nothing at all */
	t = begin();
	t.blame = blame_of_three();
	t.is_open = true;
	t.blame->pairs[4].time.all_ns = RENDER_STOLEN_LEAST_NS - 1;
	_cleanup_free_ char *open = end(&t);

	assert_int_equal(count(open, "\nvhostmd_vm_stolen_seconds_total{"), 1);
	assert_has(open,
		"\n# TYPE vhostmd_vm_stolen_seconds counter\n"
		"# UNIT vhostmd_vm_stolen_seconds seconds\n"
		"vhostmd_vm_stolen_seconds_total{");
	t = begin();
	t.blame = blame_new(0, 0, 0);
	_cleanup_free_ char *none = end(&t);

	assert_lacks(none, "stolen");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_the_catalogues),
		cmocka_unit_test(devices_are_known_by_name),
		cmocka_unit_test(what_hardly_changes_is_a_label),
		cmocka_unit_test(actions_keep_the_configurations_names),
		cmocka_unit_test(gauges_too_large_are_left_out),
		cmocka_unit_test(reals_are_written_as_they_are),
		cmocka_unit_test(what_is_configured_twice_is_there_once),
		cmocka_unit_test(buckets_rise_to_the_count),
		cmocka_unit_test(a_number_is_no_histogram),
		cmocka_unit_test(a_histogram_that_cannot_be_had_is_left_out),
		cmocka_unit_test(vhostmd_tells_about_itself),
		cmocka_unit_test(openmetrics_tells_types_and_units),
		cmocka_unit_test(who_waited_for_whom_is_a_family),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What figures are called for Prometheus. */
#include "samples.h"

#include <regex.h>
#include <stdio.h>

#include "core/prom_name.h"
#include "util/cleanup.h"
#include "util/strbuf.h"

static bool matches(const char *pattern, const char *text)
{
	regex_t re;

	assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
	bool found = regexec(&re, text, 0, NULL, 0) == 0;

	regfree(&re);
	return found;
}

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), k = strlen(end);

	return n >= k && !strcmp(text + n - k, end);
}

/* What the naming rules have against a name; NULL: nothing. */
static const char *fault_of(const char *family, bool is_counter, bool is_info)
{
	if (!matches("^vhostmd(_[a-z][a-z0-9]*)+$", family))
		return "form";
	if (matches("_(counter|gauge|histogram|summary|untyped)(_|$)", family))
		return "a type";
	if (matches("_(count|sum|bucket|created|gcount|gsum)$", family))
		return "a reserved word";
	if (ends_with(family, "_info") != is_info)
		return "info";
	if (ends_with(family, "_total") != is_counter)
		return "total";
	if (matches("_(s|ms|us|ns|sec|[kmgtp]?b|m|h|d|min_.*seconds)(_|$)", family) ||
		matches("_(kilo|mega|giga|milli|micro|nano)[a-z]*", family) ||
		matches("_(minutes|hours|days|percent|bits)(_|$)", family))
		return "a unit that is not a base one";
	/* each unit once, and nothing but "total" behind it */
	if (matches("_(bytes|seconds|ratio|hertz)_", family) &&
		!matches(
			"_((bytes|seconds|ratio|hertz)_total|bytes_per_second)$", family))
		return "a unit within";
	return NULL;
}

static bool has_double(const char *family)
{
	_cleanup_free_ char *copy = xstrdup(family);
	const char *before = "";
	char *rest = NULL;

	for (char *word = strtok_r(copy, "_", &rest); word;
		word = strtok_r(NULL, "_", &rest)) {
		if (!strcmp(word, before))
			return true;
		before = word;
	}
	return false;
}

static void every_source_is_called_by_the_rules(void **state)
{
	(void)state;
	for (size_t i = 0; catalogue_at(i); i++) {
		const struct catalogue_entry *e = catalogue_at(i);
		_cleanup_prom_name_ struct prom_name name = prom_name_source(e);
		const char *base = e->unit ? unit_find(e->unit)->prom_base : "";

		if (!name.family) {
			assert_int_equal(name.role, PROM_LEFT_OUT);
			continue;
		}
		bool is_info = name.role == PROM_INFO;
		const char *fault = fault_of(
			name.family, !is_info && e->kind == KIND_COUNTER, is_info);

		if (fault || has_double(name.family))
			fail_msg("%s is %s: %s", e->name, name.family,
				fault ? fault : "a word twice");
		const char *scope = strncmp(e->name, "vhostmd.", 8) == 0 ? "vhostmd_"
			: e->context == CONTEXT_HOST                     ? "vhostmd_host_"
									 : "vhostmd_vm_";

		if (strncmp(name.family, scope, strlen(scope)) != 0)
			fail_msg("%s is %s", e->name, name.family);
		_cleanup_free_ char *unit =
			xasprintf("_%s(_per_second)?(_total)?$", base);

		if (!is_info && *base && !matches(unit, name.family))
			fail_msg("%s is %s, not in %s", e->name, name.family, base);
		assert_true(name.help && *name.help);
		/* what is no number is never a sample */
		assert_true(e->type != METRIC_STRING || is_info);
	}
}

/* One name, one source: but an info has as many labels as it likes, each of one source. */
static void no_two_sources_are_called_the_same(void **state)
{
	(void)state;
	static const char *const given[] = { "vhostmd_up", "vhostmd_build_info" };

	for (size_t i = 0; catalogue_at(i); i++) {
		_cleanup_prom_name_ struct prom_name a =
			prom_name_source(catalogue_at(i));

		for (size_t k = 0; a.family && k < ARRAY_LEN(given); k++)
			assert_string_not_equal(a.family, given[k]);
		for (size_t k = 0; a.family && k < i; k++) {
			_cleanup_prom_name_ struct prom_name b =
				prom_name_source(catalogue_at(k));

			if (!b.family || strcmp(a.family, b.family) != 0)
				continue;
			if (a.role != PROM_INFO || b.role != PROM_INFO ||
				!strcmp(a.info_label, b.info_label) ||
				a.n_places != b.n_places)
				fail_msg("%s and %s are both %s", catalogue_at(i)->name,
					catalogue_at(k)->name, a.family);
		}
	}
}

/* What belongs to a histogram's family is no other one's, in either form. */
static void nobody_is_called_as_a_part_of_a_histogram(void **state)
{
	(void)state;
	static const char *const parts[] = { "", "_bucket", "_sum", "_count", "_created",
		"_total", "_info" };
	size_t n = 0;

	for (size_t i = 0; catalogue_at(i); i++) {
		_cleanup_prom_name_ struct prom_name a =
			prom_name_source(catalogue_at(i));

		if (a.role != PROM_HISTOGRAM)
			continue;
		n++;
		for (size_t k = 0; catalogue_at(k); k++) {
			_cleanup_prom_name_ struct prom_name b =
				prom_name_source(catalogue_at(k));

			for (size_t p = 0; b.family && k != i && p < ARRAY_LEN(parts);
				p++) {
				_cleanup_free_ char *part =
					xasprintf("%s%s", a.family, parts[p]);

				assert_string_not_equal(b.family, part);
			}
		}
	}
	assert_true(n > 0);
}

static void labels_of_a_source_differ(void **state)
{
	(void)state;
	for (size_t i = 0; catalogue_at(i); i++) {
		const struct catalogue_entry *e = catalogue_at(i);
		_cleanup_prom_name_ struct prom_name name = prom_name_source(e);
		const char *labels[PROM_MAX_PLACES + 4];
		size_t n = 0, stars = 0;

		for (const char *p = e->name; *p; p++)
			stars += *p == '*';
		assert_int_equal(name.n_places, stars);
		if (e->context == CONTEXT_VM) {
			labels[n++] = "uuid";
			labels[n++] = "name";
			labels[n++] = "id";
		}
		for (size_t k = 0; k < name.n_places; k++) {
			/* the catalogue says of each star what it is */
			assert_string_not_equal(name.places[k], PROM_INDEX);
			labels[n++] = name.places[k];
		}
		if (name.info_label)
			labels[n++] = name.info_label;
		for (size_t k = 0; k < n; k++) {
			assert_true(matches("^[a-z][a-z0-9_]*$", labels[k]));
			for (size_t j = 0; j < k; j++)
				if (!strcmp(labels[j], labels[k]))
					fail_msg("%s has %s twice", e->name, labels[k]);
		}
	}
}

static void some_names_are_known_by_heart(void **state)
{
	(void)state;
	static const char *const pairs[][2] = {
		{ "host.cpu.time", "vhostmd_host_cpu_time_seconds_total" },
		{ "host.cpu.count", "vhostmd_host_cpus" },
		{ "host.mem.total", "vhostmd_host_mem_total_bytes" },
		{ "host.hugepages.total", "vhostmd_host_hugepages" },
		{ "host.load.15", "vhostmd_host_load15" },
		{ "host.page.in.rate", "vhostmd_host_page_in_bytes_per_second" },
		{ "host.pressure.io.full.avg10",
			"vhostmd_host_pressure_io_full_avg10_ratio" },
		{ "host.pressure.io.full.total",
			"vhostmd_host_pressure_io_full_seconds_total" },
		{ "host.name.short", "vhostmd_host_info{name_short}" },
		{ "vhostmd.rss", "vhostmd_rss_bytes" },
		{ "cpu.time", "vhostmd_vm_cpu_time_seconds_total" },
		{ "domain.vcpu.time", "vhostmd_vm_domain_vcpu_time_seconds_total" },
		{ "domain.memory", "vhostmd_vm_memory_bytes" },
		{ "domain.session", "vhostmd_vm_info{session}" },
		{ "domain.unlimited", "" },
		{ "state.state", "vhostmd_vm_state" },
		{ "vcpu.*.delay", "vhostmd_vm_vcpu_delay_seconds_total{vcpu}" },
		{ "vcpu.*.*.sum", "vhostmd_vm_vcpu_hypervisor_total{vcpu,stat}" },
		{ "vm.*.max", "vhostmd_vm_hypervisor_peak{stat}" },
		{ "net.*.rx.bytes", "vhostmd_vm_net_rx_bytes_total{device}" },
		{ "block.*.rd.times", "vhostmd_vm_block_rd_time_seconds_total{device}" },
		{ "block.*.path", "vhostmd_vm_block_info{device,path}" },
		{ "block.*.backingIndex", "vhostmd_vm_block_backing_index{device}" },
		{ "hostdisk.*.rd.bytes", "vhostmd_vm_hostdisk_rd_bytes_total{device}" },
		{ "hostdisk.*.queue.times",
			"vhostmd_vm_hostdisk_queue_time_seconds_total{device}" },
		{ "hostdisk.*.inflight", "vhostmd_vm_hostdisk_inflight{device}" },
		{ "hostdisk.*.node", "vhostmd_vm_hostdisk_info{device,node}" },
		{ "iothread.*.poll-max-ns",
			"vhostmd_vm_iothread_poll_max_seconds{iothread}" },
		{ "cpu.cache.monitor.*.name",
			"vhostmd_vm_cpu_cache_monitor_info{monitor,monitor_name}" },
		{ "cpu.cache.monitor.*.bank.*.bytes",
			"vhostmd_vm_cpu_cache_monitor_bank_bytes{monitor,bank}" },
		{ "memory.bandwidth.monitor.*.node.*.bytes.local",
			"vhostmd_vm_memory_bandwidth_monitor_node_local_bytes_total{"
			"monitor,node}" },
		{ "usage.steal", "vhostmd_vm_usage_steal_ratio" },
	};

	for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
		_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

		prom_name_print(catalogue_find(pairs[i][0]), &out);
		assert_string_equal(strbuf_str(&out), pairs[i][1]);
	}
}

static void display_names_are_snake_case(void **state)
{
	(void)state;
	static const char *const pairs[][2] = { { "TotalCPUTime", "total_cpu_time" },
		{ "NumCPUs", "num_cpus" }, { "vcpu.*.delay", "vcpu_delay" },
		{ "net.count", "net_number" }, { "PagedInMemory", "paged_in_memory" },
		{ "iothread.*.poll-max-ns", "iothread_poll_max_nanosecond" },
		{ "my metric", "my_metric" }, { "x  y", "x_y" }, { "%", "" } };

	for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
		_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

		prom_name_plain(pairs[i][0], &out);
		assert_string_equal(strbuf_str(&out), pairs[i][1]);
	}
}

/* Whatever the configuration calls it: an action's name is no source's. */
static void no_action_is_called_as_a_source(void **state)
{
	(void)state;
	static const char *const names[] = { "custom", "up", "build.info", "info",
		"cpu.time", "%", "Count", "x_total", "x_bytes", "1" };

	for (size_t i = 0; catalogue_at(i); i++) {
		_cleanup_prom_name_ struct prom_name name =
			prom_name_source(catalogue_at(i));

		if (name.family && matches("^vhostmd_(host|vm)_custom(_|$)", name.family))
			fail_msg("%s", name.family);
	}
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		for (int is_host = 0; is_host < 2; is_host++) {
			_cleanup_prom_name_ struct prom_name name = prom_name_custom(
				is_host, names[i], unit_find("KiB"), false, NULL);

			assert_true(matches(is_host ? "^vhostmd_host_custom(_|$)"
						    : "^vhostmd_vm_custom(_|$)",
				name.family));
			assert_true(ends_with(name.family, "_bytes"));
			assert_null(strstr(name.family, "bytes_bytes"));
		}
}

/* In OpenMetrics each is told of by its name without the suffix. */
static void no_two_families_are_called_the_same_in_openmetrics(void **state)
{
	(void)state;
	for (size_t i = 0; catalogue_at(i); i++) {
		_cleanup_prom_name_ struct prom_name a =
			prom_name_source(catalogue_at(i));
		bool has_suffix = a.role == PROM_INFO || a.is_counter;
		const char *last = a.family && has_suffix ? strrchr(a.family, '_') : NULL;

		for (size_t k = 0; last && catalogue_at(k); k++) {
			_cleanup_prom_name_ struct prom_name b =
				prom_name_source(catalogue_at(k));

			if (b.family && strlen(b.family) == (size_t)(last - a.family) &&
				!strncmp(a.family, b.family, strlen(b.family)))
				fail_msg("%s and %s", a.family, b.family);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_source_is_called_by_the_rules),
		cmocka_unit_test(no_two_sources_are_called_the_same),
		cmocka_unit_test(nobody_is_called_as_a_part_of_a_histogram),
		cmocka_unit_test(labels_of_a_source_differ),
		cmocka_unit_test(some_names_are_known_by_heart),
		cmocka_unit_test(display_names_are_snake_case),
		cmocka_unit_test(no_action_is_called_as_a_source),
		cmocka_unit_test(no_two_families_are_called_the_same_in_openmetrics),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/prom_name.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/catalogue.h"
#include "core/unit.h"
#include "util/mem.h"
#include "util/strbuf.h"

/* ---- words ---- */

static bool is_upper(char c)
{
	return c >= 'A' && c <= 'Z';
}

static bool is_lower(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* A new word starts at an upper-case letter after a lower-case one or before one. */
static bool word_starts(const char *name, const char *p)
{
	return p > name && is_upper(*p) &&
		(is_lower(p[-1]) ||
			(is_upper(p[-1]) && p[1] >= 'a' && p[1] <= 'z' && p[1] != 's'));
}

/* Takes the next word of *@at into @word, in lower case.  Return: false if there is none. */
static bool next_word(const char *name, const char **at, struct strbuf *word)
{
	const char *p = *at;

	strbuf_clear(word);
	while (*p && !is_upper(*p) && !is_lower(*p))
		p++;
	for (; is_upper(*p) || is_lower(*p); p++) {
		if (word->len && word_starts(name, p))
			break;
		strbuf_addc(word, is_upper(*p) ? (char)(*p - 'A' + 'a') : *p);
	}
	*at = p;
	return word->len > 0;
}

static void add_word(const char *word, struct strbuf *out)
{
	if (out->len)
		strbuf_addc(out, '_');
	strbuf_adds(out, word);
}

/* Words that the naming rules take for abbreviated units or for types, or reserve as a
 * name's last word. */
static const struct {
	const char *word, *instead;
	bool last_only;
} reworded[] = {
	{ "count", "number", true },
	{ "sum", "all", true },
	{ "bucket", "group", true },
	{ "total", "all", true },
	{ "info", "text", true },
	{ "created", "start", true },
	{ "s", "second", false },
	{ "ms", "millisecond", false },
	{ "us", "microsecond", false },
	{ "ns", "nanosecond", false },
	{ "sec", "second", false },
	{ "b", "byte", false },
	{ "kb", "kilobyte", false },
	{ "mb", "megabyte", false },
	{ "gb", "gigabyte", false },
	{ "tb", "terabyte", false },
	{ "pb", "petabyte", false },
	{ "m", "minute", false },
	{ "h", "hour", false },
	{ "d", "day", false },
	{ "gauge", "value", false },
	{ "counter", "value", false },
	{ "histogram", "value", false },
	{ "summary", "value", false },
	{ "untyped", "value", false },
};

static const char *allowed(const char *word, bool last)
{
	for (size_t i = 0; i < ARRAY_LEN(reworded); i++)
		if (!strcmp(word, reworded[i].word) && (last || !reworded[i].last_only))
			return reworded[i].instead;
	return word;
}

void prom_name_plain(const char *name, struct strbuf *out)
{
	_cleanup_strbuf_ struct strbuf word = STRBUF_INIT, next = STRBUF_INIT;
	const char *at = name;
	size_t start = out->len;

	for (bool more = next_word(name, &at, &word); more;) {
		more = next_word(name, &at, &next);
		if (out->len > start)
			strbuf_addc(out, '_');
		strbuf_adds(out, allowed(strbuf_str(&word), !more));
		strbuf_clear(&word);
		strbuf_adds(&word, strbuf_str(&next));
	}
}

/* ---- sources ---- */

/* What is not called as the rules below have it. */
struct exception {
	const char *source;
	enum prom_role role;
	const char *name; /* behind the prefix; NULL: the source's */
	const char *unit; /* behind that; NULL: the source's base unit */
	uint64_t factor;  /* of that unit in the source's base unit; 0: 1 */
	const char *help; /* NULL: the source's */
};

static const struct exception exceptions[] = {
	/* they stand in labels of all that is the VM's, or the device's */
	{ .source = "domain.name", .role = PROM_LEFT_OUT },
	{ .source = "domain.uuid", .role = PROM_LEFT_OUT },
	{ .source = "domain.id", .role = PROM_LEFT_OUT },
	{ .source = "block.*.name", .role = PROM_LEFT_OUT },
	{ .source = "net.*.name", .role = PROM_LEFT_OUT },
	/* lists: as a label each change would make another series */
	{ .source = "domain.unlimited", .role = PROM_LEFT_OUT },
	{ .source = "sample.unavailable", .role = PROM_LEFT_OUT },
	{ .source = "host.sample.unavailable", .role = PROM_LEFT_OUT },
	{ .source = "cpu.cache.monitor.*.vcpus", .role = PROM_LEFT_OUT },
	{ .source = "memory.bandwidth.monitor.*.vcpus", .role = PROM_LEFT_OUT },
	/* 64 bits, which a sample's value does not hold */
	{ .source = "domain.session", .role = PROM_INFO },

	/* without what only repeats the prefix they would be another's */
	{ .source = "domain.vcpu.time", .name = "domain.vcpu.time" },
	{ .source = "domain.vcpu.delay", .name = "domain.vcpu.delay" },
	{ .source = "domain.vcpu.wait", .name = "domain.vcpu.wait" },
	{ .source = "domain.iothread.time", .name = "domain.iothread.time" },

	{ .source = "delay.histogram", .role = PROM_HISTOGRAM, .name = "delay" },

	/* words that the hypervisor chose: they are a label */
	{ .source = "vm.*.sum", .name = "hypervisor" },
	{ .source = "vm.*.cur", .name = "hypervisor.current" },
	{ .source = "vm.*.max", .name = "hypervisor.peak" },
	{ .source = "vcpu.*.*.sum", .name = "vcpu.hypervisor" },
	{ .source = "vcpu.*.*.cur", .name = "vcpu.hypervisor.current" },
	{ .source = "vcpu.*.*.max", .name = "vcpu.hypervisor.peak" },

	{ .source = "host.load.1", .name = "load1" },
	{ .source = "host.load.5", .name = "load5" },
	{ .source = "host.load.15", .name = "load15" },
	{ .source = "host.overcommit.cpu", .unit = "ratio" },
	{ .source = "host.overcommit.memory", .unit = "ratio" },
	{ .source = "net.count", .name = "net.devices" },
	{ .source = "block.count", .name = "block.devices" },
	{ .source = "balloon.last-update", .name = "balloon.last.update.timestamp" },
	{ .source = "dirtyrate.calc_start_time",
		.name = "dirtyrate.calc.start.timestamp" },

	/* each second */
	{ .source = "host.page.in.rate",
		.name = "page.in",
		.unit = "bytes_per_second",
		.factor = 1024,
		.help = "Bytes read from block devices each second" },
	{ .source = "host.page.fault.rate", .name = "page.faults" },
	{ .source = "dirtyrate.megabytes_per_second",
		.name = "dirtyrate",
		.unit = "bytes_per_second",
		.factor = 1 << 20,
		.help = "Bytes that the guest changes each second" },
	{ .source = "dirtyrate.vcpu.*.megabytes_per_second",
		.name = "dirtyrate.vcpu",
		.unit = "bytes_per_second",
		.factor = 1 << 20,
		.help = "Bytes that a virtual CPU changes each second" },
	{ .source = "block.*.iotune.total_bytes_sec",
		.name = "block.iotune.total",
		.unit = "bytes_per_second" },
	{ .source = "block.*.iotune.read_bytes_sec",
		.name = "block.iotune.read",
		.unit = "bytes_per_second" },
	{ .source = "block.*.iotune.write_bytes_sec",
		.name = "block.iotune.write",
		.unit = "bytes_per_second" },
	{ .source = "block.*.iotune.total_iops_sec",
		.name = "block.iotune.total",
		.unit = "requests_per_second" },
	{ .source = "block.*.iotune.read_iops_sec",
		.name = "block.iotune.read",
		.unit = "requests_per_second" },
	{ .source = "block.*.iotune.write_iops_sec",
		.name = "block.iotune.write",
		.unit = "requests_per_second" },
};

static const struct exception *find_exception(const struct catalogue_entry *e)
{
	static const struct exception number = { .role = PROM_SAMPLE },
				      text = { .role = PROM_INFO };

	for (size_t i = 0; i < ARRAY_LEN(exceptions); i++)
		if (!strcmp(exceptions[i].source, e->name))
			return &exceptions[i];
	return e->type == METRIC_STRING ? &text : &number;
}

/* Appends "cpus" for "cpu", "vms" for "vms". */
static void make_plural(struct strbuf *name)
{
	if (name->len && name->data[name->len - 1] != 's')
		strbuf_addc(name, 's');
}

static bool ends_with_word(const struct strbuf *name, const char *word)
{
	size_t n = strlen(word);

	return name->len >= n && !strcmp(name->data + name->len - n, word) &&
		(name->len == n || name->data[name->len - n - 1] == '_');
}

/*
 * Appends the words of @pattern that say more than what stands before and behind them.
 * @symbol, @unit: of its unit, which comes behind; @is_counter: "total" comes behind.
 */
static void add_words(const char *pattern, const char *symbol, const char *unit,
	bool is_counter, struct strbuf *out)
{
	_cleanup_strbuf_ struct strbuf word = STRBUF_INIT;

	for (const char *at = pattern; next_word(pattern, &at, &word);) {
		const char *w = strbuf_str(&word);
		bool last = !*at;

		if (last && !strcmp(w, "count"))
			make_plural(out);
		else if (last && !strcmp(w, "total") && (is_counter || !*unit))
			continue;
		else if (last && symbol && !strcmp(w, symbol))
			continue;
		else if (strcmp(w, unit) != 0 && !ends_with_word(out, w))
			add_word(strcmp(w, "times") != 0 ? w : "time", out);
	}
}

/* The prefix; moves *@pattern behind what says the same. */
static const char *prefix_of(const struct catalogue_entry *e, const char **pattern)
{
	static const struct {
		const char *source, *prefix;
		enum metric_context context;
	} prefixes[] = {
		{ "host.", "vhostmd_host", CONTEXT_HOST },
		{ "vhostmd.", "vhostmd", CONTEXT_HOST },
		{ "domain.", "vhostmd_vm", CONTEXT_VM },
	};

	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
		size_t n = strlen(prefixes[i].source);

		if (e->context != prefixes[i].context ||
			strncmp(*pattern, prefixes[i].source, n) != 0)
			continue;
		*pattern += n;
		return prefixes[i].prefix;
	}
	return e->context == CONTEXT_HOST ? "vhostmd_host" : "vhostmd_vm";
}

/*
 * Where each '*' gets its label from: the word before it.  A number of a disk or interface is
 * its place among those that there are just now; its name is its own.
 */
static const char *place_label(const char *pattern, const char *star)
{
	static const struct {
		const char *before, *label;
	} labels[] = {
		{ "vcpu.", "vcpu" },
		{ "iothread.", "iothread" },
		{ "block.", "device" },
		{ "hostdisk.", "device" },
		{ "net.", "device" },
		{ "monitor.", "monitor" },
		{ "bank.", "bank" },
		{ "node.", "node" },
		{ "vm.", "stat" }, /* these two: the hypervisor's words */
		{ "*.", "stat" },
	};

	for (size_t i = 0; i < ARRAY_LEN(labels); i++) {
		size_t n = strlen(labels[i].before);

		if ((size_t)(star - pattern) >= n &&
			!strncmp(star - n, labels[i].before, n))
			return labels[i].label;
	}
	return PROM_INDEX;
}

static void find_places(const char *pattern, struct prom_name *name)
{
	for (const char *star = strchr(pattern, '*'); star;
		star = strchr(star + 1, '*')) {
		const char *label = place_label(pattern, star);

		assert(name->n_places < PROM_MAX_PLACES);
		name->places[name->n_places++] = label;
		name->by_device = !strcmp(label, "device");
	}
}

/* vhostmd_vm_block_info{path=}: what stands before the last '*' is the family. */
static void name_info(const char *pattern, const char *prefix, struct prom_name *name)
{
	struct strbuf family = STRBUF_INIT, label = STRBUF_INIT;
	const char *star = strrchr(pattern, '*');

	strbuf_adds(&family, prefix);
	if (star) {
		_cleanup_free_ char *scope = xstrndup(pattern, (size_t)(star - pattern));

		add_words(scope, NULL, "", false, &family);
		pattern = star + 1;
	}
	strbuf_adds(&family, "_info");
	/* "name" is the VM's */
	if (star && !strcmp(pattern, ".name"))
		strbuf_adds(&label, name->places[name->n_places - 1]);
	add_words(pattern, NULL, "", false, &label);
	name->family = strbuf_steal(&family);
	name->info_label = strbuf_steal(&label);
	name->help = PROM_INFO_HELP;
}

struct prom_name prom_name_source(const struct catalogue_entry *e)
{
	const struct exception *exception = find_exception(e);
	const struct unit *native = e->unit ? unit_find(e->unit) : NULL;
	const char *unit = exception->unit ? exception->unit
		: native                   ? native->prom_base
					   : "";
	const char *pattern = e->name;
	const char *prefix = prefix_of(e, &pattern);
	struct prom_name name = { .role = exception->role,
		.is_counter = e->kind == KIND_COUNTER,
		.help = exception->help ? exception->help : e->help,
		.unit = exception->role == PROM_SAMPLE ||
				exception->role == PROM_HISTOGRAM
			? unit
			: "",
		.factor = exception->factor ? exception->factor : 1 };
	struct strbuf family = STRBUF_INIT;

	find_places(e->name, &name);
	if (name.role == PROM_LEFT_OUT)
		return name;
	if (name.role == PROM_INFO) {
		name_info(pattern, prefix, &name);
		return name;
	}
	strbuf_adds(&family, prefix);
	add_words(exception->name ? exception->name : pattern, e->unit, unit,
		name.is_counter, &family);
	if (*unit)
		add_word(unit, &family);
	if (name.is_counter)
		add_word("total", &family);
	name.family = strbuf_steal(&family);
	return name;
}

struct prom_name prom_name_custom(bool is_host, const char *shown,
	const struct unit *unit, bool is_counter, const char *help)
{
	_cleanup_strbuf_ struct strbuf plain = STRBUF_INIT;
	struct strbuf family = STRBUF_INIT;

	prom_name_plain(shown, &plain);
	strbuf_adds(&family, is_host ? "vhostmd_host_custom" : "vhostmd_vm_custom");
	if (plain.len)
		add_word(strbuf_str(&plain), &family);
	const char *base = unit ? unit->prom_base : "";

	if (*base && !ends_with_word(&family, base))
		add_word(base, &family);
	if (is_counter)
		add_word("total", &family);
	return (struct prom_name){ .role = PROM_SAMPLE,
		.is_counter = is_counter,
		.family = strbuf_steal(&family),
		.help = help,
		.unit = base,
		.factor = 1 };
}

void prom_name_tell_apart(struct prom_name *name, const char *shown)
{
	_cleanup_strbuf_ struct strbuf plain = STRBUF_INIT;
	_cleanup_free_ char *label = TAKE_PTR(name->info_label);

	prom_name_plain(shown, &plain);
	name->info_label =
		xasprintf("%s%s%s", label, plain.len ? "_" : "", strbuf_str(&plain));
}

void prom_name_done(struct prom_name *name)
{
	free(name->family);
	free(name->info_label);
}

void prom_name_print(const struct catalogue_entry *e, struct strbuf *out)
{
	_cleanup_prom_name_ struct prom_name name = prom_name_source(e);
	bool is_info = name.role == PROM_INFO;

	if (name.family)
		strbuf_adds(out, name.family);
	if (name.role == PROM_HISTOGRAM)
		strbuf_adds(out, "_bucket{le}");
	if (!name.family || (!name.n_places && !is_info))
		return;
	strbuf_addc(out, '{');
	for (size_t i = 0; i < name.n_places; i++)
		strbuf_addf(out, "%s%s", i ? "," : "", name.places[i]);
	if (is_info)
		strbuf_addf(out, "%s%s", name.n_places ? "," : "", name.info_label);
	strbuf_addc(out, '}');
}

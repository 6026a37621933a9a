/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The <metrics> part of the configuration. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf_reader.h"
#include "core/catalogue.h"
#include "core/spec.h"
#include "core/unit.h"
#include "util/cleanup.h"
#include "util/limits.h"
#include "util/mem.h"

#define TYPE_WORDS                                                                       \
	"int32, uint32, int64, uint64, real32, real64, string, histogram, group or xml"

static void read_kind(struct conf_reader *rd, xmlNode *node, struct metric_spec *spec)
{
	_cleanup_free_ char *type = conf_reader_word(rd, node, "type");

	if (type && !strcmp(type, "group"))
		spec->kind = SPEC_GROUP;
	else if (type && !strcmp(type, "xml"))
		spec->kind = SPEC_XML;
	else if (type && metric_type_parse(type, &spec->type) == 0)
		spec->kind = SPEC_ACTION;
	else if (type && !strcmp(type, metric_type_name(METRIC_HISTOGRAM)))
		spec->type = METRIC_HISTOGRAM;
	else if (type) {
		spec->kind = SPEC_ACTION;
		conf_reader_error(
			rd, node, "type must be " TYPE_WORDS ", not '%s'", type);
	} else
		spec->type = METRIC_TYPE_COUNT; /* a <source> may supply it */
}

static void read_context(struct conf_reader *rd, xmlNode *node, struct metric_spec *spec)
{
	_cleanup_free_ char *context = conf_reader_word(rd, node, "context");

	if (context && !strcmp(context, "vm"))
		spec->context = CONTEXT_VM;
	else if (context && !strcmp(context, "host"))
		spec->context = CONTEXT_HOST;
	else if (context)
		conf_reader_error(
			rd, node, "context must be host or vm, not '%s'", context);
	else
		conf_reader_error(
			rd, node, "attribute context=\"host\" or \"vm\" is missing");
}

static void read_guest(struct conf_reader *rd, xmlNode *node, struct metric_spec *spec)
{
	_cleanup_free_ char *guest = conf_reader_word(rd, node, "guest");

	spec->guest = !guest || strcmp(guest, "no") != 0;
	if (guest && strcmp(guest, "no") && strcmp(guest, "yes"))
		conf_reader_error(rd, node, "guest must be yes or no, not '%s'", guest);
}

static bool check_name(struct conf_reader *rd, xmlNode *node, const char *name)
{
	if (strlen(name) > LIMIT_NAME_BYTES) {
		conf_reader_error(rd, node, "a name must have at most %u bytes, not %zu",
			LIMIT_NAME_BYTES, strlen(name));
		return false;
	}
	for (const char *p = name; *p; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f) {
			conf_reader_error(
				rd, node, "a name must not hold control characters");
			return false;
		}
	}
	return true;
}

static void read_name(struct conf_reader *rd, xmlNode *node, struct metric_spec *spec)
{
	char *name = conf_reader_text(rd, node);

	free(spec->name);
	spec->name = name;
	if (name)
		check_name(rd, node, name);
}

static void read_action(struct conf_reader *rd, xmlNode *node, struct metric_spec *spec)
{
	static const char *const attributes[] = { "names", NULL };
	_cleanup_free_ char *names = conf_reader_attribute(node, "names");

	conf_reader_check_attributes(rd, node, attributes);
	spec->any_name = names && !strcmp(names, "any");
	if (names && strcmp(names, "any") && strcmp(names, "safe"))
		conf_reader_error(rd, node, "names must be safe or any, not '%s'", names);
	free(spec->action);
	spec->action = conf_reader_text(rd, node);
	if (spec->action && strlen(spec->action) > LIMIT_ACTION_TEXT_BYTES)
		conf_reader_error(rd, node, "<action> is longer than %u bytes",
			LIMIT_ACTION_TEXT_BYTES);
}

static void read_source_unit(
	struct conf_reader *rd, xmlNode *node, struct metric_spec *spec)
{
	_cleanup_free_ char *symbol = conf_reader_attribute(node, "unit");
	const char *native = spec->entry->unit;

	if (!symbol)
		return;
	const struct unit *unit = unit_find(symbol);

	if (!unit)
		conf_reader_error(rd, node, "unit '%s' is unknown; known are %s", symbol,
			unit_symbols());
	else if (spec->entry->type == METRIC_HISTOGRAM)
		conf_reader_error(rd, node,
			"'%s' is a histogram, which is shown in base units",
			spec->source);
	else if (!native || unit->dimension != unit_find(native)->dimension)
		conf_reader_error(rd, node,
			"'%s' is in %s, which cannot be converted to %s", spec->source,
			native ? native : "text", symbol);
	else
		spec->convert = unit;
}

/* Which part of the metadata it is: an element below <metadata>, by its names, or an attribute. */
static void read_element(struct conf_reader *rd, xmlNode *node, struct metric_spec *spec)
{
	_cleanup_free_ char *namespace = conf_reader_attribute(node, "namespace");
	_cleanup_free_ char *element = conf_reader_attribute(node, "element");
	bool wanted = spec->entry->key == DOMAIN_METADATA &&
		spec->entry->collector == COLLECTOR_DOMAIN;

	free(TAKE_PTR(spec->element));
	if (!wanted && (namespace || element))
		conf_reader_odd(rd, node,
			"namespace and element belong to the source 'domain.metadata'");
	if (!wanted)
		return;
	if (!namespace || !*namespace || !element || !*element)
		conf_reader_error(rd, node,
			"'domain.metadata' needs namespace=\"URI\" and "
			"element=\"name/name\" or \"name/@attribute\"");
	else if (strlen(namespace) + strlen(element) > LIMIT_METADATA_KEY_BYTES)
		conf_reader_error(rd, node,
			"namespace and element have more than %u bytes",
			LIMIT_METADATA_KEY_BYTES);
	else
		spec->element = xasprintf("{%s}%s", namespace, element);
}

static void read_source(struct conf_reader *rd, xmlNode *node, struct metric_spec *spec)
{
	static const char *const attributes[] = { "unit", "namespace", "element", NULL };

	conf_reader_check_attributes(rd, node, attributes);
	free(spec->source);
	spec->source = conf_reader_text(rd, node);
	if (!spec->source)
		return;
	spec->entry = catalogue_find(spec->source);
	if (spec->entry) {
		read_source_unit(rd, node, spec);
		read_element(rd, node, spec);
		return;
	}
	const char *suggestion = catalogue_suggest(spec->source);

	conf_reader_error(rd, node,
		"source '%s' is unknown%s%s%s (see vhostmd --list-sources)", spec->source,
		suggestion ? "; did you mean '" : "", suggestion ? suggestion : "",
		suggestion ? "'?" : "");
}

static void read_variable(struct conf_reader *rd, xmlNode *node, struct metric_spec *spec)
{
	static const char *const attributes[] = { "name", "type", "unit", NULL };
	_cleanup_free_ char *name = conf_reader_attribute(node, "name");
	_cleanup_free_ char *type = conf_reader_word(rd, node, "type");
	struct spec_variable var = { .type = METRIC_STRING };

	conf_reader_check_attributes(rd, node, attributes);
	if (!name || !*name)
		conf_reader_error(rd, node, "<variable> has no name");
	else
		check_name(rd, node, name);
	if (!type)
		conf_reader_error(rd, node, "<variable> has no type");
	else if (metric_type_parse(type, &var.type) < 0)
		conf_reader_error(rd, node,
			"type of a variable must be one of int32, uint32, int64, uint64, real32, "
			"real64 and string, not '%s'",
			type);
	if (spec->n_variables == LIMIT_CONF_VARIABLES) {
		conf_reader_error(rd, node, "a group has at most %u variables",
			LIMIT_CONF_VARIABLES);
		return;
	}
	var.name = TAKE_PTR(name);
	var.unit = conf_reader_attribute(node, "unit");
	if (!var.unit && spec->unit)
		var.unit = xstrdup(spec->unit); /* the group's */
	spec->variables = xreallocarray(
		spec->variables, spec->n_variables + 1, sizeof(*spec->variables));
	spec->variables[spec->n_variables++] = var;
}

static size_t count_stars(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += *s == '*';
	return n;
}

/* Numbers become each other, and what is none is what it is. */
static bool is_convertible(enum metric_type from, enum metric_type to)
{
	return from == to || (from < METRIC_STRING && to < METRIC_STRING);
}

static void check_source(struct conf_reader *rd, xmlNode *node, struct metric_spec *spec)
{
	const struct catalogue_entry *e = spec->entry;

	if (spec->kind == SPEC_GROUP || spec->kind == SPEC_XML) {
		conf_reader_error(rd, node, "a group or xml metric needs an <action>");
		return;
	}
	spec->kind = SPEC_SOURCE;
	if (!e)
		return;
	if (spec->type == METRIC_TYPE_COUNT)
		spec->type = spec->convert && e->type != METRIC_STRING &&
				spec->convert->factor > unit_find(e->unit)->factor
			? METRIC_REAL64
			: e->type;
	if (!is_convertible(e->type, spec->type))
		conf_reader_error(rd, node, "source '%s' is a %s, which is no %s",
			spec->source, metric_type_name(e->type),
			metric_type_name(spec->type));
	if (spec->context != e->context)
		conf_reader_error(rd, node, "source '%s' belongs to context \"%s\"",
			spec->source, e->context == CONTEXT_HOST ? "host" : "vm");
	if (spec->name && count_stars(spec->name) != count_stars(spec->source))
		conf_reader_error(rd, node,
			"name '%s' needs as many '*' as its source '%s': each stands for a number",
			spec->name, spec->source);
}

static void check_action(struct conf_reader *rd, xmlNode *node, struct metric_spec *spec)
{
	if (spec->type == METRIC_HISTOGRAM)
		conf_reader_error(rd, node, "a histogram needs a <source>");
	else if (spec->kind == SPEC_SOURCE)
		conf_reader_error(rd, node, "attribute type is missing: " TYPE_WORDS);
	if (spec->kind == SPEC_GROUP && !spec->n_variables)
		conf_reader_error(rd, node, "a group needs at least one <variable>");
}

static void check_duplicate(struct conf_reader *rd, xmlNode *node,
	const struct spec_set *set, const struct metric_spec *spec)
{
	/* A group's or xml metric's own name is never shown. */
	if (spec->kind == SPEC_GROUP || spec->kind == SPEC_XML)
		return;
	for (size_t i = 0; i < set->n; i++) {
		const struct metric_spec *other = &set->specs[i];

		if (other->kind != SPEC_GROUP && other->kind != SPEC_XML &&
			other->context == spec->context &&
			!strcmp(other->name, spec->name)) {
			conf_reader_warning(rd, node,
				"metric '%s' stands also in line %u; files show that one",
				spec->name, other->line);
			return;
		}
	}
}

static void read_children(struct conf_reader *rd, xmlNode *node, struct metric_spec *spec)
{
	static const char *const none[] = { NULL };
	xmlNode *name = NULL, *action = NULL, *source = NULL;

	for (xmlNode *child = conf_reader_first(rd, node); child;
		child = conf_reader_next(rd, child)) {
		const char *tag = (const char *)child->name;

		if (!strcmp(tag, "variable") && spec->kind == SPEC_GROUP)
			read_variable(rd, child, spec);
		else if (!strcmp(tag, "variable"))
			conf_reader_odd(rd, child,
				"<variable> belongs to metrics of type \"group\"");
		else if (conf_reader_seen_before(child))
			conf_reader_odd(rd, child,
				"<%s> stands more than once; the first counts", tag);
		else if (!strcmp(tag, "name"))
			name = child, conf_reader_check_attributes(rd, child, none),
			read_name(rd, child, spec);
		else if (!strcmp(tag, "action"))
			read_action(rd, action = child, spec);
		else if (!strcmp(tag, "source"))
			read_source(rd, source = child, spec);
		else
			conf_reader_odd(rd, child,
				"<%s> is unknown in <metric>; known are <name>, <action>, <source> "
				"and <variable>",
				tag);
	}
	if (!name)
		conf_reader_error(rd, node, "<metric> has no <name>");
	if (source && action)
		conf_reader_error(
			rd, node, "a metric has <action> or <source>, not both");
	else if (source)
		check_source(rd, source, spec);
	else if (action)
		check_action(rd, node, spec);
	else
		conf_reader_error(rd, node, "<metric> has neither <action> nor <source>");
}

/* Return: false if the metric cannot be used. */
static bool read_metric(struct conf_reader *rd, xmlNode *node, struct metric_spec *spec)
{
	static const char *const attributes[] = { "type", "context", "unit", "cnt",
		"guest", NULL };

	rd->unusable = false;
	spec->line = (unsigned)xmlGetLineNo(node);
	conf_reader_check_attributes(rd, node, attributes);
	read_kind(rd, node, spec);
	read_context(rd, node, spec);
	read_guest(rd, node, spec);
	spec->unit = conf_reader_attribute(node, "unit");
	read_children(rd, node, spec);
	if (rd->unusable)
		conf_reader_note(rd, node, "metric '%s' is left out",
			spec->name ? spec->name : "");
	return !rd->unusable;
}

/* @set: with room for all. */
static void read_metrics(struct conf_reader *rd, xmlNode *metrics, struct spec_set *set)
{
	for (xmlNode *node = conf_reader_first(rd, metrics); node;
		node = conf_reader_next(rd, node)) {
		struct metric_spec spec = { 0 };

		if (strcmp((const char *)node->name, "metric") != 0) {
			conf_reader_odd(rd, node,
				"<%s> is unknown in <metrics>; it holds <metric>",
				(const char *)node->name);
		} else if (set->n == LIMIT_CONF_METRICS) {
			conf_reader_odd(rd, node,
				"there are more than %u metrics; the rest is left out",
				LIMIT_CONF_METRICS);
			return;
		} else if (read_metric(rd, node, &spec)) {
			check_duplicate(rd, node, set, &spec);
			set->specs[set->n++] = spec;
		} else {
			spec_done(&spec);
		}
	}
}

static bool is_metrics(const xmlNode *node)
{
	return !strcmp((const char *)node->name, "metrics");
}

struct spec_set *conf_reader_metrics(struct conf_reader *rd, xmlNode *root)
{
	size_t n = 0;

	for (xmlNode *node = xmlFirstElementChild(root); node;
		node = xmlNextElementSibling(node))
		n += is_metrics(node) ? xmlChildElementCount(node) : 0;
	struct spec_set *set =
		spec_set_new(n < LIMIT_CONF_METRICS ? n : LIMIT_CONF_METRICS);

	set->n = 0;
	for (xmlNode *node = xmlFirstElementChild(root); node;
		node = xmlNextElementSibling(node))
		if (is_metrics(node))
			read_metrics(rd, node, set);
	if (n && !set->n) {
		conf_reader_refuse(rd, root, "there is no metric that can be used");
		spec_set_unref(set);
		return NULL;
	}
	return set;
}

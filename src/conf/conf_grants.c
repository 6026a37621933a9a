/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "conf/conf_grants.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "conf/conf.h"
#include "conf/conf_reader.h"
#include "conf/host_key.h"
#include "core/grants.h"
#include "core/spec.h"
#include "util/cleanup.h"
#include "util/glob.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"

struct grants_reader {
	struct conf_reader *rd;
	struct conf *conf;
	struct grants *g;
	bool has_rest;
};

static const char *const name_words[] = { [GRANTS_NAME_PLAIN] = "plain",
	[GRANTS_NAME_PER_HOST] = "per-host",
	[GRANTS_NAME_PER_VM] = "per-vm" };
static_assert(ARRAY_LEN(name_words) == GRANTS_NAME_COUNT, "a word for each");

/* ---- which metrics there are ---- */

static bool is_shown(const struct metric_spec *spec)
{
	return spec->context == CONTEXT_HOST && spec->guest;
}

/*
 * Calls @found for each of the host's metrics that guests may see, as far as the configuration
 * tells.  Return: false if a command prints names of its own.
 */
static bool each_metric(const struct spec_set *specs,
	void (*found)(void *ctx, const char *name), void *ctx)
{
	bool all = true;

	for (size_t i = 0; i < specs->n; i++) {
		const struct metric_spec *spec = &specs->specs[i];

		if (!is_shown(spec))
			continue;
		if (spec->kind == SPEC_XML)
			all = false;
		else if (spec->kind != SPEC_GROUP)
			found(ctx, spec->name);
		for (size_t k = 0; k < spec->n_variables; k++)
			found(ctx, spec->variables[k].name);
	}
	return all;
}

struct search {
	const char *pattern;
	bool found;
};

static void compare(void *ctx, const char *name)
{
	struct search *search = ctx;

	search->found |= glob_match(search->pattern, name);
}

/* ---- sets ---- */

static bool check_pattern(struct conf_reader *rd, xmlNode *node, const char *pattern)
{
	_cleanup_free_ char *copy = xstrdup(pattern);
	bool ok = glob_valid(pattern) && strlen(pattern) <= LIMIT_NAME_BYTES &&
		!strcmp(str_trim(copy), pattern);

	if (!ok)
		conf_reader_error(rd, node,
			"'%s' is no pattern: at most %u bytes without blanks around them, "
			"of which '*' is any number of characters, '?' is one, and '[', ']' "
			"and '\\' are none",
			pattern, LIMIT_NAME_BYTES);
	return ok;
}

static void read_set_metric(
	struct grants_reader *gr, xmlNode *node, struct grants_set *set)
{
	static const char *const none[] = { NULL };
	_cleanup_free_ char *text = NULL;

	conf_reader_check_attributes(gr->rd, node, none);
	if (strcmp((const char *)node->name, "metric") != 0) {
		conf_reader_error(gr->rd, node,
			"<%s> is unknown in <set>; it holds <metric>",
			(const char *)node->name);
		return;
	}
	text = conf_reader_text(gr->rd, node);
	if (!text || !check_pattern(gr->rd, node, text))
		return;
	if (set->n_metrics == LIMIT_CONF_METRICS) {
		conf_reader_error(
			gr->rd, node, "a set has at most %u metrics", LIMIT_CONF_METRICS);
		return;
	}
	struct search search = { .pattern = text };

	if (each_metric(gr->conf->specs, compare, &search) && !search.found)
		conf_reader_warning(
			gr->rd, node, "no metric of the host is called '%s'", text);
	grants_add_metric(set, text);
}

static void read_host_name(
	struct grants_reader *gr, xmlNode *node, struct grants_set *set)
{
	_cleanup_free_ char *word = conf_reader_word(gr->rd, node, "host_name");
	bool known = !word;

	for (size_t i = 0; word && i < ARRAY_LEN(name_words); i++)
		if (!strcmp(word, name_words[i])) {
			set->host_name = (enum grants_name)i;
			known = true;
		}
	if (!known)
		conf_reader_error(gr->rd, node,
			"host_name must be plain, per-host or per-vm, not '%s'", word);
}

/* Return: NULL after reporting that there can be no such set. */
static struct grants_set *new_set(struct grants_reader *gr, xmlNode *node)
{
	struct grants *g = gr->g;
	_cleanup_free_ char *name = conf_reader_attribute(node, "name");
	size_t old = name ? grants_find_set(g, name) : g->n_sets;

	if (!name || !*name) {
		conf_reader_error(gr->rd, node, "<set> has no name");
	} else if (old < g->n_sets) {
		conf_reader_error(gr->rd, node, "there is another set '%s'%s", name,
			old <= GRANTS_NONE ? ", which is built in" : "");
		g->sets[old].closed = true; /* which was meant is not known */
		conf_reader_note(gr->rd, node, "set '%s' grants nothing", name);
	} else if (g->n_sets == LIMIT_GRANT_SETS) {
		conf_reader_error(
			gr->rd, node, "there are more than %u sets", LIMIT_GRANT_SETS);
	} else {
		return grants_add_set(g, name);
	}
	return NULL;
}

static void read_set(struct grants_reader *gr, xmlNode *node)
{
	static const char *const attributes[] = { "name", "host_name", NULL };
	struct conf_reader *rd = gr->rd;
	unsigned before = rd->report->errors;
	struct grants_set *set = new_set(gr, node);

	if (!set)
		return;
	conf_reader_check_attributes(rd, node, attributes);
	read_host_name(gr, node, set);
	for (xmlNode *child = conf_reader_first(rd, node); child;
		child = conf_reader_next(rd, child))
		read_set_metric(gr, child, set);
	set->closed = rd->report->errors != before;
	if (set->closed)
		conf_reader_note(rd, node, "set '%s' grants nothing", set->name);
}

/* ---- who has which ---- */

/* Return: the set that an element names; GRANTS_NONE after reporting that there is none. */
static size_t find_set(struct grants_reader *gr, xmlNode *node)
{
	_cleanup_free_ char *name = conf_reader_attribute(node, "set");
	size_t set = name ? grants_find_set(gr->g, name) : gr->g->n_sets;

	if (set < gr->g->n_sets)
		return set;
	if (name)
		conf_reader_error(gr->rd, node, "there is no set '%s'", name);
	else
		conf_reader_error(
			gr->rd, node, "<%s> names no set", (const char *)node->name);
	return GRANTS_NONE;
}

static void check_empty(struct conf_reader *rd, xmlNode *node)
{
	if (conf_reader_first(rd, node))
		conf_reader_error(
			rd, node, "<%s> holds nothing", (const char *)node->name);
}

static void read_whom(struct conf_reader *rd, xmlNode *node, struct grants_rule *rule)
{
	static const char *const attributes[] = { "name", "uuid", "set", NULL };
	_cleanup_free_ char *name = conf_reader_attribute(node, "name");
	_cleanup_free_ char *uuid = conf_reader_attribute(node, "uuid");
	unsigned before = rd->report->errors;

	conf_reader_check_attributes(rd, node, attributes);
	check_empty(rd, node);
	if (!name == !uuid)
		conf_reader_error(rd, node, "<vm> has a name or a uuid");
	else if (uuid && uuid_parse(uuid, &rule->uuid) < 0)
		conf_reader_error(rd, node, "'%s' is no uuid", uuid);
	else if (name)
		check_pattern(rd, node, name);
	if (rd->report->errors != before)
		return;
	rule->whom = name ? WHOM_NAME : WHOM_UUID;
	rule->name = TAKE_PTR(name);
}

static void note_every(struct conf_reader *rd, xmlNode *node)
{
	conf_reader_note(rd, node,
		"VMs for which no line before it is see nothing of the host, as nobody "
		"knows for which this one was meant");
}

static void read_vm(struct grants_reader *gr, xmlNode *node)
{
	struct grants_rule rule = { .whom = WHOM_EVERY };

	read_whom(gr->rd, node, &rule);
	rule.set = find_set(gr, node);
	if (rule.whom == WHOM_EVERY) {
		rule.set = GRANTS_NONE;
		note_every(gr->rd, node);
	} else if (gr->rd->unusable) {
		conf_reader_note(gr->rd, node, "these VMs see nothing of the host");
	}
	*grants_add_rule(gr->g) = rule;
}

static void read_default(struct grants_reader *gr, xmlNode *node)
{
	static const char *const attributes[] = { "set", NULL };
	struct conf_reader *rd = gr->rd;
	unsigned before = rd->report->errors;
	size_t set = find_set(gr, node);

	conf_reader_check_attributes(rd, node, attributes);
	check_empty(rd, node);
	if (gr->has_rest)
		conf_reader_error(rd, node, "<default> stands more than once");
	gr->g->rest = rd->report->errors == before ? set : GRANTS_NONE;
	gr->has_rest = true;
	if (rd->report->errors != before)
		conf_reader_note(
			rd, node, "VMs for which no <vm> is see nothing of the host");
}

static void read_key(struct grants_reader *gr, xmlNode *node)
{
	static const char *const none[] = { NULL };
	struct conf *conf = gr->conf;
	unsigned before = gr->rd->report->errors;
	char *text = conf_reader_text(gr->rd, node);

	conf_reader_check_attributes(gr->rd, node, none);
	if (text && *text != '/')
		conf_reader_error(gr->rd, node,
			"<host_key> must be an absolute path, not '%s'", text);
	if (conf_reader_seen_before(node))
		conf_reader_error(gr->rd, node, "<host_key> stands more than once");
	free(conf->host_key_path);
	conf->host_key_path = text;
	conf->host_key_line = (unsigned)xmlGetLineNo(node);
	if (gr->rd->report->errors == before)
		return;
	free(TAKE_PTR(conf->host_key_path));
	conf_reader_note(gr->rd, node, "sets that need the key grant nothing");
}

static void read_element(struct grants_reader *gr, xmlNode *node)
{
	const char *name = (const char *)node->name;

	gr->rd->unusable = false;
	if (!strcmp(name, "set")) {
		/* done */
	} else if (!strcmp(name, "default")) {
		read_default(gr, node);
	} else if (!strcmp(name, "host_key")) {
		read_key(gr, node);
	} else if (!strcmp(name, "vm")) {
		read_vm(gr, node);
	} else {
		conf_reader_error(gr->rd, node,
			"<%s> is unknown in <grants>; known are <set>, <default>, <vm> and "
			"<host_key>",
			name);
		grants_add_rule(gr->g);
		note_every(gr->rd, node);
	}
}

/* Between elements, too, something may stand that was meant to close. */
static xmlNode *next_element(struct grants_reader *gr, xmlNode *parent, xmlNode *node)
{
	unsigned before = gr->rd->report->errors;

	node = node ? conf_reader_next(gr->rd, node) : conf_reader_first(gr->rd, parent);
	if (gr->rd->report->errors != before) {
		grants_add_rule(gr->g);
		note_every(gr->rd, node ? node : parent);
	}
	return node;
}

static void read_part(struct grants_reader *gr, xmlNode *part)
{
	static const char *const none[] = { NULL };
	unsigned before = gr->rd->report->errors;

	conf_reader_check_attributes(gr->rd, part, none);
	if (gr->rd->report->errors != before) {
		grants_add_rule(gr->g);
		note_every(gr->rd, part);
	}
	for (xmlNode *node = xmlFirstElementChild(part); node;
		node = xmlNextElementSibling(node))
		if (!strcmp((const char *)node->name, "set"))
			read_set(gr, node);
	for (xmlNode *node = next_element(gr, part, NULL); node;
		node = next_element(gr, part, node)) {
		if (gr->g->n_rules >= LIMIT_GRANT_RULES) {
			conf_reader_error(gr->rd, node, "there are more than %u <vm>",
				LIMIT_GRANT_RULES);
			grants_add_rule(gr->g);
			note_every(gr->rd, node);
			return;
		}
		read_element(gr, node);
	}
}

/* ---- the whole ---- */

/* Counts what may have been meant to be <grants>.  @found: the first of them, if it is NULL. */
static unsigned count_grants(xmlNode *parent, xmlNode **found)
{
	unsigned n = 0;

	for (xmlNode *node = xmlFirstElementChild(parent); node;
		node = xmlNextElementSibling(node)) {
		const char *name = (const char *)node->name;

		if (!strcasecmp(name, "grants") || !strcasecmp(name, "grant")) {
			n++;
			*found = *found ? *found : node;
		}
		n += count_grants(node, found);
	}
	return n;
}

static void warn_of_shared_disk(struct grants_reader *gr, const xmlNode *part)
{
	const struct grants *g = gr->g;

	if (conf_has_shared_disk(gr->conf) && !grants_are_open(g))
		conf_reader_warning(gr->rd, part,
			"every guest that has the shared disk sees the metrics of all VMs "
			"there, and of the host what set '%s' grants",
			g->sets[g->rest].name);
}

void conf_read_grants(struct conf_reader *rd, xmlNode *root, struct conf *conf)
{
	struct grants_reader gr = { .rd = rd, .conf = conf };
	xmlNode *part = NULL;
	unsigned n = count_grants(root, &part);

	if (!n)
		return;
	conf->grants = gr.g = grants_new();
	if (n > 1 || part->parent != root || strcmp((const char *)part->name, "grants")) {
		gr.g->rest = GRANTS_NONE;
		conf_reader_error(rd, part,
			"<grants> must stand once, directly in <vhostmd>, and is not read");
		conf_reader_note(rd, part, "VMs see nothing of the host");
		return;
	}
	conf->host_key_path = xstrdup(HOST_KEY_PATH);
	conf->host_key_line = (unsigned)xmlGetLineNo(part);
	read_part(&gr, part);
	warn_of_shared_disk(&gr, part);
}

struct listing {
	const struct grants_set *set;
	struct strbuf *out;
	unsigned n;
};

static void list_metric(void *ctx, const char *name)
{
	struct listing *listing = ctx;

	if (grants_set_names(listing->set, name))
		strbuf_addf(listing->out, "%s %s", listing->n++ ? "," : ":", name);
}

static void describe_set(
	const struct conf *conf, const struct grants_set *set, struct strbuf *out)
{
	struct listing listing = { .set = set, .out = out };

	strbuf_addf(out, "  set %s", set->name);
	if (set->host_name != GRANTS_NAME_PLAIN)
		strbuf_addf(
			out, ", the host's name hashed %s", name_words[set->host_name]);
	bool all = each_metric(conf->specs, list_metric, &listing);

	if (!all && set->n_metrics)
		strbuf_addf(out, "%s of those that a command names, what fits",
			listing.n ? "," : ":");
	else if (!listing.n)
		strbuf_adds(out, ": nothing");
	strbuf_addc(out, '\n');
}

static void describe_rule(
	const struct grants *g, const struct grants_rule *rule, struct strbuf *out)
{
	char uuid[UUID_TEXT_LEN + 1];

	switch (rule->whom) {
	case WHOM_NAME:
		strbuf_addf(out, "  VMs of name %s", rule->name);
		break;
	case WHOM_UUID:
		uuid_format(&rule->uuid, uuid);
		strbuf_addf(out, "  the VM of uuid %s", uuid);
		break;
	case WHOM_EVERY:
		strbuf_adds(out, "  other VMs");
		break;
	}
	strbuf_addf(out, ": set %s\n", g->sets[rule->set].name);
}

void conf_describe_grants(const struct conf *conf, struct strbuf *out)
{
	const struct grants *g = conf->grants;

	if (!g) {
		strbuf_adds(out, "grants: every VM sees all metrics of the host\n");
		return;
	}
	strbuf_adds(out, "grants, what VMs see of the host:\n");
	for (size_t i = GRANTS_NONE + 1; i < g->n_sets; i++)
		describe_set(conf, &g->sets[i], out);
	for (size_t i = 0; i < g->n_rules; i++)
		describe_rule(g, &g->rules[i], out);
	strbuf_addf(out, "  %sVMs: set %s\n", g->n_rules ? "other " : "",
		g->sets[g->rest].name);
}

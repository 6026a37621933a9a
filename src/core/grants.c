/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/grants.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/catalogue.h"
#include "core/metric_list.h"
#include "core/snapshot.h"
#include "util/glob.h"
#include "util/hash.h"
#include "util/libc.h"
#include "util/mem.h"
#include "util/refs.h"

struct grants *grants_new(void)
{
	struct grants *g = xcalloc(1, sizeof(*g));

	refs_init(&g->refs);
	grants_add_metric(grants_add_set(g, "all"), "*");
	grants_add_set(g, "none");
	g->rest = GRANTS_ALL;
	return g;
}

struct grants *grants_ref(struct grants *g)
{
	if (g)
		refs_take(&g->refs);
	return g;
}

void grants_unref(struct grants *g)
{
	if (!g || !refs_drop(&g->refs))
		return;
	for (size_t i = 0; i < g->n_sets; i++) {
		for (size_t k = 0; k < g->sets[i].n_metrics; k++)
			free(g->sets[i].metrics[k]);
		free(g->sets[i].metrics);
		free(g->sets[i].name);
	}
	for (size_t i = 0; i < g->n_rules; i++)
		free(g->rules[i].name);
	free(g->sets);
	free(g->rules);
	free(g);
}

struct grants_set *grants_add_set(struct grants *g, const char *name)
{
	g->sets = xreallocarray(g->sets, g->n_sets + 1, sizeof(*g->sets));
	g->sets[g->n_sets] = (struct grants_set){ .name = xstrdup(name) };
	return &g->sets[g->n_sets++];
}

struct grants_rule *grants_add_rule(struct grants *g)
{
	g->rules = xreallocarray(g->rules, g->n_rules + 1, sizeof(*g->rules));
	g->rules[g->n_rules] =
		(struct grants_rule){ .whom = WHOM_EVERY, .set = GRANTS_NONE };
	return &g->rules[g->n_rules++];
}

void grants_add_metric(struct grants_set *set, const char *pattern)
{
	set->metrics =
		xreallocarray(set->metrics, set->n_metrics + 1, sizeof(*set->metrics));
	set->metrics[set->n_metrics++] = xstrdup(pattern);
}

size_t grants_find_set(const struct grants *g, const char *name)
{
	size_t i = 0;

	while (i < g->n_sets && strcmp(g->sets[i].name, name) != 0)
		i++;
	return i;
}

bool grants_is_open(const struct grants *g, size_t set)
{
	return set == GRANTS_ALL && !g->sets[set].closed;
}

bool grants_are_open(const struct grants *g)
{
	bool open = grants_is_open(g, g->rest);

	for (size_t i = 0; i < g->n_rules; i++)
		open &= grants_is_open(g, g->rules[i].set);
	return open;
}

bool grants_need_key(const struct grants *g)
{
	bool need = false;

	for (size_t i = 0; i < g->n_sets; i++)
		need |= g->sets[i].host_name != GRANTS_NAME_PLAIN;
	return need;
}

static bool fits(const struct grants_rule *rule, const struct vm_ident *vm)
{
	switch (rule->whom) {
	case WHOM_NAME:
		return glob_match(rule->name, vm->name);
	case WHOM_UUID:
		return uuid_compare(&rule->uuid, &vm->uuid) == 0;
	case WHOM_EVERY:
		break;
	}
	return true;
}

size_t grants_set_of(const struct grants *g, const struct vm_ident *vm)
{
	if (!vm && g->n_rules)
		return GRANTS_NONE;
	for (size_t i = 0; i < g->n_rules; i++)
		if (fits(&g->rules[i], vm))
			return g->rules[i].set;
	return g->rest;
}

bool grants_set_names(const struct grants_set *set, const char *name)
{
	for (size_t i = 0; i < set->n_metrics; i++)
		if (glob_match(set->metrics[i], name))
			return true;
	return false;
}

static bool is_word_character(char c)
{
	return isalnum((unsigned char)c) || c == '-' || c == '_';
}

/* True if the host's name, without its domain, is a word of the text. */
static bool holds_host_name(const char *text)
{
	char host[HOST_NAME_BYTES];

	host_name(host);
	size_t len = strcspn(host, ".");

	for (const char *p = text; len && *p; p++)
		if (!strncasecmp(p, host, len) && !is_word_character(p[len]) &&
			(p == text || !is_word_character(p[-1])))
			return true;
	return false;
}

/* Of sources it is known; what a command prints must be looked at. */
static bool is_host_name(const struct metric *m)
{
	const struct catalogue_entry *e = m->label->spec->entry;

	if (m->value.type != METRIC_STRING)
		return false;
	if (e)
		return e->collector == COLLECTOR_HOST &&
			(e->key == HOST_NAME || e->key == HOST_NAME_SHORT);
	return !strcmp(m->label->name, "HostName") || holds_host_name(m->value.s);
}

enum grants_form grants_show(const struct grants *g, size_t set, const struct metric *m)
{
	const struct grants_set *s = &g->sets[set];

	if (s->closed || (s->host_name != GRANTS_NAME_PLAIN && !g->has_key) ||
		!grants_set_names(s, m->label->name))
		return GRANTS_HIDDEN;
	if (s->host_name == GRANTS_NAME_PLAIN || !is_host_name(m))
		return GRANTS_PLAIN;
	return s->host_name == GRANTS_NAME_PER_VM ? GRANTS_HASH_PER_VM : GRANTS_HASH;
}

static uint64_t load_le64(const uint8_t *p)
{
	uint64_t v = 0;

	for (size_t i = 0; i < sizeof(v); i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

/*
 * The first byte keeps the two kinds apart, so that no name of a host gives a hash of the
 * other kind.
 */
void grants_hash(const struct grants *g, const struct uuid *vm, const char *value,
	char ret[GRANTS_HASH_LEN + 1])
{
	size_t value_len = strlen(value), vm_len = vm ? sizeof(vm->b) : 0;
	uint8_t *text = xmalloc(1 + vm_len + value_len);

	assert(g->has_key);
	text[0] = vm != NULL;
	if (vm)
		memcpy(text + 1, vm->b, vm_len);
	memcpy(text + 1 + vm_len, value, value_len);
	snprintf(ret, GRANTS_HASH_LEN + 1, "%016" PRIx64,
		siphash24_keyed(text, 1 + vm_len + value_len, load_le64(g->key),
			load_le64(g->key + sizeof(uint64_t))));
	free(text);
}

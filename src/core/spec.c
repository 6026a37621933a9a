/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/spec.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/unit.h"
#include "util/cleanup.h"
#include "util/hash.h"
#include "util/libc.h"
#include "util/limits.h"
#include "util/lock.h"
#include "util/mem.h"
#include "util/refs.h"
#include "util/strbuf.h"

/* Labels by slot and index: a hash table with chains, which only grows. */
struct label_node {
	struct label_node *next;
	struct metric_label label;
};

/* For whom labels were made that nobody had asked for before. */
struct label_owner {
	struct label_owner *next;
	uint64_t key;
	unsigned n;
};

#define OWNER_BUCKETS 256u

/* A slot's, without an index. */
struct plain_label {
	const struct metric_label *_Atomic label; /* NULL: not made yet */
};

struct spec_labels {
	uint64_t keys[2];          /* immutable; of label_hash(); odd */
	struct plain_label *plain; /* by slot */

	struct lock lock; /* guards the rest; innermost */
	struct label_node **buckets;
	size_t n_buckets, n; /* n_buckets is a power of two */
	size_t n_indexed;    /* of them with an index: they come from outside */
	struct label_owner *owners[OWNER_BUCKETS];
};

#define FIRST_BUCKETS 64u

static struct spec_labels *labels_new(size_t n_specs)
{
	struct spec_labels *labels = xcalloc(1, sizeof(*labels));

	labels->plain = xcalloc(n_specs, sizeof(*labels->plain));
	/* without it the table may be slow, and nothing else */
	random_bytes(labels->keys, sizeof(labels->keys));
	labels->keys[0] |= 1;
	labels->keys[1] |= 1;
	lock_init(&labels->lock);
	labels->n_buckets = FIRST_BUCKETS;
	labels->buckets = xcalloc(labels->n_buckets, sizeof(struct label_node *));
	return labels;
}

static void labels_free(struct spec_labels *labels)
{
	for (size_t i = 0; i < labels->n_buckets; i++)
		while (labels->buckets[i]) {
			struct label_node *node = labels->buckets[i];

			labels->buckets[i] = node->next;
			free(node);
		}
	for (size_t i = 0; i < OWNER_BUCKETS; i++)
		while (labels->owners[i]) {
			struct label_owner *owner = labels->owners[i];

			labels->owners[i] = owner->next;
			free(owner);
		}
	free(labels->buckets);
	free(labels->plain);
	lock_done(&labels->lock);
	free(labels);
}

/*
 * An index may be a name that a QEMU invents, so nobody may know which have the same hash.
 * Nearly all are a number or two: those are multiplied with what nobody knows, which is as
 * good for so few bytes (Dietzfelbinger et al., "A reliable randomized algorithm for the
 * closest-pair problem", 1997) and costs a tenth.
 */
static size_t label_hash(
	const struct spec_labels *labels, uint32_t slot, const char *index)
{
	uint64_t word = 0;
	size_t len = 0;

	for (; index && index[len] && len < sizeof(word); len++)
		word = word << 8 | (unsigned char)index[len];
	if (len == sizeof(word))
		word = siphash24_keyed(
			index, strlen(index), labels->keys[0], labels->keys[1]);
	return (word * labels->keys[0] + slot * labels->keys[1]) >> 32;
}

/* Writes @pattern with each '*' replaced by the next '.'-separated part of @index. */
static void expand(const char *pattern, const char *index, struct strbuf *out)
{
	for (; *pattern; pattern++) {
		if (*pattern != '*' || !index) {
			strbuf_addc(out, *pattern);
			continue;
		}
		size_t part = strcspn(index, ".");

		strbuf_add(out, index, part);
		index += part + (index[part] == '.');
	}
	strbuf_addc(out, '\0');
}

/* The same in every process. */
static uint64_t text_hash(const char *s)
{
	return s ? siphash24(s, strlen(s)) : 0;
}

/*
 * What goes on when the configuration changes, and nothing else does: the same name for the
 * same source, as the same type in the same unit.  A histogram is shown under no name of the
 * configuration's, so it is the source alone.
 */
static uint64_t series_of(const struct metric_spec *spec, const char *names, size_t len)
{
	uint64_t parts[] = { siphash24(names, len), (uint64_t)spec->type,
		text_hash(spec->convert ? spec->convert->symbol : NULL) };
	uint64_t hash = siphash24(parts, sizeof(parts));

	return hash ? hash : 1;
}

/* The node and its strings are one piece of memory. */
static struct label_node *node_new(
	const struct spec_set *set, uint32_t slot, const char *index)
{
	const struct metric_spec *spec = &set->specs[slot];
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	expand(spec->name, index, &text);
	size_t source = text.len;

	expand(spec->source ? spec->source : "action", index, &text);
	size_t at = text.len;

	strbuf_add(&text, index ? index : "", index ? strlen(index) + 1 : 1);
	size_t counted = spec->type == METRIC_HISTOGRAM ? source : 0;
	struct label_node *node = xmalloc(sizeof(*node) + text.len);
	char *copy = memcpy(node + 1, text.data, text.len);

	*node = (struct label_node){
		.label = { .name = copy,
			.unit = spec->unit,
			.source = copy + source,
			.index = index ? copy + at : NULL,
			.spec = spec,
			.name_hash = siphash24(copy, strlen(copy)),
			.series = series_of(spec, copy + counted, at - counted),
			.family = series_of(spec, spec->name, strlen(spec->name)),
			.slot = slot }
	};
	return node;
}

static bool is_label(const struct metric_label *label, uint32_t slot, const char *index)
{
	return label->slot == slot && !label->index == !index &&
		(!index || !strcmp(label->index, index));
}

static void grow_locked(struct spec_labels *labels)
{
	assert_locked(&labels->lock);
	size_t n = 4 * labels->n_buckets;
	struct label_node **buckets = xcalloc(n, sizeof(struct label_node *));

	for (size_t i = 0; i < labels->n_buckets; i++)
		while (labels->buckets[i]) {
			struct label_node *node = labels->buckets[i];
			size_t to =
				label_hash(labels, node->label.slot, node->label.index) &
				(n - 1);

			labels->buckets[i] = node->next;
			node->next = buckets[to];
			buckets[to] = node;
		}
	free(labels->buckets);
	labels->buckets = buckets;
	labels->n_buckets = n;
}

/* How many labels were made for it. */
static unsigned *count_of_locked(struct spec_labels *labels, uint64_t key)
{
	assert_locked(&labels->lock);
	struct label_owner **at = &labels->owners[key % OWNER_BUCKETS];

	while (*at && (*at)->key != key)
		at = &(*at)->next;
	if (!*at) {
		*at = xcalloc(1, sizeof(**at));
		(*at)->key = key;
	}
	return &(*at)->n;
}

/* A spec's own label, without an index, always has room: there are no more than specs. */
static bool take_room_locked(
	struct spec_labels *labels, const char *index, uint64_t owner)
{
	assert_locked(&labels->lock);
	if (!index)
		return true;
	if (labels->n_indexed >= LIMIT_LABELS)
		return false;
	unsigned *count = owner ? count_of_locked(labels, owner) : NULL;

	if (count && *count >= LIMIT_VM_LABELS)
		return false;
	if (count)
		++*count;
	labels->n_indexed++;
	return true;
}

static struct label_node *add_locked(
	struct spec_set *set, uint32_t slot, const char *index, size_t hash)
{
	assert_locked(&set->labels->lock);
	struct spec_labels *labels = set->labels;

	if (labels->n++ > labels->n_buckets)
		grow_locked(labels);
	struct label_node **bucket = &labels->buckets[hash & (labels->n_buckets - 1)];
	struct label_node *node = node_new(set, slot, index);

	node->next = *bucket;
	*bucket = node;
	return node;
}

static const struct metric_label *find_label(
	struct spec_set *set, uint32_t slot, const char *index, uint64_t owner)
{
	struct spec_labels *labels = set->labels;
	size_t hash = label_hash(labels, slot, index);

	lock_take(&labels->lock);
	struct label_node *node = labels->buckets[hash & (labels->n_buckets - 1)];

	while (node && !is_label(&node->label, slot, index))
		node = node->next;
	if (!node && take_room_locked(labels, index, owner))
		node = add_locked(set, slot, index, hash);
	lock_release(&labels->lock);
	return node ? &node->label : NULL;
}

/* Most have no index, and are asked for with each sample of each VM. */
const struct metric_label *spec_label(
	struct spec_set *set, uint32_t slot, const char *index, uint64_t owner)
{
	struct plain_label *plain = &set->labels->plain[slot];
	const struct metric_label *label =
		index ? NULL : atomic_load_explicit(&plain->label, memory_order_acquire);

	if (label)
		return label;
	label = find_label(set, slot, index, owner);
	if (!index)
		atomic_store_explicit(&plain->label, label, memory_order_release);
	return label;
}

struct spec_set *spec_set_new(size_t n)
{
	struct spec_set *set = xcalloc(1, sizeof(*set));

	refs_init(&set->refs);
	set->n = n;
	set->specs = xcalloc(n, sizeof(*set->specs));
	set->labels = labels_new(n);
	return set;
}

struct spec_set *spec_set_ref(struct spec_set *set)
{
	refs_take(&set->refs);
	return set;
}

void spec_done(struct metric_spec *spec)
{
	for (size_t i = 0; i < spec->n_variables; i++) {
		free(spec->variables[i].name);
		free(spec->variables[i].unit);
	}
	free(spec->variables);
	free(spec->name);
	free(spec->unit);
	free(spec->source);
	free(spec->element);
	free(spec->action);
}

void spec_set_unref(struct spec_set *set)
{
	if (!set || !refs_drop(&set->refs))
		return;
	for (size_t i = 0; i < set->n; i++)
		spec_done(&set->specs[i]);
	labels_free(set->labels);
	free(set->specs);
	free(set);
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

bool spec_equal(const struct metric_spec *a, const struct metric_spec *b)
{
	if (!same_text(a->name, b->name) || !same_text(a->unit, b->unit) ||
		!same_text(a->source, b->source) || !same_text(a->element, b->element) ||
		!same_text(a->action, b->action))
		return false;
	if (a->context != b->context || a->kind != b->kind || a->type != b->type ||
		a->guest != b->guest || a->any_name != b->any_name ||
		a->convert != b->convert || a->n_variables != b->n_variables)
		return false;
	for (size_t i = 0; i < a->n_variables; i++)
		if (!same_text(a->variables[i].name, b->variables[i].name) ||
			!same_text(a->variables[i].unit, b->variables[i].unit) ||
			a->variables[i].type != b->variables[i].type)
			return false;
	return true;
}

/* What spec_equal() compares, and nothing else. */
uint64_t spec_fingerprint(const struct metric_spec *spec)
{
	size_t n = 10 + 3 * spec->n_variables, at = 0;
	_cleanup_free_ uint64_t *parts = xcalloc(n, sizeof(*parts));

	parts[at++] = text_hash(spec->name);
	parts[at++] = text_hash(spec->unit);
	parts[at++] = text_hash(spec->source);
	parts[at++] = text_hash(spec->element);
	parts[at++] = text_hash(spec->action);
	parts[at++] = (uint64_t)spec->context;
	parts[at++] = (uint64_t)spec->kind;
	parts[at++] = (uint64_t)spec->type;
	parts[at++] = (uint64_t)spec->guest << 1 | spec->any_name;
	parts[at++] = text_hash(spec->convert ? spec->convert->symbol : NULL);
	for (size_t i = 0; i < spec->n_variables; i++) {
		parts[at++] = text_hash(spec->variables[i].name);
		parts[at++] = text_hash(spec->variables[i].unit);
		parts[at++] = (uint64_t)spec->variables[i].type;
	}
	return siphash24(parts, n * sizeof(*parts));
}

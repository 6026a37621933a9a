/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A document as a guest's library reads it, of one VM's disk or of the shared one.  What it takes
 * libxml2 takes, too, and finds the same in it; then all that a snapshot can be asked.  Then others
 * are read like it.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <libxml/tree.h>

#include "document.h"
#include "foreign/foreign.h"
#include "fuzz.h"
#include "source.h"
#include "util/cleanup.h"
#include "util/parse.h"

/* The trimmed text of an element's first child of that name; the caller frees. */
static char *child_text(xmlNode *node, const char *name)
{
	xmlNode *child = foreign_find_child(node, name);
	xmlChar *content = child ? xmlNodeGetContent(child) : NULL;
	char *text = content ? strdup((const char *)content) : NULL;

	if (text) {
		char *trimmed = str_trim(text);

		memmove(text, trimmed, strlen(trimmed) + 1);
	}
	xmlFree(content);
	return text;
}

static bool attribute_is(xmlNode *node, const char *name, const char *value, bool trimmed)
{
	_cleanup_free_ char *is = foreign_attribute(node, name);

	return is && !strcasecmp(trimmed ? str_trim(is) : is, value);
}

static bool is_same(xmlNode *node, const struct vhostmd_metric *m)
{
	_cleanup_free_ char *name = child_text(node, "name");
	_cleanup_free_ char *text = child_text(node, "value");

	return name && !strcmp(name, m->name) &&
		(m->is_bad || (text && !strcmp(text, m->text))) &&
		(!*m->unit || attribute_is(node, "unit", m->unit, true));
}

/* Counts the metrics of a context; of them those that @m is, too, unless that is NULL. */
static size_t count(xmlNode *root, const char *context, const struct vhostmd_metric *m)
{
	size_t n = 0;

	for (xmlNode *node = root->children; node; node = node->next)
		if (foreign_is_element(node, "metric") &&
			attribute_is(node, "context", context, false) &&
			foreign_find_child(node, "name") && (!m || is_same(node, m)))
			n++;
	return n;
}

static void compare(const struct document *d)
{
	_cleanup_doc_ xmlDoc *doc = foreign_doc_parse(d->xml.data, d->xml.len);
	size_t n_host = 0;

	if (!doc)
		abort();
	xmlNode *root = xmlDocGetRootElement(doc);

	for (size_t i = 0; i < d->n_good + d->n_bad; i++) {
		bool is_host = d->metrics[i].context == METRIC_CONTEXT_HOST;

		n_host += is_host;
		if (!count(root, is_host ? "host" : "vm", &d->metrics[i]))
			abort();
	}
	if (count(root, "host", NULL) != n_host)
		abort();
}

static bool is_same_metric(const struct vhostmd_metric *a, const struct vhostmd_metric *b)
{
	return !strcmp(a->name, b->name) && !strcmp(a->unit, b->unit) &&
		!strcmp(a->text, b->text) && a->type == b->type &&
		a->context == b->context && a->is_bad == b->is_bad;
}

static struct document *make(const void *data, size_t size, const struct identity *own,
	bool is_own, const struct document *like)
{
	_cleanup_buf_ struct buf xml = BUF_INIT;
	struct document *d = NULL;

	buf_add(&xml, data, size);
	if (document_new(&xml, own, is_own, like, &d) < 0 || xml.data)
		abort();
	return d;
}

/* What is found in a document that differs in a byte from @like is the same without that. */
static void make_like(const uint8_t *data, size_t size, const struct identity *own,
	bool is_own, const struct document *like)
{
	static const char bytes[] = "0<&\r ]>x";

	for (size_t i = 0; size && i < 4 * sizeof(bytes); i++) {
		_cleanup_free_ char *text = malloc(size);
		size_t at = (i * 7919 + data[i % size] * 31u) % size;

		memcpy(text, data, size);
		text[at] = bytes[i % sizeof(bytes)];
		_cleanup_document_ struct document *a =
			make(text, size, own, is_own, like);
		_cleanup_document_ struct document *b =
			make(text, size, own, is_own, NULL);

		if (a->is_malformed != b->is_malformed || a->n_good != b->n_good ||
			a->n_bad != b->n_bad || !a->uuid != !b->uuid ||
			a->is_anonymous != b->is_anonymous || strcmp(a->id, b->id) != 0)
			abort();
		for (size_t k = 0; k < a->n_good + a->n_bad; k++)
			if (!is_same_metric(&a->metrics[k], &b->metrics[k]))
				abort();
	}
}

static void ask(const struct vhostmd_snapshot *s)
{
	for (size_t i = 0; i < vhostmd_snapshot_count(s); i++) {
		const struct vhostmd_metric *m = vhostmd_snapshot_at(s, i), *found = NULL;
		uint64_t u;
		int64_t n;
		double real;

		if (vhostmd_find(s, vhostmd_metric_context(m), vhostmd_metric_name(m),
			    &found) < 0 ||
			strcmp(vhostmd_metric_name(found), vhostmd_metric_name(m)) != 0 ||
			strlen(vhostmd_metric_text(m)) > s->document->xml.len)
			abort();
		bool is_text = vhostmd_metric_type(m) == M_STRING;

		if ((vhostmd_metric_u64(m, &u) == VHOSTMD_ERR_TYPE) != is_text ||
			(vhostmd_metric_i64(m, &n) == VHOSTMD_ERR_TYPE) != is_text ||
			(vhostmd_metric_real(m, &real) == VHOSTMD_ERR_TYPE) != is_text)
			abort();
		(void)vhostmd_metric_age(s, m);
		(void)vhostmd_rate(
			s, s, vhostmd_metric_context(m), vhostmd_metric_name(m), &real);
	}
	const struct vhostmd_metric *none = NULL;
	uint64_t session;

	(void)vhostmd_find(s, METRIC_CONTEXT_VM, "no such metric", &none);
	if (none || vhostmd_snapshot_at(s, vhostmd_snapshot_count(s)))
		abort();
	if ((vhostmd_snapshot_session(s, &session) == 0) != !!vhostmd_snapshot_uuid(s))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct identity own = { .n = 1 };

	if (uuid_parse("6be3fdb8-bef5-6fec-b1b7-e61bbceab708", &own.uuids[0]) < 0)
		abort();
	for (int is_own = 0; is_own <= 1; is_own++) {
		_cleanup_document_ struct document *d =
			make(data, size, &own, is_own, NULL);
		struct vhostmd_snapshot s = { .document = d };

		if (d->is_malformed ? d->n_good + d->n_bad != 0 : d->xml.len != size)
			abort();
		if (!d->is_malformed)
			compare(d);
		ask(&s);
		make_like(data, size, &own, is_own, d);
	}
	return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/actions/output_xml.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "foreign/foreign.h"
#include "util/cleanup.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"

/* The trimmed text of a child element; NULL if there is no such child. */
static char *child_text(xmlNode *parent, const char *name)
{
	xmlNode *node = foreign_find_child(parent, name);
	xmlChar *content = node ? xmlNodeGetContent(node) : NULL;
	_cleanup_free_ char *copy = content ? xstrdup((const char *)content) : NULL;

	xmlFree(content);
	return copy ? xstrdup(str_trim(copy)) : NULL;
}

static bool has_unknown_child(const xmlNode *node)
{
	for (const xmlNode *child = node->children; child; child = child->next)
		if (child->type == XML_ELEMENT_NODE &&
			!foreign_is_element(child, "name") &&
			!foreign_is_element(child, "value"))
			return true;
	return false;
}

static int fail(struct strbuf *why, const char *what, const char *detail)
{
	strbuf_addf(why, "%s%s%s%s", what, detail ? " '" : "", detail ? detail : "",
		detail ? "'" : "");
	return -EINVAL;
}

static int read_metric(xmlNode *node, const char *context, const char *uuid,
	struct output_metric *ret, struct strbuf *why)
{
	_cleanup_free_ char *type_text = foreign_attribute(node, "type");
	_cleanup_free_ char *own_context = foreign_attribute(node, "context");
	_cleanup_free_ char *own_uuid = foreign_attribute(node, "uuid");
	enum metric_type type;

	ret->name = child_text(node, "name");
	ret->text = child_text(node, "value");
	ret->unit = foreign_attribute(node, "unit");
	if (!ret->name || !*ret->name || strlen(ret->name) > LIMIT_NAME_BYTES)
		return fail(why, "a <metric> has no <name>, or too long a one", NULL);
	if (!ret->text)
		return fail(why, "no <value> in metric", ret->name);
	if (has_unknown_child(node))
		return fail(why, "more than <name> and <value> in metric", ret->name);
	if (!type_text || metric_type_parse(type_text, &type) < 0)
		return fail(why, "unknown type", type_text ? type_text : "");
	if (own_context && strcmp(own_context, context) != 0)
		return fail(why, "a metric is of another context", own_context);
	if (own_uuid && (!uuid || strcasecmp(own_uuid, uuid) != 0))
		return fail(why, "a metric is of another VM", own_uuid);
	if (value_parse(type, ret->text, ret->unit, &ret->value) < 0) {
		strbuf_addf(why, "the value of '%s' is no %s", ret->name, type_text);
		return -EINVAL;
	}
	return 0;
}

int output_metrics_parse(const char *text, size_t len, const char *context,
	const char *uuid, struct output_metric **ret, size_t *ret_n, struct strbuf *why)
{
	_cleanup_strbuf_ struct strbuf wrapped = STRBUF_INIT;
	size_t n = 0, cap = 0;
	int r = 0;

	if (!utf8_valid(text, len))
		return fail(why, "the output is not UTF-8", NULL);
	/* One root for several elements; an XML declaration cannot stand inside it. */
	if (len >= 5 && !strncmp(text, "<?xml", 5)) {
		const char *end = memmem(text, len, "?>", 2);

		if (end) {
			len -= (size_t)(end + 2 - text);
			text = end + 2;
		}
	}
	strbuf_adds(&wrapped, "<output>");
	strbuf_add(&wrapped, text, len);
	strbuf_adds(&wrapped, "</output>");
	_cleanup_doc_ xmlDoc *doc = foreign_doc_parse(wrapped.data, wrapped.len);
	xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL;

	if (!root)
		return fail(why, "the output is not well-formed XML", NULL);
	xmlNode *inner = foreign_find_child(root, "metrics");
	struct output_metric *metrics = NULL;

	for (xmlNode *node = (inner ? inner : root)->children; node && r == 0;
		node = node->next) {
		if (node->type == XML_TEXT_NODE && xmlIsBlankNode(node))
			continue;
		if (node->type == XML_COMMENT_NODE)
			continue;
		if (!foreign_is_element(node, "metric") ||
			n == LIMIT_ACTION_XML_METRICS) {
			r = fail(why, "the output holds more than <metric> elements",
				NULL);
			break;
		}
		metrics = xgrow(metrics, n, &cap, sizeof(*metrics));
		metrics[n] = (struct output_metric){ 0 };
		r = read_metric(node, context, uuid, &metrics[n++], why);
	}
	if (r == 0 && !n)
		r = fail(why, "the output holds no <metric>", NULL);
	if (r < 0) {
		output_metrics_free(metrics, n);
		return r;
	}
	*ret = metrics;
	*ret_n = n;
	return 0;
}

void output_metrics_free(struct output_metric *metrics, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(metrics[i].name);
		free(metrics[i].unit);
		free(metrics[i].text);
	}
	free(metrics);
}

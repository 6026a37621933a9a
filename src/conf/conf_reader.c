/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "conf/conf_reader.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <libxml/parser.h>
#include <libxml/xmlerror.h>

#include "conf/conf.h"
#include "util/cleanup.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"

enum severity { REFUSED, MISTAKE, WARNING, NOTE };

static void report_line(
	struct conf_reader *rd, long line, enum severity severity, const char *text)
{
	struct conf_report *report = rd->report;
	bool is_error = severity == REFUSED || (severity == MISTAKE && !report->tolerant);

	if (severity == NOTE && !report->tolerant)
		return;
	report->errors += severity == REFUSED || severity == MISTAKE;
	report->warnings += severity == WARNING;
	unsigned n = report->errors + report->warnings;

	if (n == LIMIT_CONF_ERRORS && severity != NOTE)
		strbuf_addf(report->text, "%s:%ld: more follows, not shown\n", rd->file,
			line);
	/* but what refuses the file is the reason that must not be missing */
	if (n < LIMIT_CONF_ERRORS || severity == REFUSED)
		strbuf_addf(report->text, "%s:%ld: %s: %s\n", rd->file, line,
			is_error                   ? "error"
				: severity == NOTE ? "note"
						   : "warning",
			text);
}

__attribute__((format(printf, 4, 0))) static void report_node(struct conf_reader *rd,
	const xmlNode *node, enum severity severity, const char *fmt, va_list ap)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	strbuf_vaddf(&text, fmt, ap);
	report_line(rd, xmlGetLineNo(node), severity, strbuf_str(&text));
}

void conf_reader_refuse(struct conf_reader *rd, const xmlNode *node, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report_node(rd, node, REFUSED, fmt, ap);
	va_end(ap);
}

void conf_reader_error(struct conf_reader *rd, const xmlNode *node, const char *fmt, ...)
{
	va_list ap;

	rd->unusable = true;
	va_start(ap, fmt);
	report_node(rd, node, MISTAKE, fmt, ap);
	va_end(ap);
}

void conf_reader_odd(struct conf_reader *rd, const xmlNode *node, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report_node(rd, node, MISTAKE, fmt, ap);
	va_end(ap);
}

void conf_reader_warning(
	struct conf_reader *rd, const xmlNode *node, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report_node(rd, node, WARNING, fmt, ap);
	va_end(ap);
}

void conf_reader_note(struct conf_reader *rd, const xmlNode *node, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report_node(rd, node, NOTE, fmt, ap);
	va_end(ap);
}

/* libxml2's own findings.  Undefined entities are reported where they stand instead. */
static void on_xml_error(void *data, xmlErrorPtr error)
{
	const xmlParserCtxt *ctxt = data;
	_cleanup_free_ char *text =
		xstrdup(error->message ? error->message : "malformed");

	if (error->level < XML_ERR_ERROR || error->code == XML_ERR_UNDECLARED_ENTITY ||
		error->code == XML_WAR_UNDECLARED_ENTITY)
		return;
	report_line(ctxt->_private, error->line,
		error->level == XML_ERR_FATAL ? REFUSED : MISTAKE, str_trim(text));
}

/*
 * Whatever a document asks for, nothing is fetched: without the options that load them, no
 * entity of another file is opened, and nobody is told of the DTD.  All of that belongs to
 * this one parser: others in the process, libvirt's drivers among them, open their own files
 * by libxml2's global loader.
 */
xmlDoc *conf_reader_open(struct conf_reader *rd, const char *text, size_t len)
{
	unsigned before = rd->report->errors;
	xmlParserCtxt *ctxt = xmlNewParserCtxt();
	xmlDoc *doc = NULL;

	if (ctxt) {
		ctxt->_private = rd;
		ctxt->sax->serror = on_xml_error;
		ctxt->sax->externalSubset = NULL;
		doc = xmlCtxtReadMemory(ctxt, text, (int)len, rd->file, NULL,
			XML_PARSE_NONET | XML_PARSE_NOCDATA | XML_PARSE_BIG_LINES);
		xmlFreeParserCtxt(ctxt);
	}
	if (doc && xmlDocGetRootElement(doc))
		return doc;
	if (rd->report->errors == before)
		report_line(rd, 1, REFUSED, "not an XML document");
	if (doc)
		xmlFreeDoc(doc);
	return NULL;
}

bool conf_reader_check_entities(struct conf_reader *rd, xmlDoc *doc)
{
	bool ok = true;

	for (xmlNode *node = doc->intSubset ? doc->intSubset->children : NULL; node;
		node = node->next) {
		if (node->type != XML_ENTITY_DECL)
			continue;
		report_line(rd, 1, REFUSED, "entity declarations are not supported");
		ok = false;
	}
	return ok;
}

static xmlNode *skip_to_element(struct conf_reader *rd, xmlNode *node)
{
	for (; node && node->type != XML_ELEMENT_NODE; node = node->next) {
		if (node->type == XML_ENTITY_REF_NODE)
			conf_reader_odd(rd, node, "entity '&%s;' is not supported",
				(const char *)node->name);
		if (node->type == XML_TEXT_NODE && !xmlIsBlankNode(node)) {
			_cleanup_free_ char *text =
				xstrndup((const char *)node->content, 40);

			conf_reader_odd(rd, node, "text '%s' stands outside any element",
				str_trim(text));
		}
	}
	return node;
}

xmlNode *conf_reader_first(struct conf_reader *rd, xmlNode *parent)
{
	return skip_to_element(rd, parent->children);
}

xmlNode *conf_reader_next(struct conf_reader *rd, xmlNode *node)
{
	return skip_to_element(rd, node->next);
}

bool conf_reader_seen_before(const xmlNode *node)
{
	for (const xmlNode *prev = node->prev; prev; prev = prev->prev)
		if (prev->type == XML_ELEMENT_NODE && xmlStrEqual(prev->name, node->name))
			return true;
	return false;
}

void conf_reader_check_attributes(
	struct conf_reader *rd, xmlNode *node, const char *const *known)
{
	for (const xmlAttr *attr = node->properties; attr; attr = attr->next) {
		bool ok = false;

		for (const char *const *k = known; *k; k++)
			ok |= !strcmp((const char *)attr->name, *k);
		if (!ok)
			conf_reader_odd(rd, node, "<%s> has no attribute '%s'",
				(const char *)node->name, (const char *)attr->name);
	}
}

char *conf_reader_text(struct conf_reader *rd, xmlNode *node)
{
	for (const xmlNode *child = node->children; child; child = child->next) {
		if (child->type == XML_ELEMENT_NODE) {
			conf_reader_error(rd, child, "<%s> holds text only, not <%s>",
				(const char *)node->name, (const char *)child->name);
			return NULL;
		}
		if (child->type == XML_ENTITY_REF_NODE) {
			conf_reader_error(rd, node,
				"entity '&%s;' in <%s> is not supported",
				(const char *)child->name, (const char *)node->name);
			return NULL;
		}
	}
	xmlChar *content = xmlNodeGetContent(node);
	_cleanup_free_ char *copy = xstrdup(content ? (const char *)content : "");
	char *text = str_trim(copy);

	xmlFree(content);
	if (!*text) {
		conf_reader_error(rd, node, "<%s> is empty", (const char *)node->name);
		return NULL;
	}
	return xstrdup(text);
}

char *conf_reader_attribute(xmlNode *node, const char *name)
{
	xmlChar *value = xmlGetProp(node, (const xmlChar *)name);
	char *copy = value ? xstrdup((const char *)value) : NULL;

	xmlFree(value);
	return copy;
}

char *conf_reader_word(struct conf_reader *rd, xmlNode *node, const char *name)
{
	char *word = conf_reader_attribute(node, name);
	bool changed = false;

	for (char *p = word; p && *p; p++)
		if (*p >= 'A' && *p <= 'Z') {
			*p += 'a' - 'A';
			changed = true;
		}
	if (changed)
		conf_reader_odd(
			rd, node, "%s \"%s\" is written in small letters", name, word);
	return word;
}

bool conf_reader_u64(
	struct conf_reader *rd, xmlNode *node, uint64_t min, uint64_t max, uint64_t *ret)
{
	_cleanup_free_ char *text = conf_reader_text(rd, node);
	uint64_t v = 0;

	if (!text)
		return false;
	if (parse_u64(text, &v) < 0 || v < min || v > max) {
		conf_reader_error(rd, node,
			"<%s> must be a whole number from %" PRIu64 " to %" PRIu64
			", not '%s'",
			(const char *)node->name, min, max, text);
		return false;
	}
	*ret = v;
	return true;
}

bool conf_reader_real(
	struct conf_reader *rd, xmlNode *node, double min, double max, double *ret)
{
	_cleanup_free_ char *text = conf_reader_text(rd, node);
	double v = 0;

	if (!text)
		return false;
	if (parse_real(text, &v) < 0 || !(v >= min && v <= max)) {
		conf_reader_error(rd, node,
			"<%s> must be a number from %g to %g, not '%s'",
			(const char *)node->name, min, max, text);
		return false;
	}
	*ret = v;
	return true;
}

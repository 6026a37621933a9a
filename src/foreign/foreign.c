/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "foreign/foreign.h"

#include <string.h>

#include <libxml/parser.h>

#include "util/mem.h"

static void ignore_error(void *data, xmlErrorPtr error)
{
	(void)data;
	(void)error;
}

/* Entities would need a DOCTYPE, which neither actions nor libvirt have cause to print. */
xmlDoc *foreign_doc_parse(const char *text, size_t len)
{
	xmlParserCtxt *ctxt = xmlNewParserCtxt();
	xmlDoc *doc = NULL;

	if (!ctxt)
		return NULL;
	/* for this parser alone: libvirt's own are in the same threads */
	ctxt->sax->serror = ignore_error;
	ctxt->sax->externalSubset = NULL;
	doc = xmlCtxtReadMemory(ctxt, text, (int)len, "input.xml", NULL,
		XML_PARSE_NONET | XML_PARSE_NOCDATA);
	xmlFreeParserCtxt(ctxt);

	if (doc && doc->intSubset) {
		xmlFreeDoc(doc);
		return NULL;
	}
	return doc;
}

bool foreign_is_element(const xmlNode *node, const char *name)
{
	return node->type == XML_ELEMENT_NODE && !strcmp((const char *)node->name, name);
}

xmlNode *foreign_find_child(xmlNode *parent, const char *name)
{
	for (xmlNode *node = parent ? parent->children : NULL; node; node = node->next)
		if (foreign_is_element(node, name))
			return node;
	return NULL;
}

char *foreign_attribute(xmlNode *node, const char *name)
{
	xmlChar *value = xmlGetProp(node, (const xmlChar *)name);
	char *copy = value ? xstrdup((const char *)value) : NULL;

	xmlFree(value);
	return copy;
}

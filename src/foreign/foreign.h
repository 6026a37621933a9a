/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading XML made by others, without trust: nothing is fetched, entities and DOCTYPEs are
 * refused, nothing is printed.  Sizes are bounded by the caller.  Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <libxml/tree.h>

#include "util/cleanup.h"
#include "util/mem.h"

/* Return: the document, the caller's to free (_cleanup_doc_); NULL if it is not well-formed. */
xmlDoc *foreign_doc_parse(const char *text, size_t len);

bool foreign_is_element(const xmlNode *node, const char *name);

/* The first child element of that name; NULL if there is none, or no @parent. */
xmlNode *foreign_find_child(xmlNode *parent, const char *name);

/* The attribute, the caller's to free; NULL if absent. */
char *foreign_attribute(xmlNode *node, const char *name);

static inline void xmlFreeDoc_p(xmlDoc **doc)
{
	if (*doc)
		xmlFreeDoc(*doc);
}
#define _cleanup_doc_ _cleanup_(xmlFreeDoc_p)

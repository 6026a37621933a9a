/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads an XML document that cannot be trusted, piece by piece and in place.  A subset, so that
 * it stays small: UTF-8, names of ASCII letters, elements, attributes, text, CDATA, comments and
 * processing instructions; no DOCTYPE, hence no entities but those that XML has itself, no
 * prefixes.  What is taken is well-formed (tests/fuzz/fuzz-guest-xml.c asks libxml2); memory is
 * none, time linear.  Knows nothing of metrics.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct buf;

#define XML_DEPTH 16u
#define XML_ATTRIBUTES 16u

/* Bytes of the document. */
struct slice {
	const char *at;
	size_t len;
};

enum xml_event {
	XML_MALFORMED, /* and so for good */
	XML_START,     /* of an element: name, attributes */
	XML_TEXT,      /* text, as xml_decode() takes it */
	XML_CLOSE,     /* of an element: name; of an empty one too */
	XML_END,       /* of the document: it was well-formed */
};

struct xml {
	/* of the last event */
	struct slice name, text;
	bool is_cdata;
	size_t n_attributes;
	struct {
		struct slice name, value;
	} attributes[XML_ATTRIBUTES];
	size_t depth; /* of open elements; that of XML_START and XML_CLOSE counts */
	const char *root_end; /* behind the root element's end tag; NULL before */

	/* its own */
	const char *at, *end;
	struct slice open[XML_DEPTH];
	bool closes; /* what was last is an empty element, or just closed */
	bool is_malformed;
};

/* @text lives longer than @x, and need not end in NUL. */
void xml_init(struct xml *x, const char *text, size_t len);

enum xml_event xml_next(struct xml *x);

/* True if the last event's name is that. */
bool xml_is(const struct xml *x, const char *name);

/* Appends the text of the last event. */
void xml_add_text(const struct xml *x, struct buf *out);

/* Appends an attribute of the last XML_START.  Return: whether there is one. */
bool xml_add_attribute(const struct xml *x, const char *name, struct buf *out);

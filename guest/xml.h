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
#include <string.h>

struct buf;

#define XML_DEPTH 16u
#define XML_ATTRIBUTES 16u
#define XML_TAGS 24u /* that are kept */

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

/* A start tag.  Slices are of the first tag in the document that has these bytes. */
struct xml_tag {
	struct slice bytes; /* behind < up to and with > */
	struct slice name;
	bool is_empty; /* an empty element's */
	size_t number; /* of this tag alone in this document; from 1 on */
	size_t n_attributes;
	struct {
		struct slice name, value;
	} attributes[XML_ATTRIBUTES];
};

struct xml {
	/* of the last event */
	struct slice name, text;
	bool is_cdata, is_plain; /* of the text: means what it says */
	/*
	 * Documents repeat their start tags, so some of them are kept, and one that comes again is
	 * not read again.  Who keeps what he made of tags[i] may use it while its number is the same.
	 */
	struct xml_tag tags[XML_TAGS];
	size_t tag;   /* that of the last XML_START */
	size_t depth; /* of open elements; that of XML_START and XML_CLOSE counts */
	const char *root_end; /* behind the root element's end tag; NULL before */

	/* its own */
	const char *at, *end;
	const char *amp, *cr, *bracket; /* the next & \r ] from there on; end: none */
	struct slice open[XML_DEPTH];
	size_t n_tags; /* that were read: the next one takes the place of the oldest */
	bool closes;   /* what was last is an empty element, or just closed */
	bool is_malformed;
};

/* @text lives longer than @x, and need not end in NUL. */
void xml_init(struct xml *x, const char *text, size_t len);

enum xml_event xml_next(struct xml *x);

static inline bool slice_is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Without white space around it. */
static inline struct slice slice_trim(struct slice s)
{
	while (s.len && slice_is_space(s.at[s.len - 1]))
		s.len--;
	for (; s.len && slice_is_space(*s.at); s.at++)
		s.len--;
	return s;
}

static inline bool slice_is(struct slice s, const char *text)
{
	return s.len == strlen(text) && !memcmp(s.at, text, s.len);
}

/* True if the last event's name is that. */
static inline bool xml_is(const struct xml *x, const char *name)
{
	return slice_is(x->name, name);
}

/*
 * Takes the rest of the element that just started if it is of that form, to the byte: @n pieces of
 * markup, which are well-formed and end with the element's end tag, and a text between each two.
 * Return: false, with nothing taken, if it is not, or if a text does not mean what it says.
 */
bool xml_take_form(
	struct xml *x, const struct slice *pieces, size_t n, struct slice *ret_texts);

/* How much of the text that starts there surely means what it says, wherever text may be. */
size_t xml_plain_text(struct slice s);

/* Appends the text of the last event. */
void xml_add_text(const struct xml *x, struct buf *out);

/* Appends an attribute of the last XML_START.  Return: whether there is one. */
bool xml_add_attribute(const struct xml *x, const char *name, struct buf *out);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Snapshots as the XML that guests read (formats: content).  Pure ASCII: every other
 * character is a numeric reference, and so is a line break in a value, so that an empty
 * line never occurs inside a document.  Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct blob;
struct snapshot;
struct strbuf;
struct view;

/*
 * The scope's <metric> elements, two spaces deep, without metrics that are unavailable or
 * not meant for guests.  Rendered once for each snapshot.
 * Return: borrowed from the snapshot.
 */
struct blob *render_xml_fragment(struct snapshot *s);

/*
 * The document of one VM: the host's metrics that it is granted, and its own.  @vm: NULL for a
 * VM that does not run here.  What was not collected yet is replaced by a comment if
 * @say_missing.  What VMs of one set see of the host is rendered once for all of them.
 */
void render_xml_private(
	struct snapshot *host, struct snapshot *vm, bool say_missing, struct strbuf *out);

/* A piece of a document: of a blob, or static if that is NULL. */
struct render_piece {
	const char *text;
	size_t size;
	struct blob *blob; /* with a reference, its owner's to drop */
};

#define RENDER_PIECES 4u

/* The same document in pieces, of which the long ones are shared with everybody. */
void render_xml_pieces(struct snapshot *host, struct snapshot *vm, bool say_missing,
	struct render_piece ret[static RENDER_PIECES]);

/*
 * Leaves out metrics from the end of a document until it fits, and adds one of the host,
 * RENDER_LEFT_OUT, that says how many.
 * @max_bytes: at least RENDER_FIT_MIN.  Return: how many, 0: the document is as it was.
 */
size_t render_xml_fit(struct strbuf *document, size_t max_bytes);

#define RENDER_LEFT_OUT "MetricsLeftOut"
#define RENDER_FIT_MIN 256u

/* The document of the host and all VMs.  Rendered once; borrowed from the view. */
struct blob *render_xml_view(struct view *view);

/* The same for guests: of the host what VMs see for which no rule of the grants is. */
struct blob *render_xml_shared(struct view *view);

/* Appends UTF-8 text as XML character data or attribute value. */
void render_xml_escape(const char *text, struct strbuf *out);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Snapshots as the XML that guests read (formats: content).  Pure ASCII: every other
 * character is a numeric reference, and so is a line break in a value, so that an empty
 * line never occurs inside a document.  Any thread.
 */
#pragma once

#include <stdbool.h>

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
 * The document of one VM: the host's metrics and its own.  @vm: NULL for a VM that does not
 * run here.  What was not collected yet is replaced by a comment if @say_missing.
 */
void render_xml_private(
	struct snapshot *host, struct snapshot *vm, bool say_missing, struct strbuf *out);

/* The document of the host and all VMs.  Rendered once; borrowed from the view. */
struct blob *render_xml_view(struct view *view);

/* Appends UTF-8 text as XML character data or attribute value. */
void render_xml_escape(const char *text, struct strbuf *out);

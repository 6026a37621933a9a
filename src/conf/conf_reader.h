/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading the configuration's XML: text and numbers of elements with mistakes reported by
 * line, and the <metrics> part.  Used by conf.c alone.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <libxml/tree.h>

struct conf_report;
struct spec_set;

struct conf_reader {
	const char *file;
	struct conf_report *report;
};

/* Parses; NULL after reporting what is not well-formed. */
xmlDoc *conf_reader_open(struct conf_reader *rd, const char *text, size_t len);

/* Reports declared entities; false if there are any. */
bool conf_reader_check_entities(struct conf_reader *rd, xmlDoc *doc);

void conf_reader_error(struct conf_reader *rd, const xmlNode *node, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void conf_reader_warning(struct conf_reader *rd, const xmlNode *node, const char *fmt,
	...) __attribute__((format(printf, 3, 4)));

/* The elements within @parent; stray text is reported. */
xmlNode *conf_reader_first(struct conf_reader *rd, xmlNode *parent);
xmlNode *conf_reader_next(struct conf_reader *rd, xmlNode *node);

/* True if an earlier sibling has the same name. */
bool conf_reader_seen_before(const xmlNode *node);

/* Reports attributes that are not in the NULL-terminated list. */
void conf_reader_check_attributes(
	struct conf_reader *rd, xmlNode *node, const char *const *known);

/* The trimmed text; the caller's to free.  NULL after reporting that there is none. */
char *conf_reader_text(struct conf_reader *rd, xmlNode *node);

/* The attribute; the caller's to free.  NULL if absent. */
char *conf_reader_attribute(xmlNode *node, const char *name);

/* A number within the bounds; false after reporting that it is none. */
bool conf_reader_u64(
	struct conf_reader *rd, xmlNode *node, uint64_t min, uint64_t max, uint64_t *ret);
bool conf_reader_real(
	struct conf_reader *rd, xmlNode *node, double min, double max, double *ret);

/* Reads <metrics>; the caller owns the reference.  Mistakes are in the report. */
struct spec_set *conf_reader_metrics(struct conf_reader *rd, xmlNode *metrics);

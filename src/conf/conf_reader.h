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
	bool unusable; /* set by conf_reader_error(), reset by who reads the next part */
};

/* Parses; NULL after reporting what is not well-formed. */
xmlDoc *conf_reader_open(struct conf_reader *rd, const char *text, size_t len);

/* Reports declared entities; false if there are any. */
bool conf_reader_check_entities(struct conf_reader *rd, xmlDoc *doc);

/* The whole file is of no use. */
void conf_reader_refuse(struct conf_reader *rd, const xmlNode *node, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* A mistake, for which what is being read cannot be used: rd->unusable. */
void conf_reader_error(struct conf_reader *rd, const xmlNode *node, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* A mistake that can be passed over. */
void conf_reader_odd(struct conf_reader *rd, const xmlNode *node, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* No mistake, but worth to know. */
void conf_reader_warning(struct conf_reader *rd, const xmlNode *node, const char *fmt,
	...) __attribute__((format(printf, 3, 4)));
/* What becomes of a mistake; told only where the file is used all the same. */
void conf_reader_note(struct conf_reader *rd, const xmlNode *node, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The elements within @parent; stray text is reported. */
xmlNode *conf_reader_first(struct conf_reader *rd, xmlNode *parent);
xmlNode *conf_reader_next(struct conf_reader *rd, xmlNode *node);

/* True if an earlier sibling has the same name. */
bool conf_reader_seen_before(const xmlNode *node);

/* Reports attributes that are not in the NULL-terminated list; they are passed over. */
void conf_reader_check_attributes(
	struct conf_reader *rd, xmlNode *node, const char *const *known);

/* The trimmed text; the caller's to free.  NULL after reporting that there is none. */
char *conf_reader_text(struct conf_reader *rd, xmlNode *node);

/* The attribute; the caller's to free.  NULL if absent. */
char *conf_reader_attribute(xmlNode *node, const char *name);

/* The same for a word of the grammar, in small letters; others are reported. */
char *conf_reader_word(struct conf_reader *rd, xmlNode *node, const char *name);

/* A number within the bounds; false after reporting that it is none. */
bool conf_reader_u64(
	struct conf_reader *rd, xmlNode *node, uint64_t min, uint64_t max, uint64_t *ret);
bool conf_reader_real(
	struct conf_reader *rd, xmlNode *node, double min, double max, double *ret);

/*
 * Reads each <metrics> in @root.
 * Return: those metrics that can be used, the caller's reference; NULL after refusing the
 * file, if there are some and all are bad.
 */
struct spec_set *conf_reader_metrics(struct conf_reader *rd, xmlNode *root);

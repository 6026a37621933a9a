/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Text of others' on a terminal, in a log or in JSON: no control character of it gets there.
 * @text: as it came, usually UTF-8.  Appended to @out.  Any thread.
 */
#pragma once

struct strbuf;

/* What is no character, ends a line, or changes the direction of text, as \xNN for each byte. */
void text_add_printable(const char *text, struct strbuf *out);

/* A string of JSON's (RFC 8259, 7), in quotes. */
void text_add_json(const char *text, struct strbuf *out);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A growing byte string, always followed by a NUL that is not counted.  Owned by one
 * thread at a time.  Knows nothing of encodings.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>

struct strbuf {
	char *data; /* NULL while nothing was ever added */
	size_t len;
	size_t cap;
};

#define STRBUF_INIT ((struct strbuf){ 0 })
#define _cleanup_strbuf_ __attribute__((cleanup(strbuf_done)))

void strbuf_done(struct strbuf *sb);
void strbuf_clear(struct strbuf *sb);

/* Leaves the first @len bytes, of no fewer. */
void strbuf_cut(struct strbuf *sb, size_t len);

/* Makes room for @extra more bytes and returns where they start. */
char *strbuf_reserve(struct strbuf *sb, size_t extra);
void strbuf_add(struct strbuf *sb, const void *bytes, size_t n);
void strbuf_adds(struct strbuf *sb, const char *s);
void strbuf_addc(struct strbuf *sb, char c);
void strbuf_addf(struct strbuf *sb, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void strbuf_vaddf(struct strbuf *sb, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));

/* The text, "" when empty; valid until the next change. */
const char *strbuf_str(const struct strbuf *sb);

/* The text, now the caller's to free; @sb is empty afterwards. */
char *strbuf_steal(struct strbuf *sb);

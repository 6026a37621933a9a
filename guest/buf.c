/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "buf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_BYTES = 128 };

void buf_done(struct buf *b)
{
	free(b->data);
	*b = BUF_INIT;
}

void buf_clear(struct buf *b)
{
	b->len = 0;
	b->failed = false;
	if (b->data)
		b->data[0] = '\0';
}

static bool grow(struct buf *b, size_t need)
{
	size_t cap = b->cap ? b->cap : FIRST_BYTES;

	while (cap < need)
		cap += cap / 2;
	char *data = realloc(b->data, cap);

	if (!data)
		return false;
	b->data = data;
	b->cap = cap;
	return true;
}

char *buf_reserve(struct buf *b, size_t extra)
{
	if (b->failed)
		return NULL;
	if (extra >= SIZE_MAX / 4 - b->len ||
		(b->len + extra + 1 > b->cap && !grow(b, b->len + extra + 1))) {
		b->failed = true;
		return NULL;
	}
	b->data[b->len] = '\0';
	return b->data + b->len;
}

void buf_add(struct buf *b, const void *bytes, size_t n)
{
	char *at = buf_reserve(b, n);

	if (!at)
		return;
	if (n)
		memcpy(at, bytes, n);
	b->len += n;
	b->data[b->len] = '\0';
}

void buf_adds(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void buf_addc(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(NULL, 0, fmt, ap);

	va_end(ap);
	char *at = buf_reserve(b, n > 0 ? (size_t)n : 0);

	if (n < 0)
		b->failed = true;
	if (!at || n <= 0)
		return;
	va_start(ap, fmt);
	vsnprintf(at, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
}

void buf_trim(struct buf *b)
{
	char *data = b->data && b->len + 1 < b->cap ? realloc(b->data, b->len + 1) : NULL;

	if (!data)
		return;
	b->data = data;
	b->cap = b->len + 1;
}

const char *buf_str(const struct buf *b)
{
	return b->data ? b->data : "";
}

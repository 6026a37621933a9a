/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a client wants of what there is: its headers Accept and Accept-Encoding (RFC 9110, 12.5).
 * Each may be there several times.  Pure; nothing is an error: who asks for what is not there gets
 * the text, as he is.
 */
#pragma once

#include <stdbool.h>

enum http_format {
	HTTP_TEXT,        /* text/plain; version=0.0.4 */
	HTTP_OPENMETRICS, /* application/openmetrics-text; version=1.0.0 */
	HTTP_FORMATS,
};

/* How much somebody wants something, and how exactly that was said. */
struct http_want {
	int q;    /* thousandths */
	int rank; /* 0: not said */
};

struct http_wants {
	struct http_want formats[HTTP_FORMATS];
	struct http_want gzip, identity;
};

/* Takes in one header's value; @wants begins as zeros. */
void negotiate_accept(struct http_wants *wants, const char *value);
void negotiate_encoding(struct http_wants *wants, const char *value);

/* OpenMetrics for who named it and wants nothing more than it. */
enum http_format negotiate_format(const struct http_wants *wants);

/* Whether it is sent compressed. */
bool negotiate_gzip(const struct http_wants *wants);

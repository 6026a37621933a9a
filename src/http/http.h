/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The export by HTTP: one thread that serves sockets which others have opened, with a loop.
 * GET /metrics is the text that the file metrics.prom has, or OpenMetrics, for who asks for that.
 * Nothing else of the tree is served, and a request changes nothing.  A client is never trusted:
 * what it may send, how long it may take and what is kept for it is bounded, and nobody waits for
 * it (http/clients.h).  Needs libmicrohttpd.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct http;
struct strbuf;
struct tree;

/* Whether this vhostmd was built with it. */
bool http_is_built_in(void);

/*
 * @fds: sockets that listen, of which no more than LIMIT_HTTP_SOCKETS are served; the descriptors
 * stay the caller's, and open until http_stop().  @everybody: as http_set_everybody().
 * Return: NULL with a logged error, or where there are none.  @tree outlives it.
 */
struct http *http_start(struct tree *tree, const int *fds, size_t n_fds, bool everybody);
void http_stop(struct http *http); /* NULL is accepted */

/*
 * Whether files may be read by everybody.  If not, nobody is served at an IP address, which has no
 * mode that could tell who may connect.  Any thread.  NULL is accepted.
 */
void http_set_everybody(struct http *http, bool everybody);

/* Appends the lines of the status file; none if there is no @http. */
void http_status(struct http *http, struct strbuf *out);

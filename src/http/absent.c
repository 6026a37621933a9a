/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* In the place of http.c, where libmicrohttpd is missing. */
#include "http/http.h"

#include "util/log.h"

bool http_is_built_in(void)
{
	return false;
}

struct http *http_start(struct tree *tree, const int *fds, size_t n_fds, bool everybody)
{
	(void)tree;
	(void)fds;
	(void)everybody;
	if (n_fds)
		log_error(
			"no HTTP is served: this vhostmd was built without libmicrohttpd");
	return NULL;
}

void http_stop(struct http *http)
{
	(void)http;
}

void http_set_everybody(struct http *http, bool everybody)
{
	(void)http;
	(void)everybody;
}

void http_status(struct http *http, struct strbuf *out)
{
	(void)http;
	(void)out;
}

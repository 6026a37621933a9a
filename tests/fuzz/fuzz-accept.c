/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Accept and Accept-Encoding, a header in each line.  One that is there twice is as once, and nobody
 * gets what he did not name.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "fuzz.h"
#include "http/negotiate.h"
#include "util/cleanup.h"
#include "util/mem.h"

static void check(const struct http_want *w)
{
	if (w->q < 0 || w->q > 1000 || w->rank < 0 || w->rank > 3 || (!w->rank && w->q))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *whole = xstrndup((const char *)data, size);
	_cleanup_free_ char *text = xstrdup(whole);
	struct http_wants once = { 0 }, twice = { 0 };
	char *rest = text;

	for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
		negotiate_accept(&once, line);
		negotiate_encoding(&once, line);
		for (int i = 0; i < 2; i++) {
			negotiate_accept(&twice, line);
			negotiate_encoding(&twice, line);
		}
	}
	check(&once.gzip);
	check(&once.identity);
	for (int i = 0; i < HTTP_FORMATS; i++)
		check(&once.formats[i]);
	if (memcmp(&once, &twice, sizeof(once)) != 0 ||
		(negotiate_format(&once) == HTTP_OPENMETRICS &&
			!strcasestr(whole, "application/openmetrics-text")) ||
		(negotiate_gzip(&once) && !strcasestr(whole, "gzip") &&
			!strchr(whole, '*')))
		abort();
	return 0;
}

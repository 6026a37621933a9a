/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "http/page.h"

#include <stddef.h>
#include <string.h>

#define PLAIN "text/plain; charset=utf-8"

static const struct page index_page = {
	200, "text/html; charset=utf-8",
	"<!DOCTYPE html>\n<html lang=\"en\"><title>vhostmd</title>\n"
	"<p><a href=\"metrics\">metrics</a> of this host and its virtual machines\n</html>\n"
};
static const struct page closed = {
	403, PLAIN,
	"Not everybody may read the figures of this host: they are to be had at a UNIX socket.\n"
};
static const struct page missing = { 404, PLAIN, "There is " HTTP_METRICS " alone.\n" };
static const struct page only_read = { 405, PLAIN, "Figures can only be read.\n" };

const struct page *page_of(const char *method, const char *path, bool is_closed)
{
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return &only_read;
	if (!strcmp(path, "/"))
		return &index_page;
	if (strcmp(path, HTTP_METRICS) != 0)
		return &missing;
	return is_closed ? &closed : NULL;
}

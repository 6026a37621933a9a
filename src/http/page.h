/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is answered to requests for anything but figures.  Pure. */
#pragma once

#include <stdbool.h>

#define HTTP_METRICS "/metrics"

struct page {
	unsigned status;
	const char *type, *text;
};

/*
 * @is_closed: figures are not for who asks.
 * Return: a page, static; NULL: it is the figures.
 */
const struct page *page_of(const char *method, const char *path, bool is_closed);

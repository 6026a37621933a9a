/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is served: the newest view in a format, compressed or not.  A text is kept with its view,
 * as that of the file metrics.prom is; what it is compressed to, here, until another is asked for.
 * So of each generation each is made once at most.  One thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "http/negotiate.h"

struct blob;
struct renderings;
struct tree;

/* @tree outlives it. */
struct renderings *renderings_new(struct tree *tree);
void renderings_free(struct renderings *renderings); /* NULL is accepted */

/*
 * Return: the bytes, with a reference for the caller.  *@gzip: they are to be compressed; false
 * if they could not be.
 */
struct blob *renderings_get(
	struct renderings *renderings, enum http_format format, bool *gzip);

/* How often something was compressed. */
uint64_t renderings_compressed(const struct renderings *renderings);

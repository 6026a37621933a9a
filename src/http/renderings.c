/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "http/renderings.h"

#include <stdlib.h>
#include <zlib.h>

#include "core/blob.h"
#include "core/render_prom.h"
#include "core/snapshot.h"
#include "util/mem.h"
#include "util/strbuf.h"

/* zlib's for the form of gzip, with the largest window. */
#define GZIP_WINDOW (MAX_WBITS + 16)
#define CHUNK_BYTES (64u << 10)

struct renderings {
	struct tree *tree;
	struct blob *compressed[HTTP_FORMATS]; /* the last; NULL: none yet */
	uint64_t n_compressed;
};

struct renderings *renderings_new(struct tree *tree)
{
	struct renderings *r = xcalloc(1, sizeof(*r));

	r->tree = tree;
	return r;
}

void renderings_free(struct renderings *r)
{
	if (!r)
		return;
	for (int i = 0; i < HTTP_FORMATS; i++)
		blob_unref(r->compressed[i]);
	free(r);
}

/*
 * At the fastest level to an eighth of it: the others take up to three times as long for a sixth less.
 * Return: NULL if there is no memory for it.
 */
static struct blob *compress_blob(const struct blob *blob)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	z_stream z = { .next_in = (Bytef *)(uintptr_t)blob->data,
		.avail_in = (uInt)blob->size };
	int r = deflateInit2(&z, Z_BEST_SPEED, Z_DEFLATED, GZIP_WINDOW, MAX_MEM_LEVEL,
		Z_DEFAULT_STRATEGY);

	if (r != Z_OK)
		return NULL;
	while (r == Z_OK) {
		z.next_out = (Bytef *)strbuf_reserve(&out, CHUNK_BYTES);
		z.avail_out = CHUNK_BYTES;
		r = deflate(&z, Z_FINISH);
		out.len += CHUNK_BYTES - z.avail_out;
	}
	deflateEnd(&z);
	return r == Z_STREAM_END
		? blob_new(out.data, out.len, blob->generation, blob->time_ns)
		: NULL;
}

struct blob *renderings_get(struct renderings *r, enum http_format format, bool *gzip)
{
	_cleanup_view_ struct view *view = tree_view(r->tree);
	struct blob *text = format == HTTP_OPENMETRICS ? render_openmetrics_view(view)
						       : render_prom_view(view);
	struct blob **last = &r->compressed[format];

	if (!*gzip)
		return blob_ref(text);
	if (!*last || (*last)->generation != text->generation) {
		blob_unref(*last);
		*last = compress_blob(text);
		r->n_compressed++;
	}
	*gzip = *last != NULL;
	return blob_ref(*last ? *last : text);
}

uint64_t renderings_compressed(const struct renderings *r)
{
	return r->n_compressed;
}

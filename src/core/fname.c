/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/fname.h"

#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/hash.h"
#include "util/strbuf.h"

#define HASH_SUFFIX_LEN 18 /* "%~" and 16 hex digits */

static bool must_escape(unsigned char c)
{
	return c < 0x20 || c == 0x7f || c == '/' || c == '%';
}

void fname_escape(const char *name, struct strbuf *out)
{
	_cleanup_strbuf_ struct strbuf full = STRBUF_INIT;
	bool dots = !strcmp(name, ".") || !strcmp(name, "..");

	for (const char *p = name; *p; p++) {
		unsigned char c = (unsigned char)*p;

		if (must_escape(c) || dots)
			strbuf_addf(&full, "%%%02X", c);
		else
			strbuf_addc(&full, *p);
	}
	if (!full.len)
		strbuf_adds(&full, "%");
	if (full.len <= NAME_MAX) {
		strbuf_add(out, full.data, full.len);
		return;
	}
	/* Do not cut a UTF-8 sequence or an escape in two. */
	size_t keep = NAME_MAX - HASH_SUFFIX_LEN;

	while (keep && ((unsigned char)full.data[keep] & 0xc0) == 0x80)
		keep--;
	if (keep >= 1 && full.data[keep - 1] == '%')
		keep -= 1;
	else if (keep >= 2 && full.data[keep - 2] == '%')
		keep -= 2;
	strbuf_add(out, full.data, keep);
	strbuf_addf(out, "%%~%016" PRIx64, siphash24(name, strlen(name)));
}

void fname_list_add(const char *name, struct strbuf *out)
{
	if (out->len)
		strbuf_addc(out, ' ');
	for (; *name; name++)
		if (*name == ' ')
			strbuf_adds(out, "%20");
		else
			strbuf_addc(out, *name);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keeper/good_conf.h"

#include "keeper/apart.h"
#include "util/cleanup.h"
#include "util/hash.h"
#include "util/limits.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/parse.h"

void good_conf_note(struct good_conf *good, const char *file, const char *hash)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	uint64_t is = 0;

	if (parse_u64(hash, &is) < 0 || (good->text.len && good->hash == is))
		return;
	/* who has changed it since tells the worker, too */
	if (apart_read(file, LIMIT_CONF_BYTES, &text) < 0 ||
		siphash24(text.data, text.len) != is)
		return;
	strbuf_done(&good->text);
	good->text = TAKE_VALUE(text, (struct strbuf)STRBUF_INIT);
	good->hash = is;
	log_debug("%s is kept, for a worker that finds it of no use", file);
}

void good_conf_set(struct good_conf *good, const char *text, size_t bytes)
{
	strbuf_clear(&good->text);
	if (!bytes)
		return;
	strbuf_add(&good->text, text, bytes);
	good->hash = siphash24(text, bytes);
}

void good_conf_done(struct good_conf *good)
{
	strbuf_done(&good->text);
}

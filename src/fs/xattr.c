/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/xattr.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "core/metric_list.h"
#include "util/cleanup.h"
#include "util/mem.h"
#include "util/strbuf.h"

enum { ATTR_TYPE, ATTR_UNIT, ATTR_SOURCE, ATTR_DEVICE, ATTR_COUNT };

static const char *const names[] = { [ATTR_TYPE] = "user.vhostmd.type",
	[ATTR_UNIT] = "user.vhostmd.unit",
	[ATTR_SOURCE] = "user.vhostmd.source",
	[ATTR_DEVICE] = "user.vhostmd.device" };
static_assert(ARRAY_LEN(names) == ATTR_COUNT, "a name for each attribute");

/* Attribute @i of a metric; NULL if it has none. */
static const char *value_of(const struct metric *metric, size_t i)
{
	switch (i) {
	case ATTR_TYPE:
		return metric_type_name(metric->value.type);
	case ATTR_UNIT:
		return metric->label->unit;
	case ATTR_DEVICE:
		return metric_device(metric);
	default:
		return metric->label->source;
	}
}

int xattr_get(const struct metric *metric, const char *name, struct strbuf *out)
{
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const char *value = value_of(metric, i);

		if (!value || strcmp(name, names[i]) != 0)
			continue;
		strbuf_adds(out, value);
		return 0;
	}
	return -ENODATA;
}

void xattr_list(const struct metric *metric, struct strbuf *out)
{
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (value_of(metric, i))
			strbuf_add(out, names[i], strlen(names[i]) + 1);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The one place that reads XML made by others: what actions print and libvirt's domain
 * XML.  Nothing is fetched, entities are not expanded, sizes are bounded by the caller.
 * Any thread.
 */
#pragma once

#include <stddef.h>

#include "core/value.h"

struct strbuf;

struct foreign_metric {
	char *name;
	char *unit; /* NULL: none */
	char *text; /* the value's text, holds the memory of a string value */
	struct value value;
};

/*
 * Reads one or more complete <metric> elements, as an action of type "xml" prints them, or
 * a <metrics> document of them.
 * @context: "host" or "vm", which a metric's own context must equal if it names one;
 * @uuid: of the VM, which a metric's own must equal if it names one; NULL for the host.
 * Return: 0; -EINVAL with the reason appended to @why.  The caller frees with
 * foreign_metrics_free().
 */
int foreign_metrics_parse(const char *text, size_t len, const char *context,
	const char *uuid, struct foreign_metric **ret, size_t *ret_n, struct strbuf *why);
void foreign_metrics_free(struct foreign_metric *metrics, size_t n);

/*
 * The host's socket of the virtio-serial channel named @target in a live domain's XML.
 * Return: 0 and the path, the caller's to free; -ENOENT if there is none; -EINVAL.
 */
int foreign_channel_path(const char *xml, const char *target, char **ret);
